// From planes of samples to lines of pixels, and from these to a job's views.
#pragma once

#include <cmath>

#include "jpeg_blocks.h"
#include "jpeg_pixels.h"

namespace jpeg {

struct Box {
    i32 y0, x0, h, w;
};

// Whether EXIF's orientation exchanges rows and columns, and turns the order of rows or columns back.
inline bool exchanged(i32 o) { return o >= 5; }
inline bool rows_back(i32 o) { return o == 3 || o == 4 || o == 6 || o == 7; }
inline bool columns_back(i32 o) { return o == 2 || o == 3 || o == 7 || o == 8; }

// A job's box in the image as it is stored, before orientation is applied.
inline Box stored_box(const JpegJob& job, i32 height, i32 width) {
    const i32 o = job.orientation;
    Box box = {job.y0, job.x0, job.h, job.w};
    if (exchanged(o)) box = {job.x0, job.y0, job.w, job.h};
    if (rows_back(o)) box.y0 = height - box.y0 - box.h;
    if (columns_back(o)) box.x0 = width - box.x0 - box.w;
    return box;
}

// How many times smaller, 1, 2, 4 or 8, a job may be decoded: no view is larger than what it then shows.
inline i32 reduction(const JpegJob& job) {
    i32 times = 8;
    for (i64 k = 0; k < job.view_count; ++k) {
        const double y = job.views[k].step_y, x = job.views[k].step_x;
        const double step = job.views[k].warp ? 1.0 : y < x ? y : x;
        while (times > 1 && step < times) times /= 2;
    }
    return job.scaled && !job.pixels && job.view_count ? times : 1;
}

// The job as it is where the image is so many times smaller. `box` is its box as stored, before and after.
inline void reduce(JpegJob& job, Box& box, std::vector<Scaling>& views, i32 times) {
    const Box full = box;
    box.y0 = full.y0 / times;
    box.x0 = full.x0 / times;
    box.h = (full.y0 + full.h + times - 1) / times - box.y0;
    box.w = (full.x0 + full.w + times - 1) / times - box.x0;
    const double scale = 1.0 / times;
    // The whole box begins so far before the true one: where its order is turned back, so far behind its end.
    double row = full.y0 * scale - box.y0, column = full.x0 * scale - box.x0;
    if (rows_back(job.orientation)) row = box.y0 + box.h - (full.y0 + full.h) * scale;
    if (columns_back(job.orientation)) column = box.x0 + box.w - (full.x0 + full.w) * scale;
    const bool turned = exchanged(job.orientation);
    views.assign(job.views, job.views + job.view_count);
    job.views = views.data();
    job.y0 = turned ? box.x0 : box.y0;  // only differences count from here on
    job.x0 = turned ? box.y0 : box.x0;
    job.h = turned ? box.w : box.h;
    job.w = turned ? box.h : box.w;
    const auto part = [scale](double before, i32 side, i32& first, i32& length, double& start) {
        const double begin = before + first * scale;  // where the view's box begins
        const double end = ceil(begin + length * scale);
        first = (i32)begin;
        length = (end < side ? (i32)end : side) - first;
        start = start * scale + (begin - first);
    };
    for (Scaling& view : views) {
        part(turned ? column : row, job.h, view.y0, view.h, view.start_y);
        part(turned ? row : column, job.w, view.x0, view.w, view.start_x);
        view.step_y *= scale;
        view.step_x *= scale;
    }
}

struct Range {
    i32 top, bottom, left, right;  // MCU rows and columns
};

// The geometry of an image, or of one so many times smaller: T.81, A.1.1 and A.2.
struct Frame {
    i32 size[3] = {8, 8, 8};    // of a component's blocks, pixels
    i32 h = 1, v = 1;           // how many times wider and higher luma's samples are
    i32 tall = 8, wide = 8;     // of an MCU, pixels
    i32 height = 0, width = 0;  // of the image
    i32 across = 0, down = 0;   // MCUs

    Frame() {}
    Frame(const Header& header, i32 times) {
        const Component& luma = header.components[0];
        h = luma.h;
        v = luma.v;
        across = (header.width + 8 * h - 1) / (8 * h);
        down = (header.height + 8 * v - 1) / (8 * v);
        for (i32& side : size) side = 8 / times;
        tall = size[0] * v;
        wide = size[0] * h;
        height = (header.height + times - 1) / times;
        width = (header.width + times - 1) / times;
        if (times > 1 && h == 2 && v == 2) {  // chroma has the wanted size with less reduction
            size[1] = size[2] = 2 * size[0];
            h = v = 1;
        }
    }

