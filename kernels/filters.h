// The filters of scaling, and where padding comes from: for scale.cpp, warp.h and resample.cu alike.
//
// Exactly rounded operations only, as in pixel.h.
#pragma once
#include "pixel.h"

// sin(pi * x) for |x| < 2^20: the series of sin about the nearest whole number, to 1e-13.
FASTAUG_FN double sine_of_half_turns(double x) {
    const double whole = (double)(i64)(x < 0 ? x - 0.5 : x + 0.5), t = (x - whole) * 3.14159265358979323846;
    const double s = t * t;
    double sum = -1.0 / 1307674368000.0;
    sum = sum * s + 1.0 / 6227020800.0;
    sum = sum * s - 1.0 / 39916800.0;
    sum = sum * s + 1.0 / 362880.0;
    sum = sum * s - 1.0 / 5040.0;
    sum = sum * s + 1.0 / 120.0;
    sum = sum * s - 1.0 / 6.0;
    sum = (sum * s + 1.0) * t;
    return (i64)whole & 1 ? -sum : sum;
}

FASTAUG_FN double cardinal_sine(double x) {
    return x == 0.0 ? 1.0 : sine_of_half_turns(x) / (x * 3.14159265358979323846);
}

// How far a filter goes to either side, in steps.
FASTAUG_FN double filter_reach(i32 kind) {
    return kind == NEAREST ? 0.0 : kind == BICUBIC ? 2.0 : kind == LANCZOS ? 3.0 : kind == BOX ? 0.5 : 1.0;
}

// Pillow's filters, x steps from the middle.
FASTAUG_FN double filter_at(double x, i32 kind) {
    if (kind == BOX) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    x = x < 0 ? -x : x;
    if (kind == LANCZOS) return x < 3.0 ? cardinal_sine(x) * cardinal_sine(x / 3.0) : 0.0;
    if (kind == HAMMING) {  // the window's cosine is a sine half a turn on
        return x < 1.0 ? cardinal_sine(x) * (0.54 + 0.46 * sine_of_half_turns(x + 0.5)) : 0.0;
    }
    if (kind != BICUBIC) return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;  // Keys 1981, a = -0.5
    return x < 2.0 ? ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 : 0.0;
}

// Whether place k of an axis is padding, where [low, high) is not.
FASTAUG_FN bool is_padding(i32 k, i32 low, i32 high) { return k < low || k >= high; }

// The place in [low, high) that padding at k repeats; for PAD_CONSTANT as for PAD_EDGE.
FASTAUG_FN i32 padded_from(i32 k, i32 low, i32 high, i32 mode) {
    if (k >= low && k < high) return k;
    const i32 n = high - low;
    if (mode == PAD_CONSTANT || mode == PAD_EDGE || n == 1) return k < low ? low : high - 1;
    const i32 own = mode == PAD_SYMMETRIC, period = 2 * n - 2 + 2 * own;
    i32 at = (k - low) % period;
    if (at < 0) at += period;
    return low + (at < n ? at : period - at - own);
}
