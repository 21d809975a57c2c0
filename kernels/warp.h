// What a pixel of a turned, sheared or slanted crop is. As scaling along the output's axes: each filter is as
// wide as a step there, and at least as wide as a pixel of the source along its own main axes.
//
// Exactly rounded operations only, as in pixel.h.
#pragma once
#include "filters.h"
#ifndef __CUDACC_RTC__
#include <cmath>
#endif

// A place's surroundings: (u, v) are steps of the output from it, of which dx and dy pixels of the source are
// u = k[0] * dx + k[1] * dy and v = k[2] * dx + k[3] * dy.
struct Shape {
    double k[4];
    double per_u, per_v;  // 1 / k[0] and 1 / k[2]; 0: a line of the source runs along the other
    double wide, tall;    // how far the filter goes to either side, pixels of the source
    double area;          // of a step
};

// The map's slopes are x by x, x by y, y by x, y by y.
FASTAUG_FN Shape shape_of(double a, double b, double c, double d, double reach) {
    const double p = a * a + b * b, q = a * c + b * d, s = c * c + d * d;  // of the slopes times their transpose
    const double mean = (p + s) * 0.5, half = (p - s) * 0.5, spread = sqrt(half * half + q * q);
    const double low = mean - spread, high = mean + spread;  // main axes' lengths, squared
    if (low <= 1e-9 * high || low <= 1e-12) {  // next to a line
        a = p < 1.0 ? 1.0 : sqrt(p);
        d = s < 1.0 ? 1.0 : sqrt(s);
        b = c = 0.0;
    } else if (low < 1.0) {  // raised to 1, by a matrix that has the same main axes
        const double by_low = 1.0 / sqrt(low), by_high = high < 1.0 ? 1.0 / sqrt(high) : 1.0;
        const bool round = spread <= 1e-9 * mean;
        const double slope = round ? 0.0 : (by_high - by_low) / (high - low);
        const double base = round ? by_low : by_high - slope * high;
        const double xx = base + slope * p, xy = slope * q, yy = base + slope * s;
        const double a0 = a, b0 = b;
        a = xx * a0 + xy * c;
        b = xx * b0 + xy * d;
        c = xy * a0 + yy * c;
        d = xy * b0 + yy * d;
    }
    const double det = a * d - b * c;
    const Shape shape = {{d / det, -b / det, -c / det, a / det},
                         fabs(d / det) < 1e-9 ? 0.0 : det / d, fabs(c / det) < 1e-9 ? 0.0 : -det / c,
                         reach * (fabs(a) + fabs(b)), reach * (fabs(c) + fabs(d)), fabs(det)};
    return shape;
}

struct Range {
    double low, high;
};

// Narrows a range of dx to where |dx / per + offset| <= reach.
FASTAUG_FN void narrow(Range& range, double per, double offset, double reach) {
    if (per == 0.0) return;
    const double one = (-reach - offset) * per, two = (reach - offset) * per;
    const double low = one < two ? one : two, high = one < two ? two : one;
    range.low = low > range.low ? low : range.low;
    range.high = high < range.high ? high : range.high;
}

FASTAUG_FN i32 rounded_up(double value) {
    const i32 whole = (i32)value;
    return (double)whole < value ? whole + 1 : whole;
}

FASTAUG_FN i32 rounded_down(double value) {
    const i32 whole = (i32)value;
    return (double)whole > value ? whole - 1 : whole;
}

FASTAUG_FN float weight_of(float x, i32 filter) {
    if (filter != BILINEAR) return (float)filter_at((double)x, filter);
    const float left = 1.0f - fabsf(x);
    return left > 0.0f ? left : 0.0f;
}

struct Limits {
    i32 top, left, bottom, right;
};

enum { MOST_TAPS = 129 };  // along an axis; of a wider filter every second, every third, ... pixel is looked at

// From one pixel that a filter looks at to the next, given how far it goes to either side.
FASTAUG_FN i32 tap_step(double reach) { return 1 + (i32)(2 * reach / MOST_TAPS); }

// Calls tap(j, i, weight) for the pixels of the source that a place at (y, x) weighs, line by line, those within
// the limits.
template <class Tap>
FASTAUG_FN void each_tap(const Shape& shape, i32 filter, double y, double x, const Limits& limits, const Tap& tap) {
    const double reach = filter_reach(filter);
    i32 top = rounded_up(y - shape.tall - 0.5), bottom = rounded_down(y + shape.tall - 0.5);
    top = top > limits.top ? top : limits.top;
    bottom = bottom < limits.bottom ? bottom : limits.bottom;
    const i32 down = tap_step(shape.tall), across = tap_step(shape.wide);
    i32 begin = rounded_up(x - shape.wide - 0.5);  // of the pixels that are looked at
    begin = begin > limits.left ? begin : limits.left;
    for (i32 j = top; j <= bottom; j += down) {
        const double dy = j + 0.5 - y;
        Range range = {-shape.wide, shape.wide};
        narrow(range, shape.per_u, shape.k[1] * dy, reach);
        narrow(range, shape.per_v, shape.k[3] * dy, reach);
        i32 left = rounded_up(x + range.low - 0.5), right = rounded_down(x + range.high - 0.5);
        left = left > begin ? begin + (left - begin + across - 1) / across * across : begin;
        right = right < limits.right ? right : limits.right;
        for (i32 i = left; i <= right; i += across) {
            const double dx = i + 0.5 - x;
            tap(j, i, weight_of((float)(shape.k[0] * dx + shape.k[1] * dy), filter) *
                          weight_of((float)(shape.k[2] * dx + shape.k[3] * dy), filter));
        }
    }
}

