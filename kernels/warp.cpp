// Turned crops on the CPU: warp.h's pixels, with the weights of a place's part of a pixel kept for those that
// share it, where the map is straight.
#include <cstring>
#include <vector>

#include "clones.h"
#include "scale.h"
#include "warp.h"

namespace {

typedef u8 Bytes4 __attribute__((vector_size(4)));
typedef float Floats4 __attribute__((vector_size(16)));

struct Tap {
    i32 offset;    // bytes from the place's pixel
    float weight;
};

struct Weights {
    i32 first = -1, count = 0;  // among all taps; -1: not made yet
    float total = 0.0f;
};

// Of a straight map: the taps of each part of a pixel.
class Table {
public:
    void begin(const Warp& of, const Shape& its) {
        shape = its;
        filter = of.filter;
        stride = of.stride;
        parts.assign(PARTS * PARTS, Weights());
        taps.clear();
    }

    const Weights& weights(const Place& place) {
        Weights& w = parts[(size_t)((i32)(place.part_y * PARTS) * PARTS + (i32)(place.part_x * PARTS))];
        if (w.first < 0) {
            const i32 all = 1 << 28;
            w.first = (i32)taps.size();
            each_tap(shape, filter, place.part_y, place.part_x, {-all, -all, all, all},
                     [&](i32 j, i32 i, float weight) {
                         taps.push_back({(i32)(j * stride + 3 * i), weight});
                         w.total += weight;
                     });
            w.count = (i32)taps.size() - w.first;
        }
        return w;
    }

    const Tap* at(i32 first) const { return taps.data() + first; }

private:
    Shape shape;
    i32 filter;
    i64 stride;
    std::vector<Weights> parts;
    std::vector<Tap> taps;
};

CLONES Floats4 weighed(const u8* from, const Tap* taps, i32 count) {
    Floats4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
    for (i32 k = 0; k < count; ++k) {
        Bytes4 bytes;
        memcpy(&bytes, from + taps[k].offset, 4);
        sum = sum + taps[k].weight * __builtin_convertvector(bytes, Floats4);
    }
    return sum;
}

}  // namespace

void warp(const Scaling& job, const u8* source, i64 stride) {
    thread_local Table table;
    Warp w = {source, stride, job.h, job.w, {}, {}, job.mode, job.filter, {}};
    memcpy(w.map, job.map, sizeof(w.map));
    memcpy(w.frame, job.frame, sizeof(w.frame));
    memcpy(w.fill, job.fill, sizeof(w.fill));
    const bool straight = w.straight();
    Shape shape = w.shape_at(0.5, 0.5);
    const bool kept = straight && w.filter != NEAREST && (shape.tall + 2) * (double)stride < 1e9;  // offsets fit
    if (kept) table.begin(w, shape);
    u8* out = job.out;
    for (i32 y = 0; y < job.height; ++y) {
        for (i32 x = 0; x < job.width; ++x, out += 3) {
            if (!straight) shape = w.shape_at(x + 0.5, y + 0.5);
            if (kept) {
                const Place place = w.place_of(y, x, shape, true);
                if (place.known && w.within(place, shape)) {
                    const Weights& weights = table.weights(place);
                    if (weights.total > 1e-6f) {
                        const u8* from = source + place.y * stride + 3 * (i64)place.x;
                        const Floats4 sum = weighed(from, table.at(weights.first), weights.count);
                        for (i32 c = 0; c < 3; ++c) out[c] = to_uint8(sum[c] / weights.total);
                        continue;
                    }
                }
            }
            w.pixel(y, x, shape, out);
        }
    }
}
