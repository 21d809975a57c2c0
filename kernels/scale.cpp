// Scaling of uint8 RGB crops, from the decoder's memory to the batch's, mirroring included. The steps of
// Pillow's Image.resize, within 1 of it: antialiased filters that grow with the step, columns first,
// rows second, each pass rounded to uint8. Weights are 16-bit fixed point, with as many fractional bits
// as the largest of them allows, so that a pass is pairwise multiply-and-add of 16-bit integers.
#include <cmath>
#include <cstring>
#include <vector>

#include "scale.h"
#include "scale_passes.h"
#include "warp.h"

namespace {

struct Axis {
    i32 out, in;         // pixels
    double start, step;  // output position i lies at start + (i + 0.5) * step in the source
    i32 mirrored;
    i32 low, high;       // positions that are no padding
};

Axis down_of(const Scaling& job) {
    return {job.height, job.h, job.start_y, job.step_y, job.flip_y, job.frame[0], job.frame[2]};
}

Axis across_of(const Scaling& job) {
    return {job.width, job.w, job.start_x, job.step_x, job.flip_x, job.frame[1], job.frame[3]};
}

// Fills f for one axis. A padded position repeats another one.
void make_filter(Filter& f, const Axis& axis, i32 kind, i32 mode, std::vector<double>& scratch) {
    const i32 out_size = axis.out, in_size = axis.in;
    const double start = axis.start, step = axis.step;
    const double stretch = step < 1.0 || kind == NEAREST ? 1.0 : step;
    const double reach = filter_reach(kind) * stretch;
    const i32 taps = (i32)ceil(2 * reach) + (kind == NEAREST);
    f.size = out_size;
    f.groups = (taps + GROUP - 1) / GROUP;
    const i32 room = f.groups * GROUP, padded = (out_size + 3) / 4 * 4;
    f.first.assign(padded, 0);
    f.count.assign(padded, 0);
    f.weights.assign((size_t)padded * room, 0);
    scratch.assign((size_t)out_size * room, 0);
    double largest = 0;
    f.low = in_size;
    f.high = 0;
    double summed = start + ((axis.low > 0 ? axis.low : 0) + 0.5) * step;  // for NEAREST, as Pillow: it decides ties
    for (i32 k = 0; k < out_size; ++k) {
        const i32 i = axis.mirrored ? out_size - 1 - k : k;
        const double centre = start + (padded_from(k, axis.low, axis.high, mode) + 0.5) * step;
        i32 low, high;
        if (kind == NEAREST) {
            const bool padding = is_padding(k, axis.low, axis.high);
            low = (i32)floor(padding ? centre : summed);
            high = low + 1;
            if (!padding) summed += step;
        } else {
            low = (i32)(centre - reach + 0.5);
            high = (i32)(centre + reach + 0.5);
        }
        low = low < 0 ? 0 : low > in_size - 1 ? in_size - 1 : low;
        high = high > in_size ? in_size : high <= low ? low + 1 : high;
        if (high - low > room) high = low + room;
        double* weight = &scratch[(size_t)i * room];
        double sum = 0;
        for (i32 t = 0; t < high - low; ++t) {
            weight[t] = filter_at((low + t - centre + 0.5) / stretch, kind == NEAREST ? BILINEAR : kind);
            sum += weight[t];
        }
        if (kind == NEAREST || sum == 0) weight[0] = sum = 1;
        for (i32 t = 0; t < high - low; ++t) {
            weight[t] /= sum;
            const double size = weight[t] < 0 ? -weight[t] : weight[t];
            largest = size > largest ? size : largest;
        }
        f.first[i] = low;
        f.count[i] = high - low;
        f.low = low < f.low ? low : f.low;
        f.high = high > f.high ? high : f.high;
    }
    f.bits = 22;
    while (largest * (1 << f.bits) > 32767.0) --f.bits;
    for (i32 i = 0; i < out_size; ++i) {  // rounded so that each position's weights sum to 1 exactly
        double sum = 0;
        i32 before = 0;
        for (i32 t = 0; t < f.count[i]; ++t) {
            sum += scratch[(size_t)i * room + t];
            const i32 now = (i32)floor(sum * (1 << f.bits) + 0.5);
            f.weights[(size_t)i * room + t] = (i16)(now - before);
            before = now;
        }
    }
}

}  // namespace

struct LineScaler::Inside {
    Scaling job;
    Filter across, down;
    std::vector<double> weights;
    std::vector<u8> narrow;  // the lines that are needed, columns scaled already; of a warp all, as they are
    i64 pitch;
};

LineScaler::LineScaler() : inside(new Inside) {}
LineScaler::~LineScaler() { delete inside; }

void LineScaler::begin(const Scaling& job) {
    Inside& s = *inside;
    s.job = job;
    if (job.warp) {
        s.pitch = 3 * (i64)job.w;
        const size_t needed = (size_t)(job.h * s.pitch);
        if (s.narrow.size() < needed) s.narrow.resize(needed);
        return;
    }
    make_filter(s.across, across_of(job), job.filter, job.mode, s.weights);
    make_filter(s.down, down_of(job), job.filter, job.mode, s.weights);
    best_passes().prepare(s.across);
    s.pitch = 3 * job.width + AHEAD;
    const size_t needed = (size_t)(s.down.high - s.down.low) * s.pitch + AHEAD;
    if (s.narrow.size() < needed) s.narrow.resize(needed);
}

