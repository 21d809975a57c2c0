// Scaling of uint8 RGB crops, from the decoder's memory to the batch's, mirroring included. The steps of
// Pillow's Image.resize, within 1 of it: antialiased filters that grow with the step, columns first,
// rows second, each pass rounded to uint8. Weights are 16-bit fixed point, with as many fractional bits
// as the largest of them allows, so that a pass is pairwise multiply-and-add of 16-bit integers.
#include <cmath>
#include <cstring>
#include <vector>

#include "scale.h"
#include "scale_passes.h"

namespace {

double weight_at(double x, i32 kind) {
    x = x < 0 ? -x : x;
    if (kind == BILINEAR) return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;  // Keys 1981, a = -0.5
    return x < 2.0 ? ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0 : 0.0;
}

// Fills f for one axis. Output position i lies at start + (i + 0.5) * step in the source.
void make_filter(Filter& f, i32 out_size, i32 in_size, double start, double step, i32 kind, i32 mirrored,
                 std::vector<double>& scratch) {
    const double stretch = step < 1.0 || kind == NEAREST ? 1.0 : step;
    const double reach = kind == NEAREST ? 0.0 : (kind == BICUBIC ? 2.0 : 1.0) * stretch;
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
    double summed = start + 0.5 * step;  // for NEAREST, as Pillow does: it decides ties
    for (i32 k = 0; k < out_size; ++k, summed += step) {
        const i32 i = mirrored ? out_size - 1 - k : k;
        const double centre = start + (k + 0.5) * step;
        i32 low, high;
        if (kind == NEAREST) {
            low = (i32)floor(summed);
            high = low + 1;
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
            weight[t] = weight_at((low + t - centre + 0.5) / stretch, kind == NEAREST ? BILINEAR : kind);
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
    std::vector<u8> narrow;  // the lines that are needed, columns scaled already
    i64 pitch;
};

LineScaler::LineScaler() : inside(new Inside) {}
LineScaler::~LineScaler() { delete inside; }

void LineScaler::begin(const Scaling& job) {
    Inside& s = *inside;
    s.job = job;
    make_filter(s.across, job.width, job.w, job.start_x, job.step_x, job.filter, job.flip_x, s.weights);
    make_filter(s.down, job.height, job.h, job.start_y, job.step_y, job.filter, job.flip_y, s.weights);
    best_passes().prepare(s.across);
    s.pitch = 3 * job.width + AHEAD;
    const size_t needed = (size_t)(s.down.high - s.down.low) * s.pitch + AHEAD;
    if (s.narrow.size() < needed) s.narrow.resize(needed);
}

i64 LineScaler::reach() const {
    return 3 * (inside->job.w + (i64)inside->across.groups * GROUP) + AHEAD;
}

void LineScaler::take(const u8* const* lines, i32 y, i32 count) {
    Inside& s = *inside;
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

void LineScaler::end() {
    const Inside& s = *inside;
    const i32 n = 3 * s.job.width;
    for (i32 y = 0; y < s.job.height; ++y) {
        best_passes().rows(&s.narrow[(size_t)(s.down.first[y] - s.down.low) * s.pitch], s.pitch,
                           &s.down.weights[(size_t)y * s.down.groups * GROUP], s.down.count[y], s.down.bits,
                           n, s.job.out + (size_t)y * n);
    }
}

namespace {

void scale(LineScaler& scaler, const Scaling& job, std::vector<u8>& copies) {
    scaler.begin(job);
    const i64 reach = scaler.reach();
    const u8* end = job.source + (job.h - 1) * job.stride + 3 * (i64)job.w;
    if (copies.size() < (size_t)reach * LINES) copies.resize((size_t)reach * LINES);
    for (i32 y = 0; y < job.h; y += LINES) {
        const i32 count = job.h - y < LINES ? job.h - y : LINES;
        const u8* lines[LINES];
        for (i32 k = 0; k < count; ++k) {
            lines[k] = job.source + (y + k) * job.stride;
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
