// Policies on the CPU: an image goes through all its operations in planes that stay in the cache. Loops
// only; what an operation does to a pixel stands in policy.h.
#include "policy.h"

#include <cstring>
#include <utility>
#include <vector>

#include "clones.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

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

void look_up_portable(const u8 table[256], u8* plane, i64 size) {
    for (i64 i = 0; i < size; ++i) plane[i] = table[plane[i]];
}

#if defined(__x86_64__) && defined(__GNUC__)
// The table in four registers, 64 look-ups at a time.
__attribute__((target("avx512f,avx512bw,avx512vbmi")))
void look_up_avx512(const u8 table[256], u8* plane, i64 size) {
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64),
                  t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    i64 i = 0;
    for (; i + 64 <= size; i += 64) {
        const __m512i at = _mm512_loadu_si512(plane + i);
        const __m512i low = _mm512_permutex2var_epi8(t0, at, t1), high = _mm512_permutex2var_epi8(t2, at, t3);
        _mm512_storeu_si512(plane + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));
    }
    look_up_portable(table, plane + i, size - i);
}
#endif

void look_up(const u8 table[256], u8* plane, i64 size) {
#if defined(__x86_64__) && defined(__GNUC__)
    static const bool fast = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
    if (fast) return look_up_avx512(table, plane, size);
#endif
    look_up_portable(table, plane, size);
}

CLONES void hue(const Op& op, u8* r, u8* g, u8* b, i64 size) {
    for (i64 i = 0; i < size; ++i) {
        u8 pixel[3] = {r[i], g[i], b[i]};
        hue_turned(op, pixel);
        r[i] = pixel[0];
        g[i] = pixel[1];
        b[i] = pixel[2];
    }
}

// ---- geometry: pixels as one word each, so that a look at the source is one load ----

CLONES void pack(const u8* r, const u8* g, const u8* b, u32* words, i64 size) {
    for (i64 i = 0; i < size; ++i) words[i] = (u32)r[i] | (u32)g[i] << 8 | (u32)b[i] << 16;
}

CLONES void unpack(const u32* words, u8* r, u8* g, u8* b, i64 size) {
    for (i64 i = 0; i < size; ++i) {
        r[i] = (u8)words[i];
        g[i] = (u8)(words[i] >> 8);
        b[i] = (u8)(words[i] >> 16);
    }
}

void nearest_line(const Op& op, const u32* words, i32 height, i32 width, i32 y, u32 background, u32* out) {
    const bool slanted = is_slanted(op);
    Source s = source_of<false>(op, y, 0);
    for (i32 x = 0; x < width; ++x, s.y += op.map[5], s.x += op.map[2]) {
        if (slanted) s = source_of<true>(op, y, x);
        const i32 from_y = rounded(s.y), from_x = rounded(s.x);
        out[x] = inside(from_y, from_x, height, width) ? words[(i64)from_y * width + from_x] : background;
    }
}

typedef u8 Bytes4 __attribute__((vector_size(4)));
typedef float Floats4 __attribute__((vector_size(16)));

inline Floats4 colours(u32 word) {
    Bytes4 bytes;
    memcpy(&bytes, &word, 4);
    return __builtin_convertvector(bytes, Floats4);
}

// between() for all colours at once where the four pixels are inside the image.
CLONES void bilinear_line(const Op& op, const u32* words, i32 height, i32 width, i32 y, u32* out) {
    const Floats4 fill = {op.fill[0], op.fill[1], op.fill[2], 0};
    const auto at = [&](i32 j, i32 k, i32 c) { return (u8)(words[(i64)j * width + k] >> (8 * c)); };
    const bool slanted = is_slanted(op);
    Source s = source_of<false>(op, y, 0);
    for (i32 x = 0; x < width; ++x, s.y += op.map[5], s.x += op.map[2]) {
        if (slanted) s = source_of<true>(op, y, x);
        const i32 j = (i32)(s.y >> 32), k = (i32)(s.x >> 32);
        if (j < 0 || k < 0 || j >= height - 1 || k >= width - 1) {
            out[x] = (u32)between(op, s, height, width, 0, at) | (u32)between(op, s, height, width, 1, at) << 8 |
                     (u32)between(op, s, height, width, 2, at) << 16;
            continue;
        }
        const float fy = (float)((u32)s.y >> 8) * 0x1p-24f, fx = (float)((u32)s.x >> 8) * 0x1p-24f;
        const float w00 = (1.0f - fy) * (1.0f - fx), w01 = (1.0f - fy) * fx, w10 = fy * (1.0f - fx), w11 = fy * fx;
        const u32* from = words + (i64)j * width + k;
        Floats4 sum = colours(from[0]) * w00 + colours(from[1]) * w01;
        sum = sum + colours(from[width]) * w10;
        sum = sum + colours(from[width + 1]) * w11;
        if (op.filled) sum = (sum - fill) * (((w00 + w01) + w10) + w11) + fill;
        out[x] = (u32)to_byte(nearest_even(sum[0])) | (u32)to_byte(nearest_even(sum[1])) << 8 |
                 (u32)to_byte(nearest_even(sum[2])) << 16;
    }
}