i64 LineScaler::reach() const {
    if (inside->job.warp) return 3 * (i64)inside->job.w;
    return 3 * (inside->job.w + (i64)inside->across.groups * GROUP) + AHEAD;
}

void LineScaler::take(const u8* const* lines, i32 y, i32 count) {
    Inside& s = *inside;
    if (s.job.warp) {
        for (i32 k = 0; k < count; ++k) memcpy(&s.narrow[(size_t)((y + k) * s.pitch)], lines[k], (size_t)s.pitch);
        return;
    }
    for (i32 k = 0; k < count; k += LINES) {
        const i32 from = y + k > s.down.low ? y + k : s.down.low;
        const i32 past = k + LINES < count ? y + k + LINES : y + count;
        const i32 to = past < s.down.high ? past : s.down.high;
        if (from < to) {
            u8* out = &s.narrow[(size_t)(from - s.down.low) * s.pitch];
            best_passes().columns(lines + (from - y), to - from, s.across, out, s.pitch);
        }
    }
}

namespace {

void fill(u8* out, i32 from, i32 to, const u8 colour[3]) {
    for (i32 k = from; k < to; ++k) {
        for (i32 c = 0; c < 3; ++c) out[3 * k + c] = colour[c];
    }
}

// The positions of an axis that are no padding, mirrored where it is.
void shown(const Axis& axis, i32& first, i32& past) {
    const i32 low = axis.low > 0 ? axis.low : 0, high = axis.high < axis.out ? axis.high : axis.out;
    first = low < axis.out ? low : axis.out;
    past = high > first ? high : first;
    if (axis.mirrored) {
        const i32 turned = axis.out - past;
        past = axis.out - first;
        first = turned;
    }
}

// Paints constant padding over what was put there.
void fill_around(const Scaling& job) {
    i32 top, bottom, left, right;
    shown(down_of(job), top, bottom);
    shown(across_of(job), left, right);
    if (top == 0 && bottom == job.height && left == 0 && right == job.width) return;
    u8 colour[3];
    for (i32 c = 0; c < 3; ++c) colour[c] = to_uint8(job.fill[c]);
    for (i32 y = 0; y < job.height; ++y) {
        u8* line = job.out + (i64)y * 3 * job.width;
        const bool whole = y < top || y >= bottom;
        fill(line, 0, whole ? job.width : left, colour);
        fill(line, whole ? job.width : right, job.width, colour);
    }
}

}  // namespace

void LineScaler::end() {
    const Inside& s = *inside;
    if (s.job.warp) return warp(s.job, s.narrow.data(), s.pitch);
    const i32 n = 3 * s.job.width;
    for (i32 y = 0; y < s.job.height; ++y) {
        best_passes().rows(&s.narrow[(size_t)(s.down.first[y] - s.down.low) * s.pitch], s.pitch,
                           &s.down.weights[(size_t)y * s.down.groups * GROUP], s.down.count[y], s.down.bits,
                           n, s.job.out + (size_t)y * n);
    }
    if (s.job.mode == PAD_CONSTANT) fill_around(s.job);
}

namespace {

void scale(LineScaler& scaler, const Scaling& job, std::vector<u8>& copies) {
    if (job.warp) return warp(job, job.box(), job.stride);
    scaler.begin(job);
    const i64 reach = scaler.reach();
    const u8* end = job.box() + (job.h - 1) * job.stride + 3 * (i64)job.w;
    if (copies.size() < (size_t)reach * LINES) copies.resize((size_t)reach * LINES);
    for (i32 y = 0; y < job.h; y += LINES) {
        const i32 count = job.h - y < LINES ? job.h - y : LINES;
        const u8* lines[LINES];
        for (i32 k = 0; k < count; ++k) {
            lines[k] = job.box() + (y + k) * job.stride;
            if (end - lines[k] < reach) {
                u8* copy = &copies[k * reach];
                memcpy(copy, lines[k], (size_t)3 * job.w);
                lines[k] = copy;
            }
        }
        scaler.take(lines, y, count);
    }
    scaler.end();
}

}  // namespace

// Scales `count` images, one after another.
extern "C" void fastaug_scale(const Scaling* jobs, i64 count) {
    thread_local LineScaler scaler;
    thread_local std::vector<u8> copies;
    for (i64 k = 0; k < count; ++k) scale(scaler, jobs[k], copies);
}

extern "C" i64 fastaug_scaling_bytes() { return sizeof(Scaling); }

// Which instruction set scaling uses: 0 portable, 1 AVX2, 2 AVX-512, or less where the processor has
// less. Returns the choice.
extern "C" i32 fastaug_scale_passes(i32 wanted) { return choose_passes(wanted); }
