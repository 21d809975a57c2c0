// Inverse DCT of 8 x 8 coefficients to the integers of libjpeg's jidctint.c (ISLOW: Loeffler, Ligtenberg and
// Moschytz 1989 in 13-bit fixed point; columns first), with the 16-bit products, sums and saturation that
// libjpeg-turbo's SIMD has. What lies so far out that its shortcuts would show is reported instead.
#pragma once

#include "jpeg_entropy.h"
#include "simd.h"

namespace jpeg {

enum { LARGEST = 8191 };  // of a coefficient times its quantiser; honest ones stay below 2048

struct Block {
    alignas(64) i16 values[ROOM];  // natural order; places from 64 on are for what has none
};

// Constants of jidctint.c, times 2^13: sums of the FIX_ ones, as its terms are collected.
enum : i32 {
    C_0541 = 4433, C_0765 = 6270, C_1847 = -15137,             // even
    C_1175 = 9633, C_1961 = -16069, C_0390 = -3196,            // odd: z3, z4, z5
    C_0298 = 2446, C_2053 = 16819, C_3072 = 25172, C_1501 = 12299, C_0899 = -7373, C_2562 = -20995
};

inline i16 wrapped(i32 value) { return (i16)(u16)(u32)value; }
inline i32 saturated(i32 value) { return value < -32768 ? -32768 : value > 32767 ? 32767 : value; }

// One pass over eight 16-bit values; results before they are scaled down.
FASTAUG_INLINE void idct_line(const i16* in, i32 step, i32* out) {
    const i32 x2 = in[2 * step], x6 = in[6 * step];
    const i32 x1 = in[step], x3 = in[3 * step], x5 = in[5 * step], x7 = in[7 * step];
    const i32 t2 = x2 * C_0541 + x6 * (C_0541 + C_1847), t3 = x2 * (C_0541 + C_0765) + x6 * C_0541;
    const i32 t0 = wrapped(in[0] + in[4 * step]) * 8192, t1 = wrapped(in[0] - in[4 * step]) * 8192;
    const i32 even[4] = {t0 + t3, t1 + t2, t1 - t2, t0 - t3};
    const i32 s3 = wrapped(x3 + x7), s4 = wrapped(x1 + x5);
    const i32 z3 = s3 * (C_1175 + C_1961) + s4 * C_1175, z4 = s3 * C_1175 + s4 * (C_1175 + C_0390);
    const i32 odd[4] = {x7 * C_0899 + x1 * (C_1501 + C_0899) + z4, x5 * C_2562 + x3 * (C_3072 + C_2562) + z3,
                        x5 * (C_2053 + C_2562) + x3 * C_2562 + z4, x7 * (C_0298 + C_0899) + x1 * C_0899 + z3};
    for (i32 k = 0; k < 4; ++k) {
        out[k] = even[k] + odd[k];
        out[7 - k] = even[k] - odd[k];
    }
}

// Two blocks of one component to 8 x 8 pixels each. False: a coefficient is out of range.
inline bool idct_portable(const Block* blocks, const u16* quantiser, u8* const* out, i64 pitch) {
    bool fine = true;
    for (i32 n = 0; n < 2; ++n) {
        i16 in[64], half[64];
        for (i32 k = 0; k < 64; ++k) {
            in[k] = wrapped((i32)blocks[n].values[k] * (i16)quantiser[k]);
            fine &= in[k] >= -LARGEST && in[k] <= LARGEST;
        }
        i32 line[8];
        for (i32 x = 0; x < 8; ++x) {
            idct_line(in + x, 8, line);
            for (i32 y = 0; y < 8; ++y) half[8 * y + x] = (i16)saturated((line[y] + (1 << 10)) >> 11);
        }
        for (i32 y = 0; y < 8; ++y) {
            idct_line(half + 8 * y, 1, line);
            for (i32 x = 0; x < 8; ++x) out[n][y * pitch + x] = clip(((line[x] + (1 << 17)) >> 18) + 128);
        }
    }
    return fine;
}

// A block with nothing but a DC coefficient: every pixel. Less than 0: out of range.
inline i32 flat(i32 dc, u16 quantiser) {
    const i32 value = wrapped(dc * (i16)quantiser);
    return value < -LARGEST || value > LARGEST ? -1 : clip(((value + 4) >> 3) + 128);
}

// A block to SIZE x SIZE pixels, 4, 2 or 1: the inverse DCT of so many points of its lowest coefficients.
template <i32 SIZE>
inline bool reduced(const Block& block, const u16* quantiser, u8* out, i64 pitch) {
    i32 in[SIZE * SIZE];
    bool fine = true;
    for (i32 y = 0; y < SIZE; ++y) {
        for (i32 x = 0; x < SIZE; ++x) {
            const i32 value = wrapped((i32)block.values[8 * y + x] * (i16)quantiser[8 * y + x]);
            fine &= value >= -LARGEST && value <= LARGEST;
            in[SIZE * y + x] = value;
        }
    }
    for (i32 pass = 0; pass < 2; ++pass) {  // columns, which keep two bits more, then rows
        const i32 step = pass ? 1 : SIZE, next = pass ? SIZE : 1;
        const i32 shift = pass ? 18 : 11, half = 1 << (shift - 1);
        for (i32 k = 0; k < SIZE; ++k) {
            i32* v = in + k * next;
            if (SIZE == 4) {
                const i32 x0 = v[0], x1 = v[step], x2 = v[2 * step], x3 = v[3 * step];
                const i32 a = (x0 + x2) * 8192 + half, b = (x0 - x2) * 8192 + half;
                const i32 c = x1 * (C_0541 + C_0765) + x3 * C_0541;
                const i32 d = x1 * C_0541 - x3 * (C_0541 + C_0765);
                v[0] = (a + c) >> shift;
                v[3 * step] = (a - c) >> shift;
                v[step] = (b + d) >> shift;
                v[2 * step] = (b - d) >> shift;
            } else if (SIZE == 2) {
                const i32 x0 = v[0], x1 = v[step];
                v[0] = ((x0 + x1) * 8192 + half) >> shift;
                v[step] = ((x0 - x1) * 8192 + half) >> shift;
            } else {
                v[0] = (v[0] * 8192 + half) >> shift;
            }
        }
    }
    for (i32 y = 0; y < SIZE; ++y) {
        for (i32 x = 0; x < SIZE; ++x) out[y * pitch + x] = clip(in[SIZE * y + x] + 128);
    }
    return fine;
}

#ifdef FASTAUG_X86
AVX2_INLINE __m256i madd(__m256i pair, i32 a, i32 b) {
    return _mm256_madd_epi16(pair, _mm256_set1_epi32((i32)((u32)(u16)a | (u32)(u16)b << 16)));
}

// Eight rows of two blocks, a block to a half of each register; pass 1 keeps 16 bits, pass 2 gives pixels less
// 128 in 16 bits.
template <int SHIFT>
AVX2_INLINE void idct_pass(__m256i* r) {
    const __m256i half = _mm256_set1_epi32(1 << (SHIFT - 1));
    const __m256i sum = _mm256_add_epi16(r[0], r[4]), difference = _mm256_sub_epi16(r[0], r[4]);
    const __m256i zero = _mm256_setzero_si256();
    const __m256i s3 = _mm256_add_epi16(r[3], r[7]), s4 = _mm256_add_epi16(r[1], r[5]);
    __m256i low[8], high[8];
#define FASTAUG_HALF(out, unpack)                                                                            \
    {                                                                                                        \
        const __m256i x26 = unpack(r[2], r[6]), x71 = unpack(r[7], r[1]), x53 = unpack(r[5], r[3]);          \
        const __m256i z = unpack(s3, s4);                                                                    \
        const __m256i t2 = madd(x26, C_0541, C_0541 + C_1847), t3 = madd(x26, C_0541 + C_0765, C_0541);      \
        const __m256i t0 = _mm256_srai_epi32(unpack(zero, sum), 3);                                          \
        const __m256i t1 = _mm256_srai_epi32(unpack(zero, difference), 3);                                   \
        const __m256i z3 = madd(z, C_1175 + C_1961, C_1175), z4 = madd(z, C_1175, C_1175 + C_0390);          \
        const __m256i o0 = _mm256_add_epi32(madd(x71, C_0899, C_1501 + C_0899), z4);                         \
        const __m256i o1 = _mm256_add_epi32(madd(x53, C_2562, C_3072 + C_2562), z3);                         \
        const __m256i o2 = _mm256_add_epi32(madd(x53, C_2053 + C_2562, C_2562), z4);                         \
        const __m256i o3 = _mm256_add_epi32(madd(x71, C_0298 + C_0899, C_0899), z3);                         \
        const __m256i e0 = _mm256_add_epi32(_mm256_add_epi32(t0, half), t3);                                 \
        const __m256i e3 = _mm256_sub_epi32(_mm256_add_epi32(t0, half), t3);                                 \
        const __m256i e1 = _mm256_add_epi32(_mm256_add_epi32(t1, half), t2);                                 \
        const __m256i e2 = _mm256_sub_epi32(_mm256_add_epi32(t1, half), t2);                                 \
        out[0] = _mm256_srai_epi32(_mm256_add_epi32(e0, o0), SHIFT);                                         \
        out[7] = _mm256_srai_epi32(_mm256_sub_epi32(e0, o0), SHIFT);                                         \
        out[1] = _mm256_srai_epi32(_mm256_add_epi32(e1, o1), SHIFT);                                         \
        out[6] = _mm256_srai_epi32(_mm256_sub_epi32(e1, o1), SHIFT);                                         \
        out[2] = _mm256_srai_epi32(_mm256_add_epi32(e2, o2), SHIFT);                                         \
        out[5] = _mm256_srai_epi32(_mm256_sub_epi32(e2, o2), SHIFT);                                         \
        out[3] = _mm256_srai_epi32(_mm256_add_epi32(e3, o3), SHIFT);                                         \
        out[4] = _mm256_srai_epi32(_mm256_sub_epi32(e3, o3), SHIFT);                                         \
    }
    FASTAUG_HALF(low, _mm256_unpacklo_epi16)
    FASTAUG_HALF(high, _mm256_unpackhi_epi16)
#undef FASTAUG_HALF
    for (i32 k = 0; k < 8; ++k) r[k] = _mm256_packs_epi32(low[k], high[k]);
}

// Each block's 8 x 8 turned over.
AVX2_INLINE void transpose(__m256i* r) {
    __m256i a[8], b[8];
    for (i32 k = 0; k < 4; ++k) {
        a[2 * k] = _mm256_unpacklo_epi16(r[2 * k], r[2 * k + 1]);
        a[2 * k + 1] = _mm256_unpackhi_epi16(r[2 * k], r[2 * k + 1]);
    }
    for (i32 k = 0; k < 2; ++k) {
        const __m256i* q = a + 4 * k;
        b[4 * k] = _mm256_unpacklo_epi32(q[0], q[2]);
        b[4 * k + 1] = _mm256_unpackhi_epi32(q[0], q[2]);
        b[4 * k + 2] = _mm256_unpacklo_epi32(q[1], q[3]);
        b[4 * k + 3] = _mm256_unpackhi_epi32(q[1], q[3]);
    }
    for (i32 k = 0; k < 4; ++k) {
        r[2 * k] = _mm256_unpacklo_epi64(b[k], b[4 + k]);
        r[2 * k + 1] = _mm256_unpackhi_epi64(b[k], b[4 + k]);
    }
}

AVX2 inline bool idct_avx2(const Block* blocks, const u16* quantiser, u8* const* out, i64 pitch) {
    __m256i r[8], largest = _mm256_setzero_si256();
    for (i32 k = 0; k < 8; ++k) {
        const __m256i values = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_load_si128((const __m128i*)(blocks[0].values + 8 * k))),
            _mm_load_si128((const __m128i*)(blocks[1].values + 8 * k)), 1);
        r[k] = _mm256_mullo_epi16(
            values, _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)(quantiser + 8 * k))));
        largest = _mm256_max_epu16(largest, _mm256_abs_epi16(r[k]));  // of -32768: 32768
    }
    const __m256i limit = _mm256_set1_epi16(LARGEST);
    const bool fine = _mm256_testc_si256(_mm256_cmpeq_epi16(_mm256_max_epu16(largest, limit), limit),
                                         _mm256_set1_epi8(-1));
    idct_pass<11>(r);
    transpose(r);
    idct_pass<18>(r);
    transpose(r);
    const __m256i middle = _mm256_set1_epi8(-128);
    for (i32 k = 0; k < 8; k += 2) {
        const __m256i rows = _mm256_xor_si256(_mm256_packs_epi16(r[k], r[k + 1]), middle);
        const __m128i a = _mm256_castsi256_si128(rows), b = _mm256_extracti128_si256(rows, 1);
        _mm_storel_epi64((__m128i*)(out[0] + k * pitch), a);
        _mm_storeh_pd((double*)(out[0] + (k + 1) * pitch), _mm_castsi128_pd(a));
        _mm_storel_epi64((__m128i*)(out[1] + k * pitch), b);
        _mm_storeh_pd((double*)(out[1] + (k + 1) * pitch), _mm_castsi128_pd(b));
    }
    return fine;
}
#endif

}  // namespace jpeg