    i64 mcus() const { return (i64)across * down; }
    i32 chroma_width() const { return (width + h - 1) / h; }
    i32 chroma_height() const { return (height + v - 1) / v; }
    // Whether chroma is smoothed: libjpeg repeats samples of very narrow images instead.
    bool smooth() const { return h == 1 ? v == 2 : chroma_width() > 2; }

    // The MCUs that a box needs, the neighbours of its chroma included.
    Range range(const Box& box) const {
        const i32 x = h > 1 ? 2 : 0, y = v > 1 ? 2 : 0;
        const i32 right = (box.x0 + box.w + x + wide - 1) / wide, bottom = (box.y0 + box.h + y + tall - 1) / tall;
        return {box.y0 > y ? (box.y0 - y) / tall : 0, bottom < down ? bottom : down,
                box.x0 > x ? (box.x0 - x) / wide : 0, right < across ? right : across};
    }

    // Lines that can be made once MCU row r is there: the last one's chroma may need the next row.
    i32 ready(i32 r) const { return (r + 1) * tall - (v > 1); }
};

// Two MCU rows of each component, one behind the other in turns.
struct Planes {
    std::vector<u8> samples[3];
    i64 pitch[3];
    i32 lines[3];  // of an MCU row

    void begin(const Header& header, const Frame& frame, const Range& range) {
        for (i32 c = 0; c < header.count; ++c) {
            lines[c] = frame.size[c] * header.components[c].v;
            pitch[c] = frame.size[c] * (i64)header.components[c].h * (range.right - range.left) + 64;
            const size_t needed = (size_t)(2 * lines[c] * pitch[c] + 64);  // a block of one pixel writes eight
            if (samples[c].size() < needed) samples[c].resize(needed);
        }
    }
    u8* row(i32 c, i32 r) { return samples[c].data() + (r & 1) * lines[c] * pitch[c]; }
    const u8* line(i32 c, i32 y) const { return samples[c].data() + (y % (2 * lines[c])) * pitch[c]; }
};

struct LineKernels {
    void (*sums)(const u8* line, const u8* neighbour, i32 count, i16* out);
    void (*widened)(i16* sums, i32 count, i32 first, i32 second, i32 shift, u8* out);
    void (*rgb)(const u8* y, const u8* cb, const u8* cr, i32 count, u8* out);
    void (*interleaved)(const u8* r, const u8* g, const u8* b, i32 count, u8* out);
};

const LineKernels portable_lines = {sums_portable, widened_portable, rgb_portable, interleaved_portable};
#ifdef FASTAUG_X86
const LineKernels avx2_lines = {sums_avx2, widened_avx2, rgb_avx2, interleaved_avx2};
#endif

// Where lines go: turned as orientation says, to the job's pixels and its views.
class Output {
public:
    void begin(const JpegJob& asked, const Box& stored) {
        job = asked;
        box = stored;
        upright = job.orientation == 1;
        held = 0;
        reach = 3 * (i64)job.w + 64;
        while ((i64)scalers.size() < job.view_count) scalers.emplace_back(new LineScaler);
        for (i64 k = 0; k < job.view_count; ++k) {
            scalers[(size_t)k]->begin(job.views[k]);
            const i64 needed = 3 * (i64)job.views[k].x0 + scalers[(size_t)k]->reach();
            reach = needed > reach ? needed : reach;
        }
        const size_t chroma = (size_t)(2 * (box.w + 8) + 128);
        if (sums.size() < chroma) sums.resize(chroma);
        for (auto& line : wide) {
            if (line.size() < chroma) line.resize(chroma);
        }
        const i64 stored_line = 3 * (i64)box.w + 64;
        const i64 needed = upright ? LINES * reach : 3 * (i64)job.h * job.w + reach + stored_line;
        if ((i64)pixels.size() < needed) pixels.resize((size_t)needed);
    }

    // Line y of the stored image, whose samples are there.
    void line(const LineKernels& kernels, const Header& header, const Frame& frame, const Planes& planes,
              const Range& range, i32 y) {
        u8* to = upright ? &pixels[(size_t)(held * reach)] : &pixels[(size_t)(3 * (i64)job.h * job.w + reach)];
        const u8* first = planes.line(0, y) + box.x0 - frame.wide * range.left;
        if (header.count == 1) {
            kernels.interleaved(first, first, first, box.w, to);
        } else {
            const u8* second = chroma(kernels, frame, planes, range, 1, y);
            const u8* third = chroma(kernels, frame, planes, range, 2, y);
            (header.rgb ? kernels.interleaved : kernels.rgb)(first, second, third, box.w, to);
        }
        if (!upright) return turned(to, y - box.y0);
        const i32 row = y - box.y0;
        if (job.pixels) memcpy(job.pixels + 3 * (i64)row * job.w, to, (size_t)(3 * job.w));
        if (++held == LINES || row + 1 == job.h) give(&pixels[0], reach, row + 1 - held);
    }

