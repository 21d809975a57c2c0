// What the scaling kernel is asked for.
#pragma once

#include <cstring>

#include "filters.h"

// One image to scale; fastaug/decode/scale.py mirrors this layout as a NumPy dtype, SCALING.
struct Scaling {
    const u8* source;         // decoded pixels, RGB
    i64 stride;               // bytes from one of their lines to the next
    u8* out;                  // [height, width, 3]
    i32 y0, x0, h, w;         // the box in them that is looked at; what follows counts from its corner
    i32 height, width;
    double start_y, start_x;  // where the output's first pixel begins, in pixels of the box; if mirrored, its last
    double step_y, step_x;    // pixels of the box per output pixel
    i32 flip_y, flip_x;       // 1: mirrored along the axis
    i32 filter;               // NEAREST to HAMMING
    i32 frame[4];             // y0, x0, y1, x1: of the output, before it is mirrored, the part that is no padding
    i32 mode;                 // of padding, PAD_CONSTANT to PAD_SYMMETRIC
    float fill[3];            // of PAD_CONSTANT
    i32 warp;                 // 1: turned: the map says where pixels come from, instead of start, step and flip
    double map[9];            // times (x, y, 1) in the output: a place in the box, which frame surrounds

    const u8* box() const { return source + y0 * stride + 3 * (i64)x0; }
};

// A line of a view whose steps are whole pixels: where it lies, or made in `room`, 3 * width bytes.
inline const u8* unscaled_line(const Scaling& view, i32 y, u8* room) {
    const i32 n = view.width, low = view.frame[1], high = view.frame[3];
    if (view.flip_y) y = view.height - 1 - y;
    const i32 row = padded_from(y, view.frame[0], view.frame[2], view.mode);
    const u8* from = view.box() + ((i64)view.start_y + row) * view.stride + 3 * (i64)view.start_x;
    const bool filled = view.mode == PAD_CONSTANT, outside = filled && row != y;
    if (!outside && low <= 0 && high >= n && !view.flip_x) return from;
    u8 colour[3];
    for (i32 c = 0; c < 3; ++c) colour[c] = to_uint8(view.fill[c]);
    const i32 begin = outside || low > n ? n : low > 0 ? low : 0, end = high < n ? (high > begin ? high : begin) : n;
    const auto around = [&](i32 first, i32 past) {
        for (i32 x = first; x < past; ++x) {
            const u8* pixel = filled ? colour : from + 3 * (i64)padded_from(x, low, high, view.mode);
            u8* to = room + 3 * (view.flip_x ? n - 1 - x : x);
            for (i32 c = 0; c < 3; ++c) to[c] = pixel[c];
        }
    };
    around(0, begin);
    around(end, n);
    if (!view.flip_x) {
        memcpy(room + 3 * begin, from + 3 * (i64)begin, (size_t)(3 * (end - begin)));
        return room;
    }
    u8* to = room + 3 * (n - 1 - begin);
    for (const u8 *at = from + 3 * (i64)begin, *past = from + 3 * (i64)end; at < past; at += 3, to -= 3) {
        to[0] = at[0];
        to[1] = at[1];
        to[2] = at[2];
    }
    return room;
}

// Makes a turned crop of a box of pixels.
void warp(const Scaling& job, const u8* source, i64 stride);

// Scales an image that comes line by line.
class LineScaler {
public:
    LineScaler();
    ~LineScaler();
    LineScaler(const LineScaler&) = delete;
    void operator=(const LineScaler&) = delete;

    // Begins with an image; its source and stride are not looked at.
    void begin(const Scaling& job);
    // Bytes that must be readable from the beginning of each line on.
    i64 reach() const;
    // Takes lines [y, y + count) of the box.
    void take(const u8* const* lines, i32 y, i32 count);
    // Writes what is shown, once it has all lines.
    void end();

private:
    struct Inside;
    Inside* inside;
};
