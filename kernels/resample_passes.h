// The two passes of resample.cpp: portable, and for AVX2. Integers only, so both give the same bytes.
#pragma once
#include <vector>

#include "plan.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define FASTAUG_AVX2 1
#include <immintrin.h>
#endif

namespace {

typedef int16_t i16;
enum { GROUP = 4 };  // taps

// One axis: for each output position its first source position and the weights of those that follow.
struct Filter {
    i32 size = 0;                // output positions; first, count and weights are padded to fours
    i32 groups = 0;              // of GROUP weights for each position, zero past count
    i32 bits = 0;                // weights are in 1 / 2^bits
    i32 low = 0, high = 0;       // source positions [low, high) that any weight touches
    std::vector<i32> first, count;
    std::vector<i16> weights;
    std::vector<u8> spread;      // the weights as columns_avx2 reads them
};

inline u8 clip(i32 value) { return (u8)(value < 0 ? 0 : value > 255 ? 255 : value); }

// ---- portable ----

void prepare_portable(Filter&) {}

void columns_portable(const u8* line, const Filter& f, u8* out) {
    for (i32 i = 0; i < f.size; ++i) {
        const i16* weights = &f.weights[(size_t)i * f.groups * GROUP];
        const u8* pixels = line + 3 * f.first[i];
        i32 r = 1 << (f.bits - 1), g = r, b = r;
        for (i32 t = 0; t < f.count[i]; ++t) {
            r += pixels[3 * t] * weights[t];
            g += pixels[3 * t + 1] * weights[t];
            b += pixels[3 * t + 2] * weights[t];
        }
        out[3 * i] = clip(r >> f.bits);
        out[3 * i + 1] = clip(g >> f.bits);
        out[3 * i + 2] = clip(b >> f.bits);
    }
}

// Bytes [from, n) of an output line from `count` lines that follow one another.
void rows_from(const u8* lines, i64 pitch, const i16* weights, i32 count, i32 bits, i32 from, i32 n,
               u8* out) {
    enum { CHUNK = 512 };
    i32 sum[CHUNK];
    for (i32 begin = from; begin < n; begin += CHUNK) {
        const i32 length = n - begin < CHUNK ? n - begin : CHUNK;
        for (i32 k = 0; k < length; ++k) sum[k] = 1 << (bits - 1);
        for (i32 t = 0; t < count; ++t) {
            const u8* line = lines + t * pitch + begin;
            const i32 weight = weights[t];
            for (i32 k = 0; k < length; ++k) sum[k] += line[k] * weight;
        }
        for (i32 k = 0; k < length; ++k) out[begin + k] = clip(sum[k] >> bits);
    }
}

void rows_portable(const u8* lines, i64 pitch, const i16* weights, i32 count, i32 bits, i32 n, u8* out) {
    rows_from(lines, pitch, weights, count, bits, 0, n, out);
}

// ---- AVX2: two output pixels to a register in columns, 32 bytes in rows ----

#ifdef FASTAUG_AVX2
#define AVX2 __attribute__((target("avx2")))

// For four positions and a group: pairs of weights, repeated for the colours, in the lanes' order.
void prepare_avx2(Filter& f) {
    const i32 quads = (i32)f.first.size() / 4;
    f.spread.resize((size_t)quads * f.groups * 128);
    i16* to = (i16*)f.spread.data();
    for (i32 q = 0; q < quads; ++q) {
        for (i32 g = 0; g < f.groups; ++g) {
            for (i32 half = 0; half < 4; ++half) {  // positions 0 1, then 2 3; taps 0 1, then 2 3
                for (i32 lane = 0; lane < 2; ++lane) {
                    const i32 i = 4 * q + 2 * (half / 2) + lane;
                    const i16* pair = &f.weights[((size_t)i * f.groups + g) * GROUP + 2 * (half % 2)];
                    for (i32 c = 0; c < 4; ++c) {
                        *to++ = pair[0];
                        *to++ = pair[1];
                    }
                }
            }
        }
    }
}

AVX2 inline __m256i two(const u8* a, const u8* b) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i*)a)),
                                   _mm_loadu_si128((const __m128i*)b), 1);
}

