// The batch kernel on the GPU: uint8 HWC crops in, normalised, masked and mixed images out, in one
// pass. Thread indexing, vector loads and stores only; what a pixel is stands in pixel.h.
//
// A thread makes PIXELS pixels that follow one another in memory, across the ends of lines. A block
// stays inside one sample, so all its threads read the same row of the plan. No barrier, no shared
// memory, no state between samples.
#include "pixel.h"
#include "pixels4.h"

enum { THREADS = 256 };    // of a block; cuda.py has it too

struct Affine {            // Normalize: value = pixel * scale + bias
    float scale[3], bias[3];
};

// ---- how values are stored ----

struct Float32 {
    enum { BYTES = 4 };
    FASTAUG_FN u32 bits(float value) { return float_bits(value); }
};
struct Float16 {
    enum { BYTES = 2 };
    FASTAUG_FN u32 bits(float value) { return to_float16(value); }
};
struct BFloat16 {
    enum { BYTES = 2 };
    FASTAUG_FN u32 bits(float value) { return to_bfloat16(value); }
};
struct UInt8 {
    enum { BYTES = 1 };
    FASTAUG_FN u32 bits(float value) { return to_uint8(value); }
};

template <int BYTES>
struct alignas(BYTES) Wide {  // what one load or store moves: 4, 8 or 16 bytes
    u32 word[BYTES / 4];
};

// Stores n <= PIXELS neighbouring values: all at once where their address allows.
template <class T>
FASTAUG_FN void store(u8* at, const float* values, i32 n) {
    constexpr int WIDTH = PIXELS * T::BYTES, EACH = 4 / T::BYTES;  // EACH values to a word
    if (n >= PIXELS && aligned(at, WIDTH)) {
        Wide<WIDTH> wide;
        for (int w = 0; w < WIDTH / 4; ++w) {
            wide.word[w] = 0;
            for (int k = 0; k < EACH; ++k) {
                wide.word[w] |= T::bits(values[w * EACH + k]) << (8 * T::BYTES * k);
            }
        }
        *(Wide<WIDTH>*)at = wide;
        return;
    }
    for (int k = 0; k < PIXELS; ++k) {
        if (k >= n) break;
        const u32 bits = T::bits(values[k]);
        if (T::BYTES == 4) ((u32*)at)[k] = bits;
        if (T::BYTES == 2) ((u16*)at)[k] = (u16)bits;
        if (T::BYTES == 1) at[k] = (u8)bits;
    }
}

// ---- PIXELS pixels of a sample, values[3 * k + c] being colour c of pixel k ----

struct Group {
    i32 first, n;          // number of the first in the image; how many the image still has
    i32 y, x;              // where the first lies
};

FASTAUG_FN Raw load(const u8* image, const Group& group) {
    return load(image + 3 * (i64)group.first, group.n);
}

FASTAUG_FN void normalise(const Raw& raw, const Affine& affine, float* values) {
    for (int k = 0; k < 3 * PIXELS; ++k) {
        values[k] = normalised(byte_of(raw, k), affine.scale[k % 3], affine.bias[k % 3]);
    }
}

// Bit k: does test(y, x) hold for pixel k? A loop that stays a loop, to keep registers few.
template <class Test>
FASTAUG_FN u32 where(const Group& group, i32 width, const Test& test) {
    u32 bits = 0;
    i32 y = group.y, x = group.x;
#pragma unroll 1
    for (int k = 0; k < PIXELS; ++k) {
        bits |= (u32)(test(y, x) != 0) << k;
        if (++x == width) {
            x = 0;
            ++y;
        }
    }
    return bits;
}

FASTAUG_FN void fill(u32 bits, const float* colour, float* values) {
    for (int k = 0; k < 3 * PIXELS; ++k) {
        if (bits >> (k / 3) & 1) values[k] = colour[k % 3];
    }
}

