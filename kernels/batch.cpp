// The batch kernel on the CPU: uint8 HWC crops in, normalised, masked and mixed images out, in one
// pass. Row loops only; what a pixel is stands in pixel.h.
#include <vector>

#include "clones.h"
#include "pixel.h"

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

CLONES void cover_plane(float* values, const i32* cover, const float* fill, i32 width) {
    for (i32 x = 0; x < width; ++x) values[x] = cover[x] ? fill[x] : values[x];
}

CLONES void cover_pixels(float* values, const i32* cover, const float* fill, i32 width) {
    for (i32 x = 0; x < width; ++x) {
        for (i32 c = 0; c < 3; ++c) {
            values[3 * x + c] = cover[x] ? fill[3 * x + c] : values[3 * x + c];
        }
    }
}

CLONES void mix_line(float* own, const float* partner, float lam, float rest, i32 n) {
    for (i32 k = 0; k < n; ++k) own[k] = mixed(own[k], partner[k], lam, rest);
}

CLONES void grid_line(const Row& row, i32 height, i32 width, i32 y, i32* cover) {
    for (i32 x = 0; x < width; ++x) cover[x] = grid_erases(row, height, width, y, x);
}

#define STORE(name, type, convert)                                        \
    CLONES void name(const float* values, type* out, i32 n) {             \
        for (i32 k = 0; k < n; ++k) out[k] = convert(values[k]);          \
    }
STORE(store_float16, u16, to_float16)
STORE(store_bfloat16, u16, to_bfloat16)
STORE(store_uint8, u8, to_uint8)
#undef STORE

// ---- one call's work ----

struct Batch {
    const u8* crops;      // [n, height, width, 3]
    const Row* rows;      // [n]
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
        : b(batch), n(3 * batch.width), channel_step(batch.channels_last ? 1 : batch.width),
          pixel_step(batch.channels_last ? 3 : 1), scale(n), bias(n), own(n), partner(n), fill(n),
          cover(batch.width), planes(n) {
        for (i32 k = 0; k < n; ++k) {
            scale[k] = b.scale[k % 3];
            bias[k] = b.bias[k % 3];
        }
    }

