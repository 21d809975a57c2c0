// Policies on the CPU: an image goes through all its operations in planes that stay in the cache. Loops
// only; what an operation does to a pixel stands in policy.h.
#include "policy.h"

#include <cstring>
#include <utility>
#include <vector>

#include "clones.h"

namespace {

// Three planes of height x width bytes.
struct Planes {
    std::vector<u8> bytes;
    u8* of(i32 c, i64 size) { return bytes.data() + c * size; }
};

CLONES void split(const u8* pixels, u8* r, u8* g, u8* b, i64 size) {
    for (i64 i = 0; i < size; ++i) {
        r[i] = pixels[3 * i];
        g[i] = pixels[3 * i + 1];
        b[i] = pixels[3 * i + 2];
    }
}

CLONES void merge(const u8* r, const u8* g, const u8* b, u8* pixels, i64 size) {
    for (i64 i = 0; i < size; ++i) {
        pixels[3 * i] = r[i];
        pixels[3 * i + 1] = g[i];
        pixels[3 * i + 2] = b[i];
    }
}

CLONES void color(const Op& op, u8* r, u8* g, u8* b, i64 size) {
    for (i64 i = 0; i < size; ++i) {
        const float gray = gray_of(r[i], g[i], b[i]);
        r[i] = blended(op, r[i], gray);
        g[i] = blended(op, g[i], gray);
        b[i] = blended(op, b[i], gray);
    }
}

CLONES i64 gray_sum(const u8* r, const u8* g, const u8* b, i64 size) {
    i64 total = 0;
    enum { CHUNK = 4096 };  // an i32 holds that many
    for (i64 begin = 0; begin < size; begin += CHUNK) {
        const i64 end = begin + CHUNK < size ? begin + CHUNK : size;
        i32 sum = 0;
        for (i64 i = begin; i < end; ++i) sum += (i32)gray_of(r[i], g[i], b[i]);
        total += sum;
    }
    return total;
}

void count(const u8* plane, i64 size, u32 histogram[256]) {
    u32 part[4][256];
    memset(part, 0, sizeof part);
    i64 i = 0;
    for (; i + 4 <= size; i += 4) {
        ++part[0][plane[i]];
        ++part[1][plane[i + 1]];
        ++part[2][plane[i + 2]];
        ++part[3][plane[i + 3]];
    }
    for (; i < size; ++i) ++part[0][plane[i]];
    for (i32 v = 0; v < 256; ++v) histogram[v] = part[0][v] + part[1][v] + part[2][v] + part[3][v];
}

void look_up(const u8 table[256], u8* plane, i64 size) {
    for (i64 i = 0; i < size; ++i) plane[i] = table[plane[i]];
}

CLONES void sharpen_line(const Op& op, const u8* above, const u8* line, const u8* below, u8* out, i32 width) {
    for (i32 x = 1; x < width - 1; ++x) {
        const u32 sum = (u32)above[x - 1] + above[x] + above[x + 1] + line[x - 1] + line[x] + line[x + 1] +
                        below[x - 1] + below[x] + below[x + 1];
        out[x] = sharpened(op, sum, line[x]);
    }
}

// ---- one image ----

class Image {
  public:
    void run(u8* pixels, const Row& row, const Op* ops, i32 height, i32 width) {
        h = height;
        w = width;
        size = (i64)height * width;
        for (Planes* p : {&now, &next}) p->bytes.resize(3 * size);
        split(pixels, now.of(0, size), now.of(1, size), now.of(2, size), size);
        if (!row.chains) {
            for (i32 k = 0; k < row.n_ops; ++k) apply(ops[k]);
        } else {
            mix(row, ops);
        }
        merge(now.of(0, size), now.of(1, size), now.of(2, size), pixels, size);
    }

  private:
    void mix(const Row& row, const Op* ops) {
        original.bytes = now.bytes;
        sum.resize(3 * size);
        weigh(original.bytes.data(), row.chain_weight[0], true);
        for (i32 chain = 0; chain < row.chains; ++chain) {
            now.bytes = original.bytes;
            for (i32 k = 0; k < row.n_ops; ++k) {
                if (ops[k].chain == chain) apply(ops[k]);
            }
            weigh(now.bytes.data(), row.chain_weight[1 + chain], false);
        }
        for (i64 i = 0; i < 3 * size; ++i) now.bytes[i] = to_byte(sum[i]);
    }

    void weigh(const u8* bytes, float weight, bool first) {
        for (i64 i = 0; i < 3 * size; ++i) sum[i] = weighed(first ? 0.0f : sum[i], weight, bytes[i]);
    }

