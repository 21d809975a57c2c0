// From planes of samples to lines of pixels, and from these to a job's views.
#pragma once

#include "jpeg_blocks.h"
#include "jpeg_pixels.h"

namespace jpeg {

struct Box {
    i32 y0, x0, h, w;
};

// A job's box in the image as it is stored, before EXIF orientation is applied.
inline Box stored_box(const JpegJob& job, i32 height, i32 width) {
    const i32 o = job.orientation;
    Box box = {job.y0, job.x0, job.h, job.w};
    if (o >= 5) box = {job.x0, job.y0, job.w, job.h};
    if (o == 3 || o == 4 || o == 6 || o == 7) box.y0 = height - box.y0 - box.h;
    if (o == 2 || o == 3 || o == 7 || o == 8) box.x0 = width - box.x0 - box.w;
    return box;
}

struct Mcurange {
    i32 top, bottom, left, right;  // MCU rows and columns
};

// The geometry of an image: T.81, A.1.1 and A.2.
struct Frame {
    i32 h = 1, v = 1;           // how many times wider and higher luma is
    i32 height = 0, width = 0;  // of the image
    i32 across = 0, down = 0;   // MCUs

    Frame() {}
    explicit Frame(const Header& header)
        : h(header.components[0].h), v(header.components[0].v), height(header.height), width(header.width),
          across((header.width + 8 * h - 1) / (8 * h)), down((header.height + 8 * v - 1) / (8 * v)) {}

    i64 mcus() const { return (i64)across * down; }
    i32 chroma_width() const { return (width + h - 1) / h; }
    i32 chroma_height() const { return (height + v - 1) / v; }
    // Whether chroma is smoothed: libjpeg repeats samples of very narrow images instead.
    bool smooth() const { return h == 1 ? v == 2 : chroma_width() > 2; }

    // The MCUs that a box needs, the neighbours of its chroma included.
    Mcurange range(const Box& box) const {
        const i32 x = h > 1 ? 2 : 0, y = v > 1 ? 2 : 0;
        const i32 right = (box.x0 + box.w + x + 8 * h - 1) / (8 * h), bottom = (box.y0 + box.h + y + 8 * v - 1) / (8 * v);
        return {box.y0 > y ? (box.y0 - y) / (8 * v) : 0, bottom < down ? bottom : down,
                box.x0 > x ? (box.x0 - x) / (8 * h) : 0, right < across ? right : across};
    }

    // Lines that can be made once MCU row r is there: the last one's chroma may need the next row.
    i32 ready(i32 r) const { return (r + 1) * 8 * v - (v > 1); }
};

// Two MCU rows of each component, one behind the other in turns.
struct Planes {
    std::vector<u8> samples[3];
    i64 pitch[3];
    i32 lines[3];  // of an MCU row

    void begin(const Header& header, const Frame&, const Mcurange& range) {
        for (i32 c = 0; c < header.count; ++c) {
            lines[c] = 8 * header.components[c].v;
            pitch[c] = 8 * (i64)header.components[c].h * (range.right - range.left) + 64;
            const size_t needed = (size_t)(2 * lines[c] * pitch[c] + 64);
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
            const i64 needed = scalers[(size_t)k]->reach();
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
              const Mcurange& range, i32 y) {
        u8* to = upright ? &pixels[(size_t)(held * reach)] : &pixels[(size_t)(3 * (i64)job.h * job.w + reach)];
        const u8* first = planes.line(0, y) + box.x0 - 8 * frame.h * range.left;
        if (header.count == 1) {
            kernels.interleaved(first, first, first, box.w, to);
        } else {
            const u8* second = chroma(kernels, frame, planes, range, 1, y);
            const u8* third = chroma(kernels, frame, planes, range, 2, y);
            (header.rgb ? kernels.interleaved : kernels.rgb)(first, second, third, box.w, to);
        }
        if (!upright) return turned(to, y - box.y0);
        const i32 row = y - job.y0;
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
        for (i32 k = 0; k < held; ++k) lines[k] = first + k * pitch;
        for (i64 k = 0; k < job.view_count; ++k) scalers[(size_t)k]->take(lines, y, held);
        held = 0;
    }

    // Line r of the stored box to its place in the turned one.
    void turned(const u8* line, i32 r) {
        const i32 o = job.orientation;
        const i64 place = o == 3 || o == 4 || o == 6 || o == 7 ? box.h - 1 - r : r;
        const i64 step = o >= 5 ? 3 * (i64)job.w : 3;
        const bool back = o == 2 || o == 3 || o == 7 || o == 8;
        u8* to = &pixels[(size_t)(o >= 5 ? 3 * place : 3 * place * job.w)] + (back ? (box.w - 1) * step : 0);
        for (i32 x = 0; x < box.w; ++x, to += back ? -step : step) memcpy(to, line + 3 * x, 3);
    }

    // The box's samples of a chroma component on line y, as wide as luma's.
    const u8* chroma(const LineKernels& kernels, const Frame& frame, const Planes& planes,
                     const Mcurange& range, i32 c, i32 y) {
        const i32 row = y / frame.v, all = frame.chroma_width(), left = 8 * range.left;
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