    void sample(i64 i) {
        const Row& row = b.rows[i];
        for (i32 y = 0; y < b.height; ++y) {
            const Line line = target(i, y);
            values(i, y, line, cells[0]);
            if (row.mix == MIX_UP) {
                values(row.partner, y, {partner.data(), b.width}, cells[1]);
                mix(line, row.lam, 1.0f - row.lam);
            } else if (row.mix == MIX_CUT && y >= row.cut_y0 && y < row.cut_y1) {
                values(row.partner, y, {partner.data(), b.width}, cells[1]);
                paste(line, row.cut_x0, row.cut_x1);
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

    // Normalised and masked, not mixed.
    void values(i64 i, i32 y, Line line, Cells& cells) {
        float* out = line.at;
        const Row& row = b.rows[i];
        const i32 width = b.width;
        const u8* pixels = b.crops + (i * b.height + y) * n;
        if (b.channels_last) {
            normalise_pixels(pixels, scale.data(), bias.data(), out, n);
        } else {
            split_line(pixels, planes.data(), width);
            for (i32 c = 0; c < 3; ++c) {
                normalise_plane(&planes[c * width], b.scale[c], b.bias[c], out + c * line.step,
                                width);
            }
        }
        if (!row.grid_d && !row.hide && !row.n_holes) return;
        if (!find_cover(i, y, cells)) return;
        if (b.channels_last) {
            cover_pixels(out, cover.data(), fill.data(), width);
        } else {
            for (i32 c = 0; c < 3; ++c) {
                cover_plane(out + c * line.step, cover.data(), &fill[c * width], width);
            }
        }
    }

    void fill_run(i32 x0, i32 x1, const float* colour) {
        for (i32 c = 0; c < 3; ++c) {
            float* to = &fill[c * channel_step];
            for (i32 x = x0; x < x1; ++x) to[x * pixel_step] = colour[c];
        }
    }

    void cover_run(i32 x0, i32 x1, const float* colour) {
        for (i32 x = x0; x < x1; ++x) cover[x] = 1;
        fill_run(x0, x1, colour);
    }

    void mix(Line line, float lam, float rest) {
        if (b.channels_last) return mix_line(line.at, partner.data(), lam, rest, n);
        for (i32 c = 0; c < 3; ++c) {
            mix_line(line.at + c * line.step, &partner[c * b.width], lam, rest, b.width);
        }
    }

    void paste(Line line, i32 x0, i32 x1) {
        if (x1 <= x0) return;
        const size_t bytes = (size_t)(x1 - x0) * sizeof(float);
        if (b.channels_last) {
            memcpy(line.at + 3 * x0, &partner[3 * x0], 3 * bytes);
            return;
        }
        for (i32 c = 0; c < 3; ++c) {
            memcpy(line.at + c * line.step + x0, &partner[c * b.width + x0], bytes);
        }
    }

    // Sets cover and fill for line y; false when nothing is covered.
    bool find_cover(i64 i, i32 y, Cells& cells) {
        const Row& row = b.rows[i];
        bool any = false;
        if (row.grid_d) {
            grid_line(row, b.height, b.width, y, cover.data());
            fill_run(0, b.width, row.grid_fill);
            any = true;
        } else {
            memset(cover.data(), 0, cover.size() * sizeof(i32));
        }
        if (row.hide) {
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
                if (!cells.hidden[k]) continue;
                const i32 end = (k + 1) * row.hide;
                cover_run(k * row.hide, end < b.width ? end : b.width, row.hide_fill);
                any = true;
            }
        }
        for (i32 k = 0; k < row.n_holes; ++k) {
            const Hole& hole = row.holes[k];
            if (y < hole.y0 || y >= hole.y1) continue;
            cover_run(hole.x0, hole.x1, hole.fill);
            for (i32 x = hole.x0; hole.noise && x < hole.x1; ++x) {
                float value[3];
                noise(row, b.seed, b.noise_table, b.width, y, x, value);
                for (i32 c = 0; c < 3; ++c) fill[c * channel_step + x * pixel_step] = value[c];
            }
            any = true;
        }
        return any;
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
    const i32 n, channel_step, pixel_step;  // n = 3 * width values a line
    std::vector<float> scale, bias, own, partner, fill;
    std::vector<i32> cover;
    std::vector<u8> planes;
    Cells cells[2];  // of the sample, of its partner
};

}  // namespace

// Carries out rows [first, last) of a plan. crops holds the whole batch: partners may lie outside.
extern "C" void fastaug_batch(const u8* crops, const Row* rows, i64 first, i64 last, i32 height,
                              i32 width, u64 seed, const float* scale, const float* bias,
                              const float* noise_table, void* out, i32 dtype, i32 channels_last) {
    const Batch batch = {crops, rows, height, width, seed, scale, bias,
                         noise_table, out, dtype, channels_last};
    Worker worker(batch);
    for (i64 i = first; i < last; ++i) worker.sample(i);
}

extern "C" i64 fastaug_row_bytes() { return (i64)sizeof(Row); }

// The layout of Row as this compiler sees it: the offset of its k-th field, -1 past the last.
extern "C" i64 fastaug_row_offset(i32 k) {
#define AT(field) (i64)__builtin_offsetof(Row, field)
    static const i64 offsets[] = {
        AT(index), AT(label), AT(epoch), AT(occurrence), AT(repeat), AT(flip), AT(y0), AT(x0),
        AT(h), AT(w), AT(interpolation), AT(start_y), AT(start_x), AT(step_y), AT(step_x), AT(mix),
        AT(partner),
        AT(lam), AT(cut_y0), AT(cut_x0), AT(cut_y1), AT(cut_x1), AT(grid_d), AT(grid_l),
        AT(grid_y), AT(grid_x), AT(grid_mode), AT(grid_cos), AT(grid_sin), AT(grid_inv),
        AT(grid_fill), AT(hide), AT(hide_p), AT(hide_fill), AT(n_holes), AT(holes)};
#undef AT
    return k < (i32)(sizeof(offsets) / sizeof(offsets[0])) ? offsets[k] : -1;
}

extern "C" void fastaug_philox(const u32* counters, u32 k0, u32 k1, u32* out, i64 n) {
    for (i64 i = 0; i < n; ++i) {
        const u32* c = counters + 4 * i;
        const Words words = philox4x32(c[0], c[1], c[2], c[3], k0, k1);
        for (int j = 0; j < 4; ++j) out[4 * i + j] = words.v[j];
    }
}