// GridMask first, then HideAndSeek, then the holes in order: the last that covers a pixel decides.
FASTAUG_FN void mask(const Row& row, const Hole* holes, u64 seed, const float* table, i32 height, i32 width,
                     const Group& group, float* values) {
    if (row.grid_d) {
        fill(where(group, width, [&](i32 y, i32 x) { return grid_erases(row, height, width, y, x); }),
             row.grid_fill, values);
    }
    if (row.hide) {
        u32 last = 0xFFFFFFFF;  // neighbours mostly share a cell
        i32 hidden = 0;
        fill(where(group, width,
                   [&](i32 y, i32 x) {
                       const u32 cell = hide_cell_of(row, width, y, x);
                       if (cell != last) hidden = hide_cell(row, seed, last = cell);
                       return hidden;
                   }),
             row.hide_fill, values);
    }
#pragma unroll 1
    for (i32 h = 0; h < row.n_holes; ++h) {
        const Hole& hole = holes[row.first_hole + h];
        const u32 bits = where(group, width, [&](i32 y, i32 x) {
            return y >= hole.y0 && y < hole.y1 && x >= hole.x0 && x < hole.x1;
        });
        if (!bits) continue;
        if (!hole.noise) {
            fill(bits, hole.fill, values);
            continue;
        }
        u32 turn = 1;
        where(group, width, [&](i32 y, i32 x) {
            float colour[3];
            if (bits & turn) {
                noise(row, seed, table, width, y, x, colour);
                fill(turn, colour, values);
            }
            turn <<= 1;
            return 0;
        });
    }
}

// ResizeMix: a pixel of the partner, scaled into the row's box. Line by line as batch.cpp: first down, then over.
FASTAUG_FN void resized(const Row& row, const Row& partner, const u8* image, const Hole* holes, u64 seed,
                        const float* table, const Affine& affine, i32 height, i32 width, i32 y, i32 x,
                        float out[3]) {
    const Lerp down = lerp_of(y - row.cut_y0, row.cut_y1 - row.cut_y0, height);
    const Lerp over = lerp_of(x - row.cut_x0, row.cut_x1 - row.cut_x0, width);
    float column[3];
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
        Group one;
        one.y = k & 1 ? down.high : down.low;
        one.x = k & 2 ? over.high : over.low;
        one.first = one.y * width + one.x;
        one.n = 1;
        float tap[3 * PIXELS];
        normalise(load(image, one), affine, tap);
        mask(partner, holes, seed, table, height, width, one, tap);
        for (int c = 0; c < 3; ++c) {
            column[c] = k & 1 ? mixed(column[c], tap[c], 1.0f - down.part, down.part) : tap[c];
            if (k == 1) out[c] = column[c];
            if (k == 3) out[c] = mixed(out[c], column[c], 1.0f - over.part, over.part);
        }
    }
}