// A place in the source: whole pixels, and parts of one in [0, 1).
struct Place {
    i32 y, x;
    double part_y, part_x;
    bool known;        // false: too far away, or behind the viewer
};

enum { PARTS = 32 };   // of a pixel, to which places are rounded where all shapes are the same

// A crop whose pixels come from anywhere in a box of pixels.
struct Warp {
    const u8* source;  // RGB, [h, w]
    i64 stride;        // bytes from one line to the next
    i32 h, w;
    double map[9];     // times (x, y, 1) in the output: a place in the box
    i32 frame[4];      // y0, x0, y1, x1: where padding ends
    i32 mode, filter;
    float fill[3];

    // Whether shapes are the same everywhere.
    FASTAUG_FN_IN bool straight() const { return map[6] == 0.0 && map[7] == 0.0; }

    FASTAUG_FN_IN double over(double px, double py) const { return (map[6] * px + map[7] * py) + map[8]; }

    FASTAUG_FN_IN Shape shape_at(double px, double py) const {
        const double r = 1.0 / over(px, py);
        const double x = ((map[0] * px + map[1] * py) + map[2]) * r, y = ((map[3] * px + map[4] * py) + map[5]) * r;
        return shape_of((map[0] - x * map[6]) * r, (map[1] - x * map[7]) * r, (map[3] - y * map[6]) * r,
                        (map[4] - y * map[7]) * r, filter_reach(filter));
    }

    FASTAUG_FN_IN Place place_of(i32 row, i32 column, const Shape& shape, bool rounded) const {
        const double px = column + 0.5, py = row + 0.5, d = over(px, py), far = 1 << 25;
        const double x = ((map[0] * px + map[1] * py) + map[2]) / d, y = ((map[3] * px + map[4] * py) + map[5]) / d;
        Place place = {0, 0, 0.0, 0.0, false};
        if (!(fabs(d) > 1e-4) || !(fabs(x) < far) || !(fabs(y) < far) || !(shape.wide < far) || !(shape.tall < far)) {
            return place;
        }
        place.known = true;
        if (rounded) {
            const i32 ny = rounded_down(y * PARTS + 0.5), nx = rounded_down(x * PARTS + 0.5);
            place.y = ny >> 5;
            place.x = nx >> 5;
            place.part_y = (ny & (PARTS - 1)) * (1.0 / PARTS);
            place.part_x = (nx & (PARTS - 1)) * (1.0 / PARTS);
        } else {
            place.y = rounded_down(y);
            place.x = rounded_down(x);
            place.part_y = y - place.y;
            place.part_x = x - place.x;
        }
        return place;
    }

    // Whether all that a place weighs lies in the box, with a pixel to the right of it.
    FASTAUG_FN_IN bool within(const Place& p, const Shape& shape) const {
        return p.y + p.part_y - shape.tall >= 0 && p.y + p.part_y + shape.tall <= h &&
               p.x + p.part_x - shape.wide >= 0 && p.x + p.part_x + shape.wide <= w - 1;
    }

    // Whether all that a place weighs lies outside.
    FASTAUG_FN_IN bool beyond(const Place& p, const Shape& shape) const {
        return p.y + p.part_y + shape.tall < frame[0] || p.y + p.part_y - shape.tall > frame[2] ||
               p.x + p.part_x + shape.wide < frame[1] || p.x + p.part_x - shape.wide > frame[3];
    }

    // The pixel at a place, which may lie outside the box; null where nothing is known of it.
    FASTAUG_FN_IN const u8* at(i32 y, i32 x) const {
        if ((u32)y >= (u32)h || (u32)x >= (u32)w) {
            if (mode == PAD_CONSTANT || is_padding(y, frame[0], frame[2]) || is_padding(x, frame[1], frame[3])) {
                return nullptr;
            }
            y = padded_from(y, 0, h, mode);
            x = padded_from(x, 0, w, mode);
        }
        return source + (i64)y * stride + 3 * (i64)x;
    }

    // What a pixel of the output is, given the shape there.
    FASTAUG_FN_IN void pixel(i32 row, i32 column, const Shape& shape, u8* out) const {
        const Place p = place_of(row, column, shape, filter != NEAREST && straight());
        if (!p.known || beyond(p, shape)) return put(nullptr, out);
        if (filter == NEAREST) return put(at(p.y, p.x), out);
        // What lies outside is weighed one by one where that is little, all at once where it may be much.
        const i32 all = 1 << 28;
        Limits limits = {-all, -all, all, all};
        const bool much = !within(p, shape) && shape.tall + shape.wide > 32.0;
        if (much) limits = {frame[0] - p.y, frame[1] - p.x, frame[2] - 1 - p.y, frame[3] - 1 - p.x};
        float sum[3] = {0.0f, 0.0f, 0.0f}, total = 0.0f, outside = 0.0f;
        each_tap(shape, filter, p.part_y, p.part_x, limits, [&](i32 j, i32 i, float weight) {
            const u8* pixel = at(p.y + j, p.x + i);
            if (!pixel) {
                outside += weight;
                return;
            }
            total += weight;
            for (i32 c = 0; c < 3; ++c) sum[c] = sum[c] + weight * (float)pixel[c];
        });
        if (much) {
            const float area = (float)(shape.area / ((double)tap_step(shape.tall) * tap_step(shape.wide)));
            outside = area > total ? area - total : 0.0f;
        }
        total += outside;
        if (!(total > 1e-6f)) return put(at(p.y, p.x), out);
        for (i32 c = 0; c < 3; ++c) out[c] = to_uint8((sum[c] + outside * fill[c]) / total);
    }

    FASTAUG_FN_IN void put(const u8* pixel, u8* out) const {
        for (i32 c = 0; c < 3; ++c) out[c] = pixel ? pixel[c] : to_uint8(fill[c]);
    }
};
