// Carries out plans with the CPU kernels, each buffer exactly as long as it has to be, so that
// AddressSanitizer sees every step over its ends. `fuzz_plans PLANS` reads what fuzz_plans.py writes and
// prints the number of each plan before it begins.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "scale.h"

extern "C" {
void fastaug_scale(const Scaling*, i64);
void fastaug_policy(u8*, const Row*, const Op*, i64, i64, i32, i32);
void fastaug_batch(const u8*, const u8* const*, const i64*, const Row*, const Hole*, const u8*, i64, i64, i32, i32, u64,
                   const float*, const float*, const float*, void*, i32, i32);
i32 fastaug_scale_passes(i32);
}

namespace {

struct Header {
    u64 seed;
    i32 n, holes, ops, height, width;
    i32 dtype, channels_last;  // of the output: float32, float16, bfloat16, uint8
    i32 passes;                // of scaling: portable, AVX2, AVX-512
    i32 gap;                   // bytes behind each line of a crop
    i32 masks;
};

template <class T>
std::unique_ptr<T[]> read(FILE* file, size_t count) {
    std::unique_ptr<T[]> values(new T[count]);
    if (fread(values.get(), sizeof(T), count, file) != count) exit(3);
    return values;
}

void carry_out(const Header& h, const Row* rows, const Hole* holes, const Op* ops,
               const u8* masks, Scaling* scalings) {
    u32 noise = (u32)h.seed;
    std::vector<std::unique_ptr<u8[]>> crops;
    for (i32 k = 0; k < h.n; ++k) {
        Scaling& scaling = scalings[k];
        const i64 line = 3 * (i64)scaling.w, stride = line + h.gap, bytes = (scaling.h - 1) * stride + line;
        crops.emplace_back(new u8[bytes]);
        for (i64 i = 0; i < bytes; ++i) crops.back()[i] = (u8)((noise = noise * 1664525u + 1013904223u) >> 24);
        scaling.source = crops.back().get();
        scaling.stride = stride;
    }
    enum { TABLE = FASTAUG_NOISE_TABLE };
    std::unique_ptr<float[]> table(new float[TABLE]);
    for (i32 k = 0; k < TABLE; ++k) table[k] = (float)(2 * k - TABLE) / TABLE;
    const float scale[3] = {1.0f / 58, 1.0f / 57, 1.0f}, bias[3] = {-2.1f, -2.0f, 0.0f};
    const i64 values = 3 * (i64)h.n * h.height * h.width, width = h.dtype == 0 ? 4 : h.dtype == 3 ? 1 : 2;
    std::unique_ptr<u8[]> images(new u8[values]);
    std::unique_ptr<float[]> whole(h.dtype == 0 ? new float[values] : nullptr);  // aligned as its type
    std::unique_ptr<u16[]> half(width == 2 ? new u16[values] : nullptr);
    std::unique_ptr<u8[]> bytes(h.dtype == 3 ? new u8[values] : nullptr);
    void* out = h.dtype == 0 ? (void*)whole.get() : width == 2 ? (void*)half.get() : (void*)bytes.get();
    fastaug_scale_passes(h.passes);
    for (i32 k = 0; k < h.n; ++k) scalings[k].out = images.get() + 3 * (i64)k * h.height * h.width;
    for (i32 first = 0, last; first < h.n; first = last) {  // in two parts, as threads do it
        last = first == 0 && h.n > 1 ? h.n / 2 : h.n;
        fastaug_scale(scalings + first, last - first);
        fastaug_policy(images.get(), rows, ops, first, last, h.height, h.width);
    }
    for (i32 first = 0, last; first < h.n; first = last) {
        last = first == 0 && h.n > 1 ? h.n / 2 : h.n;
        fastaug_batch(images.get(), nullptr, nullptr, rows, holes, masks, first, last, h.height, h.width, h.seed, scale, bias,
                      table.get(), out, h.dtype, h.channels_last);
    }
    for (i32 k = 0; k < h.n; ++k) {
        const Scaling& s = scalings[k];
        if (rows[k].n_ops || s.warp || s.step_y != 1 || s.step_x != 1 || s.start_y != floor(s.start_y) ||
            s.start_x != floor(s.start_x)) return;
    }
    const std::vector<u8> before((u8*)out, (u8*)out + values * width);  // without crops it is the same
    std::vector<const u8*> sources;
    std::vector<i64> strides;
    for (i32 k = 0; k < h.n; ++k) {
        sources.push_back(scalings[k].source);
        strides.push_back(scalings[k].stride);
    }
    fastaug_batch(nullptr, sources.data(), strides.data(), rows, holes, masks, 0, h.n, h.height, h.width, h.seed, scale, bias, table.get(),
                  out, h.dtype, h.channels_last);
    if (memcmp(before.data(), out, before.size())) abort();
}

}  // namespace

int main(int, char** arguments) {
    FILE* plans = fopen(arguments[1], "rb");
    if (!plans) return 2;
    Header header;
    for (i64 number = 0; fread(&header, sizeof header, 1, plans) == 1; ++number) {
        printf("%lld\n", (long long)number);
        fflush(stdout);
        const auto rows = read<Row>(plans, header.n);
        const auto holes = read<Hole>(plans, header.holes);
        const auto ops = read<Op>(plans, header.ops);
        const auto scalings = read<Scaling>(plans, header.n);
        const auto masks = read<u8>(plans, (size_t)header.masks * header.height * ((header.width + 7) / 8));
        carry_out(header, rows.get(), holes.get(), ops.get(), masks.get(), scalings.get());
    }
    return 0;
}
