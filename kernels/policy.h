// What the operations of a policy do to a pixel of a uint8 image: the only place with that maths;
// policy.cpp and policy.cu call it. As torchvision's functional operations on uint8 tensors.
//
// Exactly rounded operations only (+, x, /, fmaf) and integers, as in pixel.h.
#pragma once
#include "plan.h"
#ifndef __CUDACC_RTC__
#include <cmath>
#include <cstring>
#endif

FASTAUG_FN u8 to_byte(float value) {  // as torch's clamp(0, 255) and conversion: towards zero
    return (u8)(value < 0.0f ? 0.0f : value > 255.0f ? 255.0f : value);
}

FASTAUG_FN float nearest_even(float value) {  // for |value| < 2^22
    const float magic = 12582912.0f;          // 1.5 * 2^23
    return (value + magic) - magic;
}

FASTAUG_FN float gray_of(float r, float g, float b) {  // rounded down
    return (float)(i32)fmaf(b, 0.114f, fmaf(g, 0.587f, r * 0.2989f));
}

// own * factor + other * (1 - factor)
FASTAUG_FN u8 blended(const Op& op, float own, float other) {
    return to_byte(fmaf(other, op.rest, own * op.value));
}

// ---- operations up to OP_EQUALIZE: a table of 256 values for each colour ----

struct Channel {           // of a colour's histogram
    i32 low, high;         // smallest and largest value
    u32 step;              // equalize: pixels a level
};

FASTAUG_FN bool needs_histogram(i32 kind) { return kind == OP_AUTOCONTRAST || kind == OP_EQUALIZE; }

FASTAUG_FN bool is_counted(i32 kind) { return kind == OP_CONTRAST || needs_histogram(kind); }

// What value v becomes. below: how many pixels are darker than v; mean: of the image in gray.
FASTAUG_FN u8 point(const Op& op, const Channel& s, u32 below, float mean, i32 v) {
    switch (op.kind) {
        case OP_BRIGHTNESS: return to_byte((float)v * op.value);
        case OP_CONTRAST: return blended(op, (float)v, mean);
        case OP_POSTERIZE: return (u8)(v & (i32)op.value);
        case OP_SOLARIZE: return (u8)((float)v >= op.value ? 255 - v : v);
        case OP_SOLARIZEADD: return v < 128 ? to_byte((float)v + op.value) : (u8)v;
        case OP_INVERT: return (u8)(255 - v);
        case OP_AUTOCONTRAST:
            if (s.high <= s.low) return (u8)v;
            return to_byte((float)(v - s.low) / ((float)(s.high - s.low) * (1.0f / 255.0f)));
        case OP_EQUALIZE: {
            if (!s.step) return (u8)v;
            const u32 level = v ? (below + s.step / 2) / s.step : 0;
            return (u8)(level > 255 ? 255 : level);
        }
        default: return (u8)v;
    }
}

// ---- colour by colour of one pixel ----

FASTAUG_FN float unit(float value) { return value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value; }

// Turns the hue by op.value (a share of the circle), through HSV.
FASTAUG_FN void hue_turned(const Op& op, u8 pixel[3]) {
    const float r = (float)pixel[0] * (1.0f / 255.0f), g = (float)pixel[1] * (1.0f / 255.0f),
                b = (float)pixel[2] * (1.0f / 255.0f);
    const float high = r > g ? (r > b ? r : b) : (g > b ? g : b);
    const float low = r < g ? (r < b ? r : b) : (g < b ? g : b);
    const float range = high - low;
    const float saturation = high == low ? 0.0f : range / high;
    const float divisor = high == low ? 1.0f : range;
    const float rc = (high - r) / divisor, gc = (high - g) / divisor, bc = (high - b) / divisor;
    float hue = high == r ? bc - gc : high == g ? (rc + 2.0f) - bc : (gc + 4.0f) - rc;
    hue = hue * (1.0f / 6.0f) + 1.0f;
    hue -= (float)(i32)hue;
    hue += op.value;
    hue = hue < 0.0f ? hue + 1.0f : hue;
    hue -= (float)(i32)hue;
    const float sixth = hue * 6.0f;
    const i32 sector = (i32)sixth;
    const float part = sixth - (float)sector, sf = saturation * part, ns = 1.0f - saturation;
    const float q = unit((1.0f - sf) * high), t = unit((sf + ns) * high), p = unit(ns * high);
    const i32 s = sector % 6;
    const float out_r = s == 0 || s == 5 ? high : s == 1 ? q : s == 4 ? t : p;
    const float out_g = s == 1 || s == 2 ? high : s == 3 ? q : s == 0 ? t : p;
    const float out_b = s == 3 || s == 4 ? high : s == 5 ? q : s == 2 ? t : p;
    pixel[0] = to_byte(out_r * 255.999f);
    pixel[1] = to_byte(out_g * 255.999f);
    pixel[2] = to_byte(out_b * 255.999f);
}

