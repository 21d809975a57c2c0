// The batch kernel on the CPU: uint8 HWC crops in, normalised, masked and mixed images out, in one
// pass. Row loops only; what a pixel is stands in pixel.h.
#include <vector>

#include "clones.h"
#include "pixel.h"
#include "filters.h"

namespace {

enum { FLOAT32 = 0, FLOAT16 = 1, BFLOAT16 = 2, UINT8 = 3 };

// ---- lines of values: three runs of `width` (planar, for NCHW), or RGB by RGB (for NHWC) ----

typedef u8 Bytes __attribute__((vector_size(16)));

// Separates the colours of a line: out holds `width` reds, then greens, then blues.
CLONES void split_line(const u8* pixels, u8* out, i32 width) {
    u8 *r = out, *g = out + width, *b = out + 2 * width;
    i32 x = 0;
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
    for (; x + 16 <= width; x += 16) {
        Bytes p, q, s;
        memcpy(&p, pixels + 3 * x, 16);
        memcpy(&q, pixels + 3 * x + 16, 16);
        memcpy(&s, pixels + 3 * x + 32, 16);
        const Bytes red = __builtin_shufflevector(
            __builtin_shufflevector(p, q, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0), s,
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
        const Bytes green = __builtin_shufflevector(
            __builtin_shufflevector(p, q, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0), s,
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
        const Bytes blue = __builtin_shufflevector(
            __builtin_shufflevector(p, q, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0), s,
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
        memcpy(r + x, &red, 16);
        memcpy(g + x, &green, 16);
        memcpy(b + x, &blue, 16);
    }
#endif
#endif
    for (; x < width; ++x) {
        r[x] = pixels[3 * x];
        g[x] = pixels[3 * x + 1];
        b[x] = pixels[3 * x + 2];
    }
}

CLONES void normalise_plane(const u8* pixels, float scale, float bias, float* out, i32 n) {
    for (i32 k = 0; k < n; ++k) out[k] = normalised(pixels[k], scale, bias);
}

CLONES void normalise_pixels(const u8* pixels, const float* scale, const float* bias, float* out,
                             i32 n) {
    for (i32 k = 0; k < n; ++k) out[k] = normalised(pixels[k], scale[k], bias[k]);
}

// mix_line of a partner that is still pixels.
CLONES void mix_plane(float* own, const u8* partner, float scale, float bias, float lam, float rest, i32 n) {
    for (i32 k = 0; k < n; ++k) own[k] = mixed(own[k], normalised(partner[k], scale, bias), lam, rest);
}

CLONES void mix_pixels(float* own, const u8* partner, const float* scale, const float* bias, float lam,
                       float rest, i32 n) {
    for (i32 k = 0; k < n; ++k) own[k] = mixed(own[k], normalised(partner[k], scale[k], bias[k]), lam, rest);
}

CLONES void mix_line(float* own, const float* partner, float lam, float rest, i32 n) {
    for (i32 k = 0; k < n; ++k) own[k] = mixed(own[k], partner[k], lam, rest);
}

// Normal noise for pixels [x0, x0 + n) of line y, colour by colour `step` apart.
CLONES void noise_line(const Row& row, u64 seed, const float* table, i32 width, i32 y, i32 x0, i32 n,
                       float* out, i64 step, i64 pixel_step) {
    enum { CHUNK = 64 };
    u32 words[3][CHUNK];
    for (i32 begin = 0; begin < n; begin += CHUNK) {
        const u32 first = (u32)y * (u32)width + (u32)(x0 + begin);
        for (i32 k = 0; k < CHUNK; ++k) {
            const Words drawn = sample_words(row, seed, STREAM_NOISE, first + (u32)k);
            for (i32 c = 0; c < 3; ++c) words[c][k] = drawn.v[c];
        }
        for (i32 c = 0; c < 3; ++c) {
            float* to = out + c * step + begin * pixel_step;
            for (i32 k = 0; k < CHUNK && begin + k < n; ++k) to[k * pixel_step] = noise_of(words[c][k], table);
        }
    }
}

#define STORE(name, type, convert)                                        \
    CLONES void name(const float* values, type* out, i32 n) {             \
        for (i32 k = 0; k < n; ++k) out[k] = convert(values[k]);          \
    }
STORE(store_float16, u16, to_float16)
STORE(store_bfloat16, u16, to_bfloat16)
STORE(store_uint8, u8, to_uint8)
#undef STORE

// ---- GridMask along a line ----

// One axis of the grid, walked from left to right: is pixel x in a stripe, and up to where is that so?
// The same numbers as grid_erases(), which is linear in x before its shift.
class GridAxis {
  public:
    i32 striped = 0, next = 0;

    // The axis's coordinate is (along * u + across * v) in grid_erases()'s terms.
    GridAxis(const Row& row, i32 height, i32 width, i32 y, i32 along, i32 across, i32 offset)
        : row(row), width(width), offset(offset), step(2 * (i64)along),
          start((i64)across * (2 * y + 1 - height) + (i64)along * (1 - width) +
                ((i64)grid_canvas(height, width) << 16)),
          inverse(step ? 1.0 / (double)step : 0.0) {}

    void advance(i32 x) {
        const i32 place = (i32)((start + step * x) >> 17), d = row.grid_d, l = row.grid_l;
        const i32 phase = (i32)fast_mod((u32)(place + d - offset), (u32)d, row.grid_inv);
        striped = phase < l;
        if (!step) {
            next = width;
            return;
        }
        // The first pixel whose value is at `edge` or past it (step > 0), or below it (step < 0).
        const i32 up = striped ? l - phase : d - phase, down = striped ? phase : phase - l;
        const i64 edge = (i64)(step > 0 ? place + up : place - down) * (1 << 17);
        i64 n = (i64)((double)(edge - start) * inverse);  // within 1; then exactly
        n = n > x ? n : x + 1;
        while (!passed(n, edge)) ++n;
        while (n > x + 1 && passed(n - 1, edge)) --n;
        next = n < width ? (i32)n : width;
    }

  private:
    bool passed(i64 n, i64 edge) const {
        const i64 value = start + step * n;
        return step > 0 ? value >= edge : value < edge;
    }

    const Row& row;
    const i32 width, offset;
    const i64 step, start;
    const double inverse;
};

// ---- one call's work ----

struct Batch {
    const u8* crops;      // [n, height, width, 3]; null: lines lie in sources
    const u8* const* sources;  // of each row the first pixel of its box, which nothing scales or turns
    const i64* strides;        // bytes from one of its lines to the next
    const Row* rows;      // [n]
    const Hole* holes;    // of all rows
    const u8* masks;      // of MaskMix
    i32 height, width;
    u64 seed;
    const float *scale, *bias;  // per channel
    const float* noise_table;
    void* out;
    i32 dtype, channels_last;
};

// Carries out samples one by one, with scratch lines that stay in the first-level cache.
class Worker {
  public:
    explicit Worker(const Batch& batch)
        : b(batch), n(3 * batch.width), pixel_step(batch.channels_last ? 3 : 1), scale(n), bias(n),
          own(n), partner(n), below(n), planes(n), room(n) {
        for (i32 k = 0; k < n; ++k) {
            scale[k] = b.scale[k % 3];
            bias[k] = b.bias[k % 3];
        }
    }

    void sample(i64 i) {
        const Row& row = b.rows[i];
        for (i32 y = 0; y < b.height; ++y) {
            const Line line = target(i, y);
            values(i, y, 0, b.width, line, cells[0]);
            if (row.mix == MIX_UP) {
                mix(line, row.partner, y, row.lam, 1.0f - row.lam);
            } else if (row.mix == MIX_CUT && y >= row.cut_y0 && y < row.cut_y1 && row.cut_x1 > row.cut_x0) {
                values(row.partner, y, row.cut_x0, row.cut_x1, {partner.data(), b.width}, cells[1]);
                paste(line, row.cut_x0, row.cut_x1);
            } else if (row.mix == MIX_MASK) {
                values(row.partner, y, 0, b.width, {partner.data(), b.width}, cells[1]);
                paste_masked(row, y, line);
            } else if (row.mix == MIX_RESIZE && y >= row.cut_y0 && y < row.cut_y1) {
                paste_resized(row, y, line);
            }
            if (b.dtype != FLOAT32) store(i, y);
        }
    }

  private:
    // Which cells of a row of cells HideAndSeek hides, kept for the lines that share it.
    struct Cells {
        i64 sample = -1;
        i32 row = -1;
        std::vector<u8> hidden;
    };

    // Where a line's values lie: NCHW planes `step` apart, or NHWC from `at` on.
    struct Line {
        float* at;
        i64 step;
    };

    // float32 needs no scratch: it is worked on where it stays.
    Line target(i64 i, i32 y) {
        if (b.dtype != FLOAT32) return {own.data(), b.width};
        const i64 plane = (i64)b.height * b.width;
        float* image = (float*)b.out + i * 3 * plane;
        if (b.channels_last) return {image + (i64)y * n, b.width};
        return {image + (i64)y * b.width, plane};
    }

    // A line of a crop whose steps are whole pixels: where it lies, or made in `room`.
    const u8* line_in_source(i64 i, i32 y) {
        const Row& row = b.rows[i];
        const i32 width = b.width, low = row.frame[1], high = row.frame[3], mode = row.padding_mode;
        if (row.flip_y) y = b.height - 1 - y;
        const i32 down = padded_from(y, row.frame[0], row.frame[2], mode);
        const u8* from = b.sources[i] + ((i64)row.start_y + down) * b.strides[i] + 3 * (i64)row.start_x;
        const bool filled = mode == PAD_CONSTANT, outside = filled && down != y;
        if (!outside && low <= 0 && high >= width && !row.flip) return from;
        u8 colour[3];
        for (i32 c = 0; c < 3; ++c) colour[c] = to_uint8(row.crop_fill[c]);
        const i32 begin = outside || low > width ? width : low > 0 ? low : 0;
        const i32 end = high < width ? (high > begin ? high : begin) : width;
        const auto around = [&](i32 first, i32 past) {
            for (i32 x = first; x < past; ++x) {
                const u8* pixel = filled ? colour : from + 3 * (i64)padded_from(x, low, high, mode);
                u8* to = room.data() + 3 * (row.flip ? width - 1 - x : x);
                for (i32 c = 0; c < 3; ++c) to[c] = pixel[c];
            }
        };
        around(0, begin);
        around(end, width);
        if (!row.flip) {
            memcpy(room.data() + 3 * begin, from + 3 * (i64)begin, (size_t)(3 * (end - begin)));
            return room.data();
        }
        u8* to = room.data() + 3 * (width - 1 - begin);
        for (const u8 *at = from + 3 * (i64)begin, *past = from + 3 * (i64)end; at < past; at += 3, to -= 3) {
            to[0] = at[0];
            to[1] = at[1];
            to[2] = at[2];
        }
        return room.data();
    }

    // A line's pixels, until the next is asked for.
    const u8* pixels_of(i64 i, i32 y) {
        return b.crops ? b.crops + (i * b.height + y) * n : line_in_source(i, y);
    }

    // Normalised and masked, not mixed; of pixels [x0, x1), while masks may write beside them.
    void values(i64 i, i32 y, i32 x0, i32 x1, Line line, Cells& cells) {
        const Row& row = b.rows[i];
        const i32 width = b.width, count = x1 - x0;
        const u8* pixels = pixels_of(i, y) + 3 * x0;
        if (b.channels_last) {
            normalise_pixels(pixels, scale.data(), bias.data(), line.at + 3 * x0, 3 * count);
        } else {
            split_line(pixels, planes.data(), count);
            for (i32 c = 0; c < 3; ++c) {
                normalise_plane(&planes[c * count], b.scale[c], b.bias[c], line.at + c * line.step + x0, count);
            }
        }
        if (row.grid_d) erase_grid(row, y, line);
        if (row.hide) erase_cells(i, y, line, cells);
        for (i32 k = 0; k < row.n_holes; ++k) {
            const Hole& hole = b.holes[row.first_hole + k];
            if (y < hole.y0 || y >= hole.y1 || hole.x1 <= hole.x0) continue;
            if (!hole.noise) {
                erase(line, hole.x0, hole.x1, hole.fill);
            } else {
                noise_line(row, b.seed, b.noise_table, width, y, hole.x0, hole.x1 - hole.x0,
                           line.at + hole.x0 * pixel_step, b.channels_last ? 1 : line.step, pixel_step);
            }
        }
    }

    void erase(Line line, i32 x0, i32 x1, const float* colour) {
        if (b.channels_last) {
            for (float* at = line.at + 3 * x0; at < line.at + 3 * x1; at += 3) {
                for (i32 c = 0; c < 3; ++c) at[c] = colour[c];
            }
            return;
        }
        for (i32 c = 0; c < 3; ++c) {
            float* at = line.at + c * line.step;
            for (i32 x = x0; x < x1; ++x) at[x] = colour[c];
        }
    }

    // GridMask by runs: where grid_erases() changes along the line, instead of at each pixel.
    void erase_grid(const Row& row, i32 y, Line line) {
        GridAxis down(row, b.height, b.width, y, row.grid_sin, row.grid_cos, row.grid_y);
        GridAxis over(row, b.height, b.width, y, row.grid_cos, -row.grid_sin, row.grid_x);
        for (i32 x = 0; x < b.width;) {
            if (x == down.next) down.advance(x);
            if (x == over.next) over.advance(x);
            const i32 end = down.next < over.next ? down.next : over.next;
            if ((down.striped | over.striped) ^ row.grid_mode) erase(line, x, end, row.grid_fill);
            x = end;
        }
    }

    void erase_cells(i64 i, i32 y, Line line, Cells& cells) {
        const Row& row = b.rows[i];
        const i32 count = (b.width + row.hide - 1) / row.hide;
        if (cells.sample != i || cells.row != y / row.hide) {
            cells.sample = i;
            cells.row = y / row.hide;
            cells.hidden.resize(count);
            for (i32 k = 0; k < count; ++k) {
                cells.hidden[k] = hide_cell(row, b.seed, (u32)(cells.row * count + k));
            }
        }
        for (i32 k = 0; k < count; ++k) {
            const i32 end = (k + 1) * row.hide;
            if (cells.hidden[k]) erase(line, k * row.hide, end < b.width ? end : b.width, row.hide_fill);
        }
    }

    void mix(Line line, i64 other, i32 y, float lam, float rest) {
        const Row& row = b.rows[other];
        if (!row.grid_d && !row.hide && !row.n_holes) {
            const u8* pixels = pixels_of(other, y);
            if (b.channels_last) {
                return mix_pixels(line.at, pixels, scale.data(), bias.data(), lam, rest, n);
            }
            split_line(pixels, planes.data(), b.width);
            for (i32 c = 0; c < 3; ++c) {
                mix_plane(line.at + c * line.step, &planes[c * b.width], b.scale[c], b.bias[c], lam, rest,
                          b.width);
            }
            return;
        }
        values(other, y, 0, b.width, {partner.data(), b.width}, cells[1]);
        if (b.channels_last) return mix_line(line.at, partner.data(), lam, rest, n);
        for (i32 c = 0; c < 3; ++c) {
            mix_line(line.at + c * line.step, &partner[c * b.width], lam, rest, b.width);
        }
    }

    void paste(Line line, i32 x0, i32 x1) {
        const size_t bytes = (size_t)(x1 - x0) * sizeof(float);
        if (b.channels_last) {
            memcpy(line.at + 3 * x0, &partner[3 * x0], 3 * bytes);
            return;
        }
        for (i32 c = 0; c < 3; ++c) {
            memcpy(line.at + c * line.step + x0, &partner[c * b.width + x0], bytes);
        }
    }

    // A value of a line in scratch, or where it is made.
    i64 place_of(i32 x, i32 c, i64 step) const { return b.channels_last ? 3 * x + c : c * step + x; }

    void paste_masked(const Row& row, i32 y, Line line) {
        for (i32 x = 0; x < b.width; ++x) {
            if (!in_mask(row, b.masks, b.height, b.width, y, x)) continue;
            for (i32 c = 0; c < 3; ++c) line.at[place_of(x, c, line.step)] = partner[place_of(x, c, b.width)];
        }
    }

    void paste_resized(const Row& row, i32 y, Line line) {
        const Lerp down = lerp_of(y - row.cut_y0, row.cut_y1 - row.cut_y0, b.height);
        values(row.partner, down.low, 0, b.width, {partner.data(), b.width}, cells[1]);
        values(row.partner, down.high, 0, b.width, {below.data(), b.width}, cells[1]);
        mix_line(partner.data(), below.data(), 1.0f - down.part, down.part, n);
        for (i32 x = row.cut_x0; x < row.cut_x1; ++x) {
            const Lerp over = lerp_of(x - row.cut_x0, row.cut_x1 - row.cut_x0, b.width);
            for (i32 c = 0; c < 3; ++c) {
                line.at[place_of(x, c, line.step)] =
                    mixed(partner[place_of(over.low, c, b.width)], partner[place_of(over.high, c, b.width)],
                          1.0f - over.part, over.part);
            }
        }
    }

    template <class T>
    void store_as(i64 i, i32 y, void (*store)(const float*, T*, i32)) {
        const i64 plane = (i64)b.height * b.width;
        T* image = (T*)b.out + i * 3 * plane;
        if (b.channels_last) return store(own.data(), image + (i64)y * n, n);
        for (i32 c = 0; c < 3; ++c) {
            store(&own[c * b.width], image + c * plane + (i64)y * b.width, b.width);
        }
    }

    void store(i64 i, i32 y) {
        switch (b.dtype) {
            case FLOAT16: return store_as<u16>(i, y, store_float16);
            case BFLOAT16: return store_as<u16>(i, y, store_bfloat16);
            default: return store_as<u8>(i, y, store_uint8);
        }
    }

    const Batch& b;
    const i32 n, pixel_step;  // n = 3 * width values a line
    std::vector<float> scale, bias, own, partner, below;
    std::vector<u8> planes, room;
    Cells cells[2];  // of the sample, of its partner
};

}  // namespace

// Carries out rows [first, last) of a plan. crops holds the whole batch: partners may lie outside. Or it is null, and
// each row's pixels lie in a source, where nothing scales or turns them.
extern "C" void fastaug_batch(const u8* crops, const u8* const* sources, const i64* strides, const Row* rows,
                              const Hole* holes, const u8* masks, i64 first, i64 last, i32 height, i32 width,
                              u64 seed, const float* scale, const float* bias, const float* noise_table, void* out,
                              i32 dtype, i32 channels_last) {
    const Batch batch = {crops, sources, strides, rows, holes, masks, height, width, seed, scale, bias,
                         noise_table, out, dtype, channels_last};
    Worker worker(batch);
    for (i64 i = first; i < last; ++i) worker.sample(i);
}

extern "C" i64 fastaug_row_bytes() { return (i64)sizeof(Row); }

extern "C" i64 fastaug_hole_bytes() { return (i64)sizeof(Hole); }

// The layout of Row as this compiler sees it: the offset of its k-th field, -1 past the last.
extern "C" i64 fastaug_row_offset(i32 k) {
#define AT(field) (i64)__builtin_offsetof(Row, field),
    static const i64 offsets[] = {FASTAUG_ROW_FIELDS(AT)};
#undef AT
    return k < (i32)(sizeof(offsets) / sizeof(offsets[0])) ? offsets[k] : -1;
}