    void end() {
        if (!upright) {
            if (job.pixels) memcpy(job.pixels, &pixels[0], (size_t)(3 * (i64)job.h * job.w));
            for (i32 y = 0; y < job.h; y += LINES) {
                held = job.h - y < LINES ? job.h - y : LINES;
                give(&pixels[(size_t)(3 * (i64)y * job.w)], 3 * (i64)job.w, y);
            }
        }
        for (i64 k = 0; k < job.view_count; ++k) scalers[(size_t)k]->end();
    }

private:
    enum { LINES = 4 };
    JpegJob job;
    Box box;
    bool upright;
    i32 held;   // lines that wait for being scaled
    i64 reach;  // bytes that scalers may read from a line's beginning on
    std::vector<std::unique_ptr<LineScaler>> scalers;
    std::vector<u8> pixels;  // those lines; of turned images the whole box, then a line as it is stored
    std::vector<i16> sums;
    std::vector<u8> wide[2];

    void give(const u8* first, i64 pitch, i32 y) {
        const u8* lines[LINES];
        for (i64 k = 0; k < job.view_count; ++k) {
            const Scaling& view = job.views[k];
            const i32 from = y > view.y0 ? y : view.y0, to = y + held, past = view.y0 + view.h;
            const i32 count = (to < past ? to : past) - from;
            for (i32 j = 0; j < count; ++j) lines[j] = first + (from - y + j) * pitch + 3 * (i64)view.x0;
            if (count > 0) scalers[(size_t)k]->take(lines, from - view.y0, count);
        }
        held = 0;
    }

    // Line r of the stored box to its place in the turned one.
    void turned(const u8* line, i32 r) {
        const i32 o = job.orientation;
        const i64 place = rows_back(o) ? box.h - 1 - r : r;
        const i64 step = exchanged(o) ? 3 * (i64)job.w : 3;
        const bool back = columns_back(o);
        u8* to = &pixels[(size_t)(exchanged(o) ? 3 * place : 3 * place * job.w)] + (back ? (box.w - 1) * step : 0);
        for (i32 x = 0; x < box.w; ++x, to += back ? -step : step) memcpy(to, line + 3 * x, 3);
    }

    // The box's samples of a chroma component on line y, as wide as luma's.
    const u8* chroma(const LineKernels& kernels, const Frame& frame, const Planes& planes,
                     const Range& range, i32 c, i32 y) {
        const i32 row = y / frame.v, all = frame.chroma_width(), left = frame.wide / frame.h * range.left;
        if (frame.h == 1 && frame.v == 1) return planes.line(c, y) + box.x0 - left;
        const i32 from = frame.h == 1 ? box.x0 : box.x0 / 2 > 0 ? box.x0 / 2 - 1 : 0;
        const i32 past = frame.h == 1 ? box.x0 + box.w : (box.x0 + box.w - 1) / 2 + 2;
        const i32 count = (past < all ? past : all) - from;
        const u8* line = planes.line(c, row) + from - left;
        u8* to = wide[c - 1].data();
        if (!frame.smooth()) {
            for (i32 k = 0; k < count; ++k) to[2 * k] = to[2 * k + 1] = line[k];
            return to + (box.x0 - 2 * from);
        }
        const bool lower = y % frame.v;
        const u8* neighbour = nullptr;
        if (frame.v == 2) {
            const i32 last = frame.chroma_height() - 1;
            const i32 next = lower ? (row < last ? row + 1 : last) : row > 0 ? row - 1 : 0;
            neighbour = planes.line(c, next) + from - left;
        }
        i16* sum = sums.data() + 32;
        if (neighbour) {
            kernels.sums(line, neighbour, count, sum);
        } else {
            for (i32 k = 0; k < count; ++k) sum[k] = line[k];
        }
        if (frame.h == 1) {
            for (i32 k = 0; k < count; ++k) to[k] = (u8)((sum[k] + 1 + lower) >> 2);
            return to;
        }
        sum[-1] = sum[0];  // right at the image's edges; elsewhere not shown
        sum[count] = sum[count - 1];
        neighbour ? kernels.widened(sum, count, 8, 7, 4, to) : kernels.widened(sum, count, 1, 2, 2, to);
        return to + (box.x0 - 2 * from);
    }
};

}  // namespace jpeg
