// What one output pixel is. The only place with the maths: batch.cpp and batch.cu call it.
//
// Only exactly rounded operations (+, x, fmaf) and integers are used, so that every device gives
// the same bits. Compile with -ffp-contract=off (--fmad=false in CUDA).
#pragma once
#include "philox.h"
#ifndef __CUDACC_RTC__
#include <cmath>
#include <cstring>
#endif

// ---- masks. GridMask comes first, then HideAndSeek, then the holes in order: the last decides ----

// c mod d for 0 <= c < 65536, where inv = ceil(2^32 / d): exact, since c * (inv * d - 2^32) < 2^32.
FASTAUG_FN u32 fast_mod(u32 c, u32 d, u32 inv) {
    return c - d * (u32)(((u64)c * inv) >> 32);
}

// Side of GridMask's canvas: covers the image at any rotation and has the image's centre.
FASTAUG_FN i32 grid_canvas(i32 height, i32 width) {
    i32 side = height > width ? height : width;
    return 2 * side;
}

// GridMask (Chen 2020): is the pixel erased? The pixel's centre is rotated about the image's centre
// in units of 1/131072 pixel, so all of it is integer arithmetic.
FASTAUG_FN i32 grid_erases(const Row& row, i32 height, i32 width, i32 y, i32 x) {
    const i64 v = 2 * y + 1 - height, u = 2 * x + 1 - width;
    const i64 half = (i64)grid_canvas(height, width) << 16;  // canvas / 2, in 1/131072
    const i32 cy = (i32)((row.grid_cos * v + row.grid_sin * u + half) >> 17);
    const i32 cx = (i32)((row.grid_cos * u - row.grid_sin * v + half) >> 17);
    const u32 d = (u32)row.grid_d, l = (u32)row.grid_l;
    const u32 in_y = fast_mod((u32)(cy + row.grid_d - row.grid_y), d, row.grid_inv) < l;
    const u32 in_x = fast_mod((u32)(cx + row.grid_d - row.grid_x), d, row.grid_inv) < l;
    return (i32)((in_y | in_x) ^ (u32)row.grid_mode);
}

// HideAndSeek (Singh 2018): is cell number `cell` (row-major) hidden? Keyed by the sample.
FASTAUG_FN i32 hide_cell(const Row& row, u64 seed, u32 cell) {
    const Words words = sample_words(row, seed, STREAM_HIDE_CELLS, cell >> 2);
    const u32 low = cell & 1 ? words.v[1] : words.v[0];  // v[cell & 3], were registers an array
    const u32 high = cell & 1 ? words.v[3] : words.v[2];
    return (float)((cell & 2 ? high : low) >> 8) * 0x1p-24f < row.hide_p;
}

FASTAUG_FN u32 hide_cell_of(const Row& row, i32 width, i32 y, i32 x) {
    const i32 columns = (width + row.hide - 1) / row.hide;
    return (u32)((y / row.hide) * columns + x / row.hide);
}

// Standard normal noise for the three channels of a pixel, from a table of quantiles.
FASTAUG_FN float noise_of(u32 word, const float* table) { return table[word >> 20]; }

FASTAUG_FN void noise(const Row& row, u64 seed, const float* table, i32 width, i32 y, i32 x,
                      float out[3]) {
    const Words words = sample_words(row, seed, STREAM_NOISE, (u32)y * (u32)width + (u32)x);
    for (int c = 0; c < 3; ++c) out[c] = noise_of(words.v[c], table);
}

// ---- values ----

FASTAUG_FN i32 in_cut(const Row& row, i32 y, i32 x) {
    return y >= row.cut_y0 && y < row.cut_y1 && x >= row.cut_x0 && x < row.cut_x1;
}

// MaskMix: does the row's mask show the partner? A line's bits begin at a byte.
FASTAUG_FN i32 in_mask(const Row& row, const u8* masks, i32 height, i32 width, i32 y, i32 x) {
    const i64 line = (i64)row.mix_mask * height + y;
    return masks[line * ((width + 7) / 8) + x / 8] >> (x & 7) & 1;
}

// Pixel k of `size` that show `from` pixels: between which two it lies, and the higher one's weight.
struct Lerp {
    i32 low, high;
    float part;
};

FASTAUG_FN Lerp lerp_of(i32 k, i32 size, i32 from) {
    const i32 place = (2 * k + 1) * from - size, unit = 2 * size;  // in 1 / unit pixels, from a pixel's middle
    Lerp lerp = {0, 0, 0.0f};
    if (place > 0) {
        lerp.low = place / unit;
        lerp.part = (float)((((i64)(place % unit)) << 24) / unit) * 0x1p-24f;
    }
    lerp.high = lerp.low + 1 < from ? lerp.low + 1 : lerp.low;
    return lerp;
}

FASTAUG_FN float normalised(u8 pixel, float scale, float bias) {
    return fmaf((float)pixel, scale, bias);
}

FASTAUG_FN float mixed(float own, float partner, float lam, float rest) {
    return fmaf(lam, own, rest * partner);
}

// ---- storage: round to nearest, ties to even, as hardware does ----

FASTAUG_FN u32 float_bits(float value) {
    u32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}

FASTAUG_FN float bits_float(u32 bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

FASTAUG_FN u16 to_bfloat16(float value) {
    const u32 bits = float_bits(value);
    return (u16)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// Branch-free, so that it vectorises. Below 2^-14 adding 0.5 leaves exactly the ten bits of a
// subnormal half in the float's last place, rounded by the addition itself.
FASTAUG_FN u16 to_float16(float value) {
    const u32 bits = float_bits(value);
    const u32 sign = (bits >> 16) & 0x8000u;
    const u32 size = bits & 0x7FFFFFFFu;
    const u32 tiny = float_bits(bits_float(size) + 0.5f) - 0x3F000000u;
    const u32 usual = (size - 0x38000000u + 0xFFFu + ((size >> 13) & 1u)) >> 13;
    u32 half = size < 0x38800000u ? tiny : usual;
    half = size >= 0x477FF000u ? 0x7C00u : half;
    return (u16)(sign | half);
}

FASTAUG_FN u8 to_uint8(float value) {
    const float inside = value < 0.0f ? 0.0f : (value > 255.0f ? 255.0f : value);
    return (u8)(inside + 0.5f);
}