    void apply(const Op& op) {
        u8 *r = now.of(0, size), *g = now.of(1, size), *b = now.of(2, size);
        if (op.kind == OP_IDENTITY) return;
        if (op.kind <= OP_EQUALIZE) return by_table(op);
        switch (op.kind) {
            case OP_COLOR: return color(op, r, g, b, size);
            case OP_HUE:
                for (i64 i = 0; i < size; ++i) {
                    u8 pixel[3] = {r[i], g[i], b[i]};
                    hue_turned(op, pixel);
                    r[i] = pixel[0];
                    g[i] = pixel[1];
                    b[i] = pixel[2];
                }
                return;
            case OP_CUTOUT:
                for (i32 c = 0; c < 3 && op.x1 > op.x0; ++c) {
                    for (i32 y = op.y0; y < op.y1; ++y) {
                        memset(now.of(c, size) + (i64)y * w + op.x0, to_byte(op.fill[c]), op.x1 - op.x0);
                    }
                }
                return;
            case OP_SHARPNESS: sharpen(op); break;
            case OP_BLUR: blur(op); break;
            case OP_NEAREST: turn_nearest(op); break;
            default: turn_bilinear(op);
        }
        std::swap(now, next);
    }

    void by_table(const Op& op) {
        const float mean = op.kind == OP_CONTRAST
            ? (float)gray_sum(now.of(0, size), now.of(1, size), now.of(2, size), size) / (float)size : 0.0f;
        u8 table[256];
        for (i32 c = 0; c < 3; ++c) {
            Channel channel = {0, 0, 0};
            u32 histogram[256] = {0}, below = 0;
            if (needs_histogram(op.kind)) {
                count(now.of(c, size), size, histogram);
                for (channel.low = 0; !histogram[channel.low];) ++channel.low;
                for (channel.high = 255; !histogram[channel.high];) --channel.high;
                channel.step = ((u32)size - histogram[channel.high]) / 255;
            }
            if (c == 0 || needs_histogram(op.kind)) {
                for (i32 v = 0; v < 256; ++v) {
                    table[v] = point(op, channel, below, mean, v);
                    below += histogram[v];
                }
            }
            look_up(table, now.of(c, size), size);
        }
    }

    void sharpen(const Op& op) {
        memcpy(next.bytes.data(), now.bytes.data(), 3 * size);
        if (h <= 2 || w <= 2) return;
        for (i32 c = 0; c < 3; ++c) {
            for (i32 y = 1; y < h - 1; ++y) {
                const u8* line = now.of(c, size) + (i64)y * w;
                sharpen_line(op, line - w, line, line + w, next.of(c, size) + (i64)y * w, w);
            }
        }
    }

    void blur(const Op& op) {
        sum.resize(size);
        for (i32 c = 0; c < 3; ++c) {
            for (i32 y = 0; y < h; ++y) {
                const u8* line = now.of(c, size) + (i64)y * w;
                for (i32 x = 0; x < w; ++x) {
                    sum[(i64)y * w + x] = blurred(op, [&](i32 k) { return (float)line[reflected(x + k, w)]; });
                }
            }
            u8* out = next.of(c, size);
            for (i32 y = 0; y < h; ++y) {
                for (i32 x = 0; x < w; ++x) {
                    const float value = blurred(op, [&](i32 k) { return sum[(i64)reflected(y + k, h) * w + x]; });
                    out[(i64)y * w + x] = to_byte(nearest_even(value));
                }
            }
        }
    }

    void turn_nearest(const Op& op) {
        const u8 *r = now.of(0, size), *g = now.of(1, size), *b = now.of(2, size);
        u8 *to_r = next.of(0, size), *to_g = next.of(1, size), *to_b = next.of(2, size);
        const u8 out_r = outside(op, 0), out_g = outside(op, 1), out_b = outside(op, 2);
        for (i32 y = 0; y < h; ++y) {
            Source s = source_of(op, y, 0);
            for (i32 x = 0; x < w; ++x, s.y += op.map[5], s.x += op.map[2]) {
                const i32 from_y = rounded(s.y), from_x = rounded(s.x);
                const i64 to = (i64)y * w + x;
                if (inside(from_y, from_x, h, w)) {
                    const i64 from = (i64)from_y * w + from_x;
                    to_r[to] = r[from];
                    to_g[to] = g[from];
                    to_b[to] = b[from];
                } else {
                    to_r[to] = out_r;
                    to_g[to] = out_g;
                    to_b[to] = out_b;
                }
            }
        }
    }

    void turn_bilinear(const Op& op) {
        const auto at = [&](i32 y, i32 x, i32 c) { return now.bytes[c * size + (i64)y * w + x]; };
        for (i32 y = 0; y < h; ++y) {
            Source s = source_of(op, y, 0);
            for (i32 x = 0; x < w; ++x, s.y += op.map[5], s.x += op.map[2]) {
                for (i32 c = 0; c < 3; ++c) {
                    next.bytes[c * size + (i64)y * w + x] = between(op, s, h, w, c, at);
                }
            }
        }
    }

    i32 h = 0, w = 0;
    i64 size = 0;
    Planes now, next, original;
    std::vector<float> sum;
};

}  // namespace

// Carries out the operations of rows [first, last) on their images [n, height, width, 3], in place. ops
// holds `most` entries a row.
extern "C" void fastaug_policy(u8* images, const Row* rows, const Op* ops, i32 most, i64 first, i64 last,
                               i32 height, i32 width) {
    thread_local Image image;
    for (i64 i = first; i < last; ++i) {
        if (rows[i].n_ops) {
            image.run(images + i * 3 * (i64)height * width, rows[i], ops + i * most, height, width);
        }
    }
}

extern "C" i64 fastaug_op_bytes() { return (i64)sizeof(Op); }
