// Antialiased bilinear scaling of uint8 RGB crops, from the decoder's memory to the batch's, flip
// included. The same steps as Pillow's Image.resize(BILINEAR), within 1 of it: a triangle filter as wide as
// the step (never under one pixel), 22-bit fixed-point weights, columns first, rows second, each
// pass rounded to uint8.
#include <cmath>
#include <cstring>
#include <vector>

#include "clones.h"
#include "plan.h"

namespace {

enum { BITS = 22 };

// For each output position: its first source position and the weights of those that follow.
struct Filter {
    i32 taps = 0;                // weights stored per output position, zero past `count`
    std::vector<i32> first, count, weights;
};

Filter triangle(i32 out_size, i32 in_size, double start, double step) {
    Filter f;
    const double width = step < 1.0 ? 1.0 : step;
    f.taps = (i32)ceil(width) * 2 + 1;
    f.first.resize(out_size);
    f.count.resize(out_size);
    f.weights.assign((size_t)out_size * f.taps, 0);
    std::vector<double> weight(f.taps);
    for (i32 i = 0; i < out_size; ++i) {
        const double centre = start + (i + 0.5) * step;
        i32 low = (i32)(centre - width + 0.5), high = (i32)(centre + width + 0.5);
        if (low < 0) low = 0;
        if (high > in_size) high = in_size;
        if (low > in_size - 1) low = in_size - 1;
        if (high <= low) high = low + 1;
        if (high - low > f.taps) high = low + f.taps;
        double sum = 0;
        for (i32 k = 0; k < high - low; ++k) {
            const double distance = fabs((k + low - centre + 0.5) * (1.0 / width));
            weight[k] = distance < 1.0 ? 1.0 - distance : 0.0;
            sum += weight[k];
        }
        if (sum == 0) weight[0] = sum = 1;
        f.first[i] = low;
        f.count[i] = high - low;
        for (i32 k = 0; k < high - low; ++k) {
            f.weights[(size_t)i * f.taps + k] = (i32)(0.5 + weight[k] * (1.0 / sum) * (1 << BITS));
        }
    }
    return f;
}

inline u8 clip(i32 sum) {
    const i32 value = sum >> BITS;
    return (u8)(value < 0 ? 0 : value > 255 ? 255 : value);
}

typedef u8 Bytes __attribute__((vector_size(4)));
typedef i32 Pixel __attribute__((vector_size(16)));

// One row: the sum of 4-byte pixels, each channel in its own lane.
CLONES void columns_row(const u32* pixels, const Filter& f, i32 out_size, i32 flip, u8* out) {
    const i32* first = f.first.data();
    const i32* count = f.count.data();
    for (i32 i = 0; i < out_size; ++i) {
        const i32* weights = f.weights.data() + (size_t)i * f.taps;
        const u32* source = pixels + first[i];
        Pixel sum = {1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1), 0};
        for (i32 k = 0; k < count[i]; ++k) {
            Bytes bytes;
            memcpy(&bytes, source + k, 4);
            sum += __builtin_convertvector(bytes, Pixel) * weights[k];
        }
        u8* to = out + 3 * (flip ? out_size - 1 - i : i);
        to[0] = clip(sum[0]);
        to[1] = clip(sum[1]);
        to[2] = clip(sum[2]);
    }
}

CLONES void widen_row(const u8* rgb, u32* pixels, i32 width) {
    for (i32 x = 0; x < width; ++x) {
        pixels[x] = (u32)rgb[3 * x] | (u32)rgb[3 * x + 1] << 8 | (u32)rgb[3 * x + 2] << 16;
    }
}

CLONES void rows_start(i32* sum, i32 n) {
    for (i32 k = 0; k < n; ++k) sum[k] = 1 << (BITS - 1);
}

CLONES void rows_add(i32* sum, const u8* row, i32 weight, i32 n) {
    for (i32 k = 0; k < n; ++k) sum[k] += row[k] * weight;
}

CLONES void rows_end(const i32* sum, u8* out, i32 n) {
    for (i32 k = 0; k < n; ++k) out[k] = clip(sum[k]);
}

struct Scratch {
    std::vector<u32> pixels;
    std::vector<u8> narrow;  // the source rows, columns already scaled
    std::vector<i32> sum;
};

void resample(const u8* source, i64 stride, const Row& row, i32 height, i32 width, u8* out,
              Scratch& s) {
    const i32 n = 3 * width;
    const Filter across = triangle(width, row.w, row.start_x, row.step_x);
    const Filter down = triangle(height, row.h, row.start_y, row.step_y);
    const i32 top = down.first[0];
    const i32 bottom = down.first[height - 1] + down.count[height - 1];
    s.pixels.resize(row.w);
    s.narrow.resize((size_t)(bottom - top) * n);
    s.sum.resize(n);
    for (i32 y = top; y < bottom; ++y) {
        widen_row(source + y * stride, s.pixels.data(), row.w);
        columns_row(s.pixels.data(), across, width, row.flip, &s.narrow[(size_t)(y - top) * n]);
    }
    for (i32 y = 0; y < height; ++y) {
        const i32* weights = down.weights.data() + (size_t)y * down.taps;
        rows_start(s.sum.data(), n);
        for (i32 k = 0; k < down.count[y]; ++k) {
            rows_add(s.sum.data(), &s.narrow[(size_t)(down.first[y] + k - top) * n], weights[k], n);
        }
        rows_end(s.sum.data(), out + (size_t)y * n, n);
    }
}

}  // namespace

// Scales samples [first, last): sources[i] is a row's decoded pixels, strides[i] the bytes from one
// line to the next; out is [n, height, width, 3].
extern "C" void fastaug_resample(const u8* const* sources, const i64* strides, const Row* rows,
                                 i64 first, i64 last, i32 height, i32 width, u8* out) {
    Scratch scratch;
    for (i64 i = first; i < last; ++i) {
        resample(sources[i], strides[i], rows[i], height, width,
                 out + i * 3 * (i64)height * width, scratch);
    }
}