AVX2 void columns_avx2(const u8* line, const Filter& f, u8* out) {
    const __m256i pair0 = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
                                           0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m256i pair1 = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m128i pack = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m256i half = _mm256_set1_epi32(1 << (f.bits - 1));
    const __m128i bits = _mm_cvtsi32_si128(f.bits);
    const u8* weights = f.spread.data();
    const i32* first = f.first.data();
    for (i32 i = 0; i < f.size; i += 4) {
        __m256i sum01 = half, sum23 = half;
        for (i32 g = 0; g < f.groups; ++g, weights += 128) {
            const u8* at = line + 3 * GROUP * g;
            const __m256i a = two(at + 3 * first[i], at + 3 * first[i + 1]);
            const __m256i b = two(at + 3 * first[i + 2], at + 3 * first[i + 3]);
            const __m256i* w = (const __m256i*)weights;
            sum01 = _mm256_add_epi32(sum01, _mm256_madd_epi16(_mm256_shuffle_epi8(a, pair0),
                                                              _mm256_loadu_si256(w)));
            sum01 = _mm256_add_epi32(sum01, _mm256_madd_epi16(_mm256_shuffle_epi8(a, pair1),
                                                              _mm256_loadu_si256(w + 1)));
            sum23 = _mm256_add_epi32(sum23, _mm256_madd_epi16(_mm256_shuffle_epi8(b, pair0),
                                                              _mm256_loadu_si256(w + 2)));
            sum23 = _mm256_add_epi32(sum23, _mm256_madd_epi16(_mm256_shuffle_epi8(b, pair1),
                                                              _mm256_loadu_si256(w + 3)));
        }
        const __m256i words = _mm256_packs_epi32(_mm256_sra_epi32(sum01, bits), _mm256_sra_epi32(sum23, bits));
        const __m256i bytes = _mm256_packus_epi16(words, words);  // lanes: 0 2 0 2, 1 3 1 3
        const __m128i pixels = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes),
                                                  _mm256_extracti128_si256(bytes, 1));
        _mm_storeu_si128((__m128i*)(out + 3 * i), _mm_shuffle_epi8(pixels, pack));
    }
}

AVX2 void rows_avx2(const u8* lines, i64 pitch, const i16* weights, i32 count, i32 bits, i32 n, u8* out) {
    const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(bits);
    i32 k = 0;
    for (; k + 32 <= n; k += 32) {
        __m256i s0 = half, s1 = half, s2 = half, s3 = half;
        for (i32 t = 0; t < count; t += 2) {  // past an odd count the weight is zero, the line any
            const u8* line = lines + t * pitch + k;
            const __m256i a = _mm256_loadu_si256((const __m256i*)line);
            const __m256i b = _mm256_loadu_si256((const __m256i*)(t + 1 < count ? line + pitch : line));
            const __m256i w = _mm256_set1_epi32((u16)weights[t] | (u32)(u16)weights[t + 1] << 16);
            const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
            s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(_mm256_unpacklo_epi8(low, zero), w));
            s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(_mm256_unpackhi_epi8(low, zero), w));
            s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(_mm256_unpacklo_epi8(high, zero), w));
            s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(_mm256_unpackhi_epi8(high, zero), w));
        }
        const __m256i low = _mm256_packs_epi32(_mm256_sra_epi32(s0, shift), _mm256_sra_epi32(s1, shift));
        const __m256i high = _mm256_packs_epi32(_mm256_sra_epi32(s2, shift), _mm256_sra_epi32(s3, shift));
        _mm256_storeu_si256((__m256i*)(out + k), _mm256_packus_epi16(low, high));
    }
    rows_from(lines, pitch, weights, count, bits, k, n, out);
}
#undef AVX2
#endif

// ---- the choice ----

struct Passes {
    void (*prepare)(Filter&);
    void (*columns)(const u8* line, const Filter& f, u8* out);
    void (*rows)(const u8* lines, i64 pitch, const i16* weights, i32 count, i32 bits, i32 n, u8* out);
};

i32 best = -1;

i32 choose_passes(i32 wanted) {
    i32 possible = 0;
#ifdef FASTAUG_AVX2
    possible = __builtin_cpu_supports("avx2") ? 1 : 0;
#endif
    return best = wanted < possible ? wanted : possible;
}

const Passes& best_passes() {
    static const Passes portable = {prepare_portable, columns_portable, rows_portable};
#ifdef FASTAUG_AVX2
    static const Passes avx2 = {prepare_avx2, columns_avx2, rows_avx2};
    if (best < 0) choose_passes(1);
    if (best == 1) return avx2;
#endif
    return portable;
}

}  // namespace
