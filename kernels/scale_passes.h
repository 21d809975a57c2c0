// The two passes of scale.cpp: portable, for AVX2 and for AVX-512. Integers only, so all give the
// same bytes.
#pragma once
#include <vector>

#include "simd.h"

namespace {

enum { GROUP = 4 };    // taps
enum { LINES = 4 };    // source lines that columns does at once, to read the weights once for them
enum { AHEAD = 64 };   // bytes that a pass may read past the last pixel it needs, and write past a line

// One axis: for each output position its first source position and the weights of those that follow.
struct Filter {
    i32 size = 0;                // output positions; first, count and weights are padded to fours
    i32 groups = 0;              // of GROUP weights for each position, zero past count
    i32 bits = 0;                // weights are in 1 / 2^bits
    i32 low = 0, high = 0;       // source positions [low, high) that any weight touches
    std::vector<i32> first, count;
    std::vector<i16> weights;
    std::vector<u8> spread;      // the weights as columns_avx2 and columns_avx512 read them
    std::vector<u8> picks;       // columns_avx512: where each four positions' bytes lie; empty: too far apart
    std::vector<i32> base;       // columns_avx512: the leftmost source position of each four
};

// ---- portable ----

void prepare_portable(Filter&) {}

void columns_portable(const u8* const* lines, i32 count, const Filter& f, u8* out, i64 pitch) {
    for (i32 k = 0; k < count; ++k, out += pitch) {
        for (i32 i = 0; i < f.size; ++i) {
            const i16* weights = &f.weights[(size_t)i * f.groups * GROUP];
            const u8* pixels = lines[k] + 3 * f.first[i];
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

#ifdef FASTAUG_X86

// For four positions and a group: the weights of taps 0 1 of each, then of taps 2 3, each pair repeated
// for the colours.
void prepare_avx2(Filter& f) {
    const i32 quads = (i32)f.first.size() / 4;
    f.spread.resize((size_t)quads * f.groups * 128);
    i16* to = (i16*)f.spread.data();
    for (i32 q = 0; q < quads; ++q) {
        for (i32 g = 0; g < f.groups; ++g) {
            for (i32 taps = 0; taps < GROUP; taps += 2) {
                for (i32 i = 4 * q; i < 4 * q + 4; ++i) {
                    const i16* pair = &f.weights[((size_t)i * f.groups + g) * GROUP + taps];
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

AVX2 inline __m256i weighed(__m256i pixels, __m256i pick0, __m256i pick1, __m256i w0, __m256i w1) {
    return _mm256_add_epi32(_mm256_madd_epi16(_mm256_shuffle_epi8(pixels, pick0), w0),
                            _mm256_madd_epi16(_mm256_shuffle_epi8(pixels, pick1), w1));
}

AVX2 void columns_avx2(const u8* const* lines, i32 count, const Filter& f, u8* out, i64 pitch) {
    const __m256i pick0 = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
                                           0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m256i pick1 = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m128i pack = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m256i half = _mm256_set1_epi32(1 << (f.bits - 1));
    const __m128i bits = _mm_cvtsi32_si128(f.bits);
    for (i32 i = 0; i < f.size; i += 4) {
        const i32* first = &f.first[i];
        const __m256i* w = (const __m256i*)&f.spread[(size_t)i / 4 * f.groups * 128];
        const __m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 2);
        const __m256i w2 = _mm256_loadu_si256(w + 1), w3 = _mm256_loadu_si256(w + 3);
        for (i32 k = 0; k < count; ++k) {
            const u8* at = lines[k];
            __m256i sum01 = weighed(two(at + 3 * first[0], at + 3 * first[1]), pick0, pick1, w0, w1);
            __m256i sum23 = weighed(two(at + 3 * first[2], at + 3 * first[3]), pick0, pick1, w2, w3);
            for (i32 g = 1; g < f.groups; ++g) {
                const __m256i* v = w + 4 * g;
                at += 3 * GROUP;
                sum01 = _mm256_add_epi32(sum01, weighed(two(at + 3 * first[0], at + 3 * first[1]), pick0,
                                                        pick1, _mm256_loadu_si256(v),
                                                        _mm256_loadu_si256(v + 2)));
                sum23 = _mm256_add_epi32(sum23, weighed(two(at + 3 * first[2], at + 3 * first[3]), pick0,
                                                        pick1, _mm256_loadu_si256(v + 1),
                                                        _mm256_loadu_si256(v + 3)));
            }
            sum01 = _mm256_sra_epi32(_mm256_add_epi32(sum01, half), bits);
            sum23 = _mm256_sra_epi32(_mm256_add_epi32(sum23, half), bits);
            const __m256i words = _mm256_packs_epi32(sum01, sum23);
            const __m256i bytes = _mm256_packus_epi16(words, words);  // lanes: 0 2 0 2, 1 3 1 3
            const __m128i pixels = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes),
                                                      _mm256_extracti128_si256(bytes, 1));
            _mm_storeu_si128((__m128i*)(out + k * pitch + 3 * i), _mm_shuffle_epi8(pixels, pack));
        }
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

// ---- AVX-512: four output pixels to a register in columns, 64 bytes in rows ----

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))

// Byte numbers in 64 bytes from the leftmost pixel on, for taps 0 1 and taps 2 3 of four positions.
void prepare_avx512(Filter& f) {
    prepare_avx2(f);
    const i32 quads = (i32)f.first.size() / 4;
    f.base.resize(quads);
    f.picks.assign((size_t)quads * 128, 0);
    for (i32 q = 0; q < quads; ++q) {
        const i32* first = &f.first[4 * q];
        const i32 used = f.size - 4 * q < 4 ? f.size - 4 * q : 4;
        i32 low = first[0], high = first[0];
        for (i32 j = 1; j < used; ++j) {
            low = first[j] < low ? first[j] : low;
            high = first[j] > high ? first[j] : high;
        }
        if (3 * (high - low + GROUP) > AHEAD) {
            f.picks.clear();
            return;
        }
        f.base[q] = low;
        for (i32 j = 0; j < used; ++j) {
            for (i32 pair = 0; pair < 2; ++pair) {
                u8* to = &f.picks[(size_t)q * 128 + 64 * pair + 16 * j];
                for (i32 c = 0; c < 3; ++c) {  // 16-bit pairs: colour c of one tap, of the next
                    to[4 * c] = (u8)(3 * (first[j] - low + 2 * pair) + c);
                    to[4 * c + 2] = (u8)(to[4 * c] + 3);
                }
            }
        }
    }
}

AVX512 inline __m512i weighed(const u8* at, __m512i pick0, __m512i pick1, __m512i w0, __m512i w1) {
    const __mmask64 low = 0x0555055505550555ull;  // the low bytes of three 16-bit pairs, the fourth unused
    const __m512i bytes = _mm512_loadu_si512(at);
    return _mm512_add_epi32(_mm512_madd_epi16(_mm512_maskz_permutexvar_epi8(low, pick0, bytes), w0),
                            _mm512_madd_epi16(_mm512_maskz_permutexvar_epi8(low, pick1, bytes), w1));
}

AVX512 void columns_avx512(const u8* const* lines, i32 count, const Filter& f, u8* out, i64 pitch) {
    if (f.picks.empty()) return columns_avx2(lines, count, f, out, pitch);
    const __m128i pack = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m512i half = _mm512_set1_epi32(1 << (f.bits - 1)), zero = _mm512_setzero_si512();
    const __m128i bits = _mm_cvtsi32_si128(f.bits);
    for (i32 i = 0; i < f.size; i += 4) {
        const u8* picks = &f.picks[(size_t)i / 4 * 128];
        const u8* w = &f.spread[(size_t)i / 4 * f.groups * 128];
        const __m512i pick0 = _mm512_loadu_si512(picks), pick1 = _mm512_loadu_si512(picks + 64);
        const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
        for (i32 k = 0; k < count; ++k) {
            const u8* at = lines[k] + 3 * f.base[i / 4];
            __m512i sum = _mm512_add_epi32(half, weighed(at, pick0, pick1, w0, w1));
            for (i32 g = 1; g < f.groups; ++g) {
                sum = _mm512_add_epi32(sum, weighed(at + 3 * GROUP * g, pick0, pick1,
                                                    _mm512_loadu_si512(w + 128 * g),
                                                    _mm512_loadu_si512(w + 128 * g + 64)));
            }
            sum = _mm512_max_epi32(_mm512_sra_epi32(sum, bits), zero);
            _mm_storeu_si128((__m128i*)(out + k * pitch + 3 * i),
                             _mm_shuffle_epi8(_mm512_cvtusepi32_epi8(sum), pack));
        }
    }
}

AVX512 void rows_avx512(const u8* lines, i64 pitch, const i16* weights, i32 count, i32 bits, i32 n, u8* out) {
    const __m512i zero = _mm512_setzero_si512(), half = _mm512_set1_epi32(1 << (bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(bits);
    for (i32 k = 0; k < n; k += 64) {
        __m512i s0 = half, s1 = half, s2 = half, s3 = half;
        for (i32 t = 0; t < count; t += 2) {
            const u8* line = lines + t * pitch + k;
            const __m512i a = _mm512_loadu_si512(line);
            const __m512i b = _mm512_loadu_si512(t + 1 < count ? line + pitch : line);
            const __m512i w = _mm512_set1_epi32((u16)weights[t] | (u32)(u16)weights[t + 1] << 16);
            const __m512i low = _mm512_unpacklo_epi8(a, b), high = _mm512_unpackhi_epi8(a, b);
            s0 = _mm512_add_epi32(s0, _mm512_madd_epi16(_mm512_unpacklo_epi8(low, zero), w));
            s1 = _mm512_add_epi32(s1, _mm512_madd_epi16(_mm512_unpackhi_epi8(low, zero), w));
            s2 = _mm512_add_epi32(s2, _mm512_madd_epi16(_mm512_unpacklo_epi8(high, zero), w));
            s3 = _mm512_add_epi32(s3, _mm512_madd_epi16(_mm512_unpackhi_epi8(high, zero), w));
        }
        const __m512i low = _mm512_packs_epi32(_mm512_sra_epi32(s0, shift), _mm512_sra_epi32(s1, shift));
        const __m512i high = _mm512_packs_epi32(_mm512_sra_epi32(s2, shift), _mm512_sra_epi32(s3, shift));
        const __mmask64 kept = n - k >= 64 ? ~0ull : (1ull << (n - k)) - 1;
        _mm512_mask_storeu_epi8(out + k, kept, _mm512_packus_epi16(low, high));
    }
}
#undef AVX512
#endif

// ---- the choice ----

struct Passes {
    void (*prepare)(Filter&);
    void (*columns)(const u8* const* lines, i32 count, const Filter& f, u8* out, i64 pitch);
    void (*rows)(const u8* lines, i64 pitch, const i16* weights, i32 count, i32 bits, i32 n, u8* out);
};

i32 best = -1;

i32 choose_passes(i32 wanted) {
    i32 possible = 0;
#ifdef FASTAUG_X86
    if (__builtin_cpu_supports("avx2")) possible = 1;
    if (possible && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi")) {
        possible = 2;
    }
#endif
    return best = wanted < possible ? wanted : possible;
}

const Passes& best_passes() {
    static const Passes portable = {prepare_portable, columns_portable, rows_portable};
#ifdef FASTAUG_X86
    static const Passes avx2 = {prepare_avx2, columns_avx2, rows_avx2};
    static const Passes avx512 = {prepare_avx512, columns_avx512, rows_avx512};
    if (best < 0) choose_passes(2);
    if (best == 2) return avx512;
    if (best == 1) return avx2;
#endif
    return portable;
}

}  // namespace
