// Chroma brought to the size of luma, and YCbCr to RGB: libjpeg's "fancy" triangle filters (jdsample.c) and its
// 16-bit fixed-point colours (jdcolor.c), line by line. Plain loops that compilers vectorise, but for RGB's
// interleaving.
#pragma once

#include "jpeg_idct.h"

namespace jpeg {

// ---- portable ----

// Three parts of a line and one of its neighbour.
inline void sums_portable(const u8* line, const u8* neighbour, i32 count, i16* out) {
    for (i32 k = 0; k < count; ++k) out[k] = (i16)(3 * line[k] + neighbour[k]);
}

// A line twice as wide; sums has one more at each end.
inline void widened_portable(i16* sums, i32 count, i32 first, i32 second, i32 shift, u8* out) {
    for (i32 k = 0; k < count; ++k) {
        out[2 * k] = (u8)((3 * sums[k] + sums[k - 1] + first) >> shift);
        out[2 * k + 1] = (u8)((3 * sums[k] + sums[k + 1] + second) >> shift);
    }
}

inline void rgb_portable(const u8* y, const u8* cb, const u8* cr, i32 count, u8* out) {
    for (i32 k = 0; k < count; ++k) {
        const i32 b = cb[k] - 128, r = cr[k] - 128;
        out[3 * k] = clip(y[k] + ((91881 * r + 32768) >> 16));
        out[3 * k + 1] = clip(y[k] + ((-22554 * b - 46802 * r + 32768) >> 16));
        out[3 * k + 2] = clip(y[k] + ((116130 * b + 32768) >> 16));
    }
}

inline void interleaved_portable(const u8* r, const u8* g, const u8* b, i32 count, u8* out) {
    for (i32 k = 0; k < count; ++k) {
        out[3 * k] = r[k];
        out[3 * k + 1] = g[k];
        out[3 * k + 2] = b[k];
    }
}

// ---- AVX2: these read and write up to 47 bytes past a line's end ----

#ifdef FASTAUG_X86

AVX2 inline void sums_avx2(const u8* line, const u8* neighbour, i32 count, i16* out) {
    for (i32 k = 0; k < count; k += 16) {
        const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(line + k)));
        const __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(neighbour + k)));
        _mm256_storeu_si256((__m256i*)(out + k), _mm256_add_epi16(_mm256_add_epi16(a, a), _mm256_add_epi16(a, b)));
    }
}

AVX2 inline void widened_avx2(i16* sums, i32 count, i32 first, i32 second, i32 shift, u8* out) {
    const __m256i even = _mm256_set1_epi16((i16)first), odd = _mm256_set1_epi16((i16)second);
    const __m128i bits = _mm_cvtsi32_si128(shift);
    for (i32 k = 0; k < count; k += 16) {
        const __m256i own = _mm256_loadu_si256((const __m256i*)(sums + k));
        const __m256i three = _mm256_add_epi16(_mm256_add_epi16(own, own), own);
        const __m256i left = _mm256_add_epi16(three, _mm256_loadu_si256((const __m256i*)(sums + k - 1)));
        const __m256i right = _mm256_add_epi16(three, _mm256_loadu_si256((const __m256i*)(sums + k + 1)));
        const __m256i low = _mm256_srl_epi16(_mm256_add_epi16(left, even), bits);
        const __m256i high = _mm256_srl_epi16(_mm256_add_epi16(right, odd), bits);
        _mm256_storeu_si256((__m256i*)(out + 2 * k), _mm256_or_si256(low, _mm256_slli_epi16(high, 8)));
    }
}

struct Rgb {
    __m128i r, g, b;
};

// Sixteen pixels, 3 * 16 bytes.
AVX2_INLINE void interleave(const Rgb& p, u8* out) {
    // Byte k of a third is colour k % 3 of pixel k / 3; each shuffle brings one colour to its places.
    const __m128i r0 = _mm_setr_epi8(0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5);
    const __m128i r1 = _mm_setr_epi8(-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1);
    const __m128i r2 = _mm_setr_epi8(-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1);
    const __m128i g0 = _mm_setr_epi8(-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1);
    const __m128i g1 = _mm_setr_epi8(5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10);
    const __m128i g2 = _mm_setr_epi8(-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1);
    const __m128i b0 = _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1);
    const __m128i b1 = _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1);
    const __m128i b2 = _mm_setr_epi8(10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15);
#define FASTAUG_THIRD(n)                                                                                   \
    _mm_storeu_si128((__m128i*)(out + 16 * n),                                                             \
                     _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(p.r, r##n), _mm_shuffle_epi8(p.g, g##n)),  \
                                  _mm_shuffle_epi8(p.b, b##n)))
    FASTAUG_THIRD(0);
    FASTAUG_THIRD(1);
    FASTAUG_THIRD(2);
#undef FASTAUG_THIRD
}

AVX2_INLINE __m128i bytes_of(__m256i words) {
    return _mm256_castsi256_si128(
        _mm256_permute4x64_epi64(_mm256_packus_epi16(words, words), 0x08));
}

AVX2 inline void rgb_avx2(const u8* y, const u8* cb, const u8* cr, i32 count, u8* out) {
    const __m256i middle = _mm256_set1_epi16(128), one = _mm256_set1_epi16(1);
    const __m256i round = _mm256_set1_epi32(16384);
    for (i32 k = 0; k < count; k += 16) {
        const __m256i luma = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(y + k)));
        const __m256i b =
            _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(cb + k))), middle);
        const __m256i r =
            _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)(cr + k))), middle);
        // 91881 = 65536 + 26345, 116130 = 131072 - 2 * 7471, and green's factors are even, -46802 being
        // 18734 - 65536.
        const __m256i part = _mm256_mulhi_epi16(_mm256_add_epi16(r, r), _mm256_set1_epi16(26345));
        const __m256i red = _mm256_add_epi16(r, _mm256_srai_epi16(_mm256_add_epi16(part, one), 1));
        const __m256i blue =
            _mm256_add_epi16(_mm256_add_epi16(b, b), _mm256_mulhrs_epi16(b, _mm256_set1_epi16(-7471)));
        const __m256i factors = _mm256_set1_epi32((i32)((u32)(u16)-11277 | 9367u << 16));
        const __m256i low = _mm256_srai_epi32(
            _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(b, r), factors), round), 15);
        const __m256i high = _mm256_srai_epi32(
            _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(b, r), factors), round), 15);
        const __m256i green = _mm256_sub_epi16(_mm256_packs_epi32(low, high), r);
        interleave({bytes_of(_mm256_add_epi16(luma, red)), bytes_of(_mm256_add_epi16(luma, green)),
                    bytes_of(_mm256_add_epi16(luma, blue))},
                   out + 3 * k);
    }
}

AVX2 inline void interleaved_avx2(const u8* r, const u8* g, const u8* b, i32 count, u8* out) {
    for (i32 k = 0; k < count; k += 16) {
        interleave({_mm_loadu_si128((const __m128i*)(r + k)), _mm_loadu_si128((const __m128i*)(g + k)),
                    _mm_loadu_si128((const __m128i*)(b + k))},
                   out + 3 * k);
    }
}
#endif

}  // namespace jpeg
