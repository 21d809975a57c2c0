// The batch kernel on the CPU: uint8 HWC crops in, normalised, masked and mixed images out, in one
// pass. Row loops only; what a pixel is stands in pixel.h.
#include <vector>

#include "clones.h"
#include "pixel.h"

namespace {

enum { FLOAT32 = 0, FLOAT16 = 1, BFLOAT16 = 2, UINT8 = 3 };

FASTAUG_FN float as_float32(float value) { return value; }

// ---- a row of interleaved RGB values: n = 3 * width ----

CLONES void normalise_row(const u8* pixels, const float* scale, const float* bias, float* out,
                          i32 n) {
    for (i32 k = 0; k < n; ++k) out[k] = normalised(pixels[k], scale[k], bias[k]);
}

CLONES void cover_row(float* values, const i32* cover, const float* fill, i32 n) {
    for (i32 k = 0; k < n; ++k) values[k] = cover[k] ? fill[k] : values[k];
}

CLONES void mix_row(float* own, const float* partner, float lam, float rest, i32 n) {
    for (i32 k = 0; k < n; ++k) own[k] = mixed(own[k], partner[k], lam, rest);
}

CLONES void grid_row(const Row& row, i32 height, i32 width, i32 y, i32* cover) {
    for (i32 x = 0; x < width; ++x) cover[x] = grid_erases(row, height, width, y, x);
}

// ---- storing a row: planes one after another (NCHW), or as it is (NHWC) ----

#define STORE(name, type, convert)                                                                \
    CLONES void name##_planes(const float* values, type* out, i64 plane, i32 width) {             \
        type *r = out, *g = out + plane, *b = out + 2 * plane;                                    \
        for (i32 x = 0; x < width; ++x) {                                                         \
            r[x] = convert(values[3 * x]);                                                        \
            g[x] = convert(values[3 * x + 1]);                                                    \
            b[x] = convert(values[3 * x + 2]);                                                    \
        }                                                                                         \
    }                                                                                             \
    CLONES void name##_pixels(const float* values, type* out, i32 n) {                            \
        for (i32 k = 0; k < n; ++k) out[k] = convert(values[k]);                                  \
    }
STORE(float32, float, as_float32)
STORE(float16, u16, to_float16)
STORE(bfloat16, u16, to_bfloat16)
STORE(uint8, u8, to_uint8)
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

class Worker {
  public:
    explicit Worker(const Batch& batch)
        : b(batch), n(3 * batch.width), scale(n), bias(n), own(n), partner(n), fill(n), cover(n),
          columns(batch.width) {
        for (i32 k = 0; k < n; ++k) {
            scale[k] = b.scale[k % 3];
            bias[k] = b.bias[k % 3];
        }
    }

    void sample(i64 i) {
        const Row& row = b.rows[i];
        for (i32 y = 0; y < b.height; ++y) {
            values(i, y, own.data());
            if (row.mix == MIX_UP) {
                values(row.partner, y, partner.data());
                mix_row(own.data(), partner.data(), row.lam, 1.0f - row.lam, n);
            } else if (row.mix == MIX_CUT && y >= row.cut_y0 && y < row.cut_y1) {
                values(row.partner, y, partner.data());
                for (i32 k = 3 * row.cut_x0; k < 3 * row.cut_x1; ++k) own[k] = partner[k];
            }
            store(i, y);
        }
    }

  private:
    // Normalised and masked, not mixed.
    void values(i64 i, i32 y, float* out) {
        const Row& row = b.rows[i];
        normalise_row(b.crops + (i * b.height + y) * n, scale.data(), bias.data(), out, n);
        if (row.grid_d || row.hide || row.n_holes) {
            if (find_cover(row, y)) cover_row(out, cover.data(), fill.data(), n);
        }
    }

    void cover_run(i32 x0, i32 x1, const float colour[3]) {
        for (i32 x = x0; x < x1; ++x) {
            for (i32 c = 0; c < 3; ++c) {
                cover[3 * x + c] = 1;
                fill[3 * x + c] = colour[c];
            }
        }
    }

    // Sets cover and fill for row y; false when nothing is covered. The order is masked()'s.
    bool find_cover(const Row& row, i32 y) {
        bool any = false;
        for (i32 k = 0; k < n; ++k) cover[k] = 0;
        if (row.grid_d) {
            grid_row(row, b.height, b.width, y, columns.data());
            for (i32 k = 0; k < n; ++k) {
                cover[k] = columns[k / 3];
                fill[k] = row.grid_fill[k % 3];
            }
            any = true;
        }
        if (row.hide) {
            for (i32 x = 0; x < b.width; x += row.hide) {
                if (!hide_cell(row, b.seed, hide_cell_of(row, b.width, y, x))) continue;
                cover_run(x, x + row.hide < b.width ? x + row.hide : b.width, row.hide_fill);
                any = true;
            }
        }
        for (i32 k = 0; k < row.n_holes; ++k) {
            const Hole& hole = row.holes[k];
            if (y < hole.y0 || y >= hole.y1) continue;
            cover_run(hole.x0, hole.x1, hole.fill);
            for (i32 x = hole.x0; hole.noise && x < hole.x1; ++x) {
                noise(row, b.seed, b.noise_table, b.width, y, x, &fill[3 * x]);
            }
            any = true;
        }
        return any;
    }

    template <class T>
    void store_as(i64 i, i32 y, void (*planes)(const float*, T*, i64, i32),
                  void (*pixels)(const float*, T*, i32)) {
        const i64 plane = (i64)b.height * b.width;
        T* image = (T*)b.out + i * 3 * plane;
        if (b.channels_last) pixels(own.data(), image + (i64)y * n, n);
        else planes(own.data(), image + (i64)y * b.width, plane, b.width);
    }

    void store(i64 i, i32 y) {
        switch (b.dtype) {
            case FLOAT32: return store_as<float>(i, y, float32_planes, float32_pixels);
            case FLOAT16: return store_as<u16>(i, y, float16_planes, float16_pixels);
            case BFLOAT16: return store_as<u16>(i, y, bfloat16_planes, bfloat16_pixels);
            default: return store_as<u8>(i, y, uint8_planes, uint8_pixels);
        }
    }

    const Batch& b;
    const i32 n;
    std::vector<float> scale, bias, own, partner, fill;
    std::vector<i32> cover, columns;
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
        AT(h), AT(w), AT(start_y), AT(start_x), AT(step_y), AT(step_x), AT(mix), AT(partner),
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
