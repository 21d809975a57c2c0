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