// ---- blur: sums over whole lines, in blurred()'s order ----

CLONES void blur_start(const float* line, float weight, float* sum, i32 n) {
    for (i32 x = 0; x < n; ++x) sum[x] = line[x] * weight;
}

CLONES void blur_add(const float* before, const float* after, float weight, float* sum, i32 n) {
    for (i32 x = 0; x < n; ++x) sum[x] = fmaf(before[x] + after[x], weight, sum[x]);
}

CLONES void blur_end(const float* sum, u8* out, i32 n) {
    for (i32 x = 0; x < n; ++x) out[x] = to_byte(nearest_even(sum[x]));
}

CLONES void weigh_line(const u8* bytes, float weight, float* sum, i64 n) {
    for (i64 i = 0; i < n; ++i) sum[i] = weighed(sum[i], weight, bytes[i]);
}

CLONES void bytes_of(const float* sum, u8* bytes, i64 n) {
    for (i64 i = 0; i < n; ++i) bytes[i] = to_byte(sum[i]);
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
        sum.assign(3 * size, 0.0f);
        weigh_line(original.bytes.data(), row.chain_weight[0], sum.data(), 3 * size);
        for (i32 chain = 0; chain < row.chains; ++chain) {
            now.bytes = original.bytes;
            for (i32 k = 0; k < row.n_ops; ++k) {
                if (ops[k].chain == chain) apply(ops[k]);
            }
            weigh_line(now.bytes.data(), row.chain_weight[1 + chain], sum.data(), 3 * size);
        }
        bytes_of(sum.data(), now.bytes.data(), 3 * size);
    }

    void apply(const Op& op) {
        u8 *r = now.of(0, size), *g = now.of(1, size), *b = now.of(2, size);
        if (op.kind == OP_IDENTITY) return;
        if (op.kind <= OP_EQUALIZE) return by_table(op);
        switch (op.kind) {
            case OP_COLOR: return color(op, r, g, b, size);
            case OP_HUE: return hue(op, r, g, b, size);
            case OP_CUTOUT:
                for (i32 c = 0; c < 3 && op.x1 > op.x0; ++c) {
                    for (i32 y = op.y0; y < op.y1; ++y) {
                        memset(now.of(c, size) + (i64)y * w + op.x0, to_byte(op.fill[c]), op.x1 - op.x0);
                    }
                }
                return;
            case OP_PERMUTE:
                for (i32 c = 0; c < 3; ++c) memcpy(next.of(c, size), now.of(permuted(op, c), size), (size_t)size);
                break;
            case OP_SHARPNESS: sharpen(op); break;
            case OP_BLUR: blur(op); break;
            default: turn(op);
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
        const i32 wide = w + 2 * op.half;
        sum.resize(size);
        padded.resize(wide);
        total.resize(w);
        for (i32 c = 0; c < 3; ++c) {
            for (i32 y = 0; y < h; ++y) {
                const u8* line = now.of(c, size) + (i64)y * w;
                for (i32 x = 0; x < wide; ++x) padded[x] = line[reflected(x - op.half, w)];
                blur_lines(op, [&](i32 k) { return &padded[op.half + k]; }, &sum[(i64)y * w]);
            }
            for (i32 y = 0; y < h; ++y) {
                blur_lines(op, [&](i32 k) { return &sum[(i64)reflected(y + k, h) * w]; }, total.data());
                blur_end(total.data(), next.of(c, size) + (i64)y * w, w);
            }
        }
    }

    template <class At>
    void blur_lines(const Op& op, const At& at, float* out) {
        blur_start(at(0), op.weight[0], out, w);
        for (i32 k = 1; k <= op.half; ++k) blur_add(at(-k), at(k), op.weight[k], out, w);
    }

    void turn(const Op& op) {
        words.resize(size);
        line.resize(w);
        pack(now.of(0, size), now.of(1, size), now.of(2, size), words.data(), size);
        const u32 background = (u32)outside(op, 0) | (u32)outside(op, 1) << 8 | (u32)outside(op, 2) << 16;
        for (i32 y = 0; y < h; ++y) {
            if (op.kind == OP_NEAREST) nearest_line(op, words.data(), h, w, y, background, line.data());
            else bilinear_line(op, words.data(), h, w, y, line.data());
            const i64 to = (i64)y * w;
            unpack(line.data(), next.of(0, size) + to, next.of(1, size) + to, next.of(2, size) + to, w);
        }
    }

    i32 h = 0, w = 0;
    i64 size = 0;
    Planes now, next, original;
    std::vector<float> sum, padded, total;
    std::vector<u32> words, line;
};

}  // namespace

// Carries out the operations of rows [first, last) on their images [n, height, width, 3], in place. ops are
// those of all rows.
extern "C" void fastaug_policy(u8* images, const Row* rows, const Op* ops, i64 first, i64 last,
                               i32 height, i32 width) {
    thread_local Image image;
    for (i64 i = first; i < last; ++i) {
        if (rows[i].n_ops) {
            image.run(images + i * 3 * (i64)height * width, rows[i], ops + rows[i].first_op, height, width);
        }
    }
}

extern "C" i64 fastaug_op_bytes() { return (i64)sizeof(Op); }