// SHAPES: MaskMix and ResizeMix too, slower.
template <class T, bool CHANNELS_LAST, bool MIXING, bool MASKS, bool SHAPES>
FASTAUG_FN void batch(const u8* __restrict__ crops, const Row* __restrict__ rows,
                      const Hole* __restrict__ holes, const u8* __restrict__ masks,
                      const float* __restrict__ table, u8* __restrict__ out, u64 seed,
                      const Affine& affine, i32 height, i32 width, i32 blocks) {
    const i64 size = (i64)height * width, sample = blockIdx.x / (u32)blocks;
    Group group;
    group.first = (i32)((blockIdx.x % (u32)blocks) * THREADS + threadIdx.x) * PIXELS;
    if (group.first >= size) return;
    group.n = (i32)size - group.first;
    group.y = group.first / width;
    group.x = group.first % width;

    const Row& row = rows[sample];
    i64 partner = sample;
    u32 from_partner = 0;  // bit k: the partner's pixel k is pasted
    if (MIXING && row.mix != MIX_NONE) {
        if (row.mix == MIX_UP) partner = row.partner;
        if (row.mix == MIX_CUT) {
            from_partner = where(group, width, [&](i32 y, i32 x) { return in_cut(row, y, x); });
            if (from_partner) partner = row.partner;
        }
        if (SHAPES && row.mix == MIX_MASK) {  // the image's last group may reach beyond it
            from_partner = where(group, width, [&](i32 y, i32 x) {
                return y < height && in_mask(row, masks, height, width, y, x);
            });
            if (from_partner) partner = row.partner;
        }
    }
    const Raw mine = load(crops + sample * size * 3, group);
    Raw theirs = mine;
    if (MIXING && partner != sample) {
        theirs = load(crops + partner * size * 3, group);
    }

    float value[3 * PIXELS], other[3 * PIXELS];
    if (MIXING && partner != sample) {
        normalise(theirs, affine, other);
        if (MASKS) mask(rows[partner], holes, seed, table, height, width, group, other);
    }
    normalise(mine, affine, value);
    if (MASKS) mask(row, holes, seed, table, height, width, group, value);
    if (MIXING && partner != sample) {
        const float lam = row.lam, rest = 1.0f - lam;
        for (int k = 0; k < 3 * PIXELS; ++k) {
            value[k] = row.mix == MIX_UP           ? mixed(value[k], other[k], lam, rest)
                       : from_partner >> (k / 3) & 1 ? other[k]
                                                     : value[k];
        }
    }

    if (SHAPES && row.mix == MIX_RESIZE) {
        u32 turn = 1;
        where(group, width, [&](i32 y, i32 x) {
            float colour[3];
            if (in_cut(row, y, x)) {
                resized(row, rows[row.partner], crops + row.partner * size * 3, holes, seed, table, affine, height,
                        width, y, x, colour);
                fill(turn, colour, value);
            }
            turn <<= 1;
            return 0;
        });
    }

    if (CHANNELS_LAST) {
        u8* at = out + (sample * size + group.first) * 3 * T::BYTES;
        for (int part = 0; part < 3; ++part) {
            store<T>(at + part * PIXELS * T::BYTES, value + part * PIXELS,
                     3 * group.n - part * PIXELS);
        }
    } else {
        for (int c = 0; c < 3; ++c) {
            float plane[PIXELS];
            for (int k = 0; k < PIXELS; ++k) plane[k] = value[3 * k + c];
            store<T>(out + ((sample * 3 + c) * size + group.first) * T::BYTES, plane, group.n);
        }
    }
}

// ---- entry points: batch_<type>_<layout>[_mix][_masks], or all and _shapes ----

#define KERNEL(name, type, channels_last, mixing, masking, shapes)                               \
    extern "C" __global__ void __launch_bounds__(THREADS, shapes ? 2 : 4)                         \
    name(const u8* crops, const Row* rows, const Hole* holes, const u8* masks,                    \
         const float* table, u8* out, u64 seed, float scale_r, float scale_g, float scale_b,      \
         float bias_r, float bias_g, float bias_b, i32 height, i32 width, i32 blocks) {           \
        const Affine affine = {{scale_r, scale_g, scale_b}, {bias_r, bias_g, bias_b}};            \
        batch<type, channels_last, mixing, masking, shapes>(crops, rows, holes, masks, table, out, \
                                                            seed, affine, height, width, blocks); \
    }
#define LAYOUT(name, type, channels_last)                          \
    KERNEL(name, type, channels_last, false, false, false)         \
    KERNEL(name##_mix, type, channels_last, true, false, false)    \
    KERNEL(name##_masks, type, channels_last, false, true, false)  \
    KERNEL(name##_mix_masks, type, channels_last, true, true, false) \
    KERNEL(name##_shapes, type, channels_last, true, true, true)
#define TYPE(name, type)                     \
    LAYOUT(batch_##name##_nchw, type, false) \
    LAYOUT(batch_##name##_nhwc, type, true)

TYPE(float32, Float32)
TYPE(float16, Float16)
TYPE(bfloat16, BFloat16)
TYPE(uint8, UInt8)