// Which of a pixel's colours becomes its colour c, in the op.value-th order of three.
FASTAUG_FN i32 permuted(const Op& op, i32 c) {
    const i32 k = (i32)op.value, first = k / 2;
    const i32 low = first == 0 ? 1 : 0, high = first == 2 ? 1 : 2;  // the other two
    return c == 0 ? first : (c == 1) == (k % 2 == 0) ? low : high;
}

FASTAUG_FN bool in_square(const Op& op, i32 y, i32 x) {
    return y >= op.y0 && y < op.y1 && x >= op.x0 && x < op.x1;
}

// ---- operations that look around ----

// sum: of the 3 x 3 pixels around, the pixel itself included. Pixels at the border stay as they are.
FASTAUG_FN u8 sharpened(const Op& op, u32 sum, u32 own) {
    const i32 smooth = (i32)((2 * (sum + 4 * own) + 13) / 26);  // weights 1 and 5 of 13, rounded
    return to_byte(fmaf((float)(smooth - (i32)own), op.rest, (float)own));
}

FASTAUG_FN i32 reflected(i32 k, i32 size) {
    k = k < 0 ? -k : k;
    return k >= size ? 2 * (size - 1) - k : k;
}

// One axis of a blur: at(k) is the value k steps away. Always summed in this order.
template <class At>
FASTAUG_FN float blurred(const Op& op, const At& at) {
    float sum = at(0) * op.weight[0];
    for (i32 k = 1; k <= op.half; ++k) sum = fmaf(at(-k) + at(k), op.weight[k], sum);
    return sum;
}

struct Source {            // where a turned or shifted pixel comes from
    i64 y, x;              // in 2^-32 pixel
};

FASTAUG_FN bool is_slanted(const Op& op) { return op.tilt[0] != 0.0f || op.tilt[1] != 0.0f; }

// 1 / value, by Newton's steps from a first guess.
FASTAUG_FN float inverse(float value) {
    u32 bits;
    memcpy(&bits, &value, 4);
    const u32 guess = 0x7EF311C3u - (bits & 0x7FFFFFFFu);
    const float size = value < 0.0f ? -value : value;
    float out;
    memcpy(&out, &guess, 4);
    for (i32 k = 0; k < 4; ++k) out = fmaf(out, fmaf(-size, out, 1.0f), out);
    return value < 0.0f ? -out : out;
}

// A place in 2^-32 pixel, times a number; far outside any image where it is too large.
FASTAUG_FN i64 drawn(i64 place, float by) {
    const float product = (float)place * by;
    return product < 0x1p60f && product > -0x1p60f ? (i64)product : -((i64)1 << 60);
}

// SLANTED false: of an operation that is not.
template <bool SLANTED>
FASTAUG_FN Source source_of(const Op& op, i32 y, i32 x) {
    Source s = {op.map[3] + op.map[4] * y + op.map[5] * x, op.map[0] + op.map[1] * y + op.map[2] * x};
    if (SLANTED && is_slanted(op)) {
        const float by = inverse(fmaf(op.tilt[1], (float)x, fmaf(op.tilt[0], (float)y, 1.0f)));
        s.y = drawn(s.y, by);
        s.x = drawn(s.x, by);
    }
    return s;
}

FASTAUG_FN bool inside(i32 y, i32 x, i32 height, i32 width) {
    return (u32)y < (u32)height && (u32)x < (u32)width;
}

FASTAUG_FN u8 outside(const Op& op, i32 c) { return op.filled ? to_byte(nearest_even(op.fill[c])) : 0; }

FASTAUG_FN i32 rounded(i64 fixed) { return (i32)((fixed + ((i64)1 << 31)) >> 32); }

// at(y, x, c): a pixel inside the image.
template <class At>
FASTAUG_FN u8 between(const Op& op, const Source& s, i32 height, i32 width, i32 c, const At& at) {
    const i32 y = (i32)(s.y >> 32), x = (i32)(s.x >> 32);
    const float fy = (float)((u32)s.y >> 8) * 0x1p-24f, fx = (float)((u32)s.x >> 8) * 0x1p-24f;
    const float wy[2] = {1.0f - fy, fy}, wx[2] = {1.0f - fx, fx};
    float sum = 0.0f, share = 0.0f;
    for (i32 i = 0; i < 2; ++i) {
        for (i32 j = 0; j < 2; ++j) {
            if (!inside(y + i, x + j, height, width)) continue;
            const float weight = wy[i] * wx[j];
            sum = sum + weight * (float)at(y + i, x + j, c);
            share += weight;
        }
    }
    if (op.filled) sum = (sum - op.fill[c]) * share + op.fill[c];
    return to_byte(nearest_even(sum));
}

// ---- AugMix ----

FASTAUG_FN float weighed(float sum, float weight, u8 value) { return sum + weight * (float)value; }
