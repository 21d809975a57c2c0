// From entropy-coded data to planes of samples: stretches of MCUs, decoded or stepped over.
#pragma once

#include <algorithm>

#include "jpeg_idct.h"

namespace jpeg {

// Entropy-coded data without stuffed bytes, a Segment for each stretch between restart markers.
struct Entropy {
    struct Jump {
        i64 copy, file;  // from this byte of the copy on, bytes are those of the file from here on
    };
    std::vector<u8> bytes;
    std::vector<Segment> segments;
    std::vector<Jump> jumps;
    i64 first;   // the first segment's number
    i32 marker;  // behind the last: 0xD9 is the end of the image; 0: none

    // Where in the file a byte of the copy is. Right behind a marker as well as right before it: behind it.
    i64 file_of(i64 copy) const {
        const auto behind = std::upper_bound(jumps.begin(), jumps.end(), copy,
                                             [](i64 place, const Jump& jump) { return place < jump.copy; });
        return behind[-1].file + copy - behind[-1].copy;
    }
};

// Copies [from, end) of a file until the first marker but for the right restart markers; segment `first` is
// under way at its beginning.
inline void unstuff(const u8* data, i64 from, i64 end, i32 interval, i64 first, Entropy& out) {
    if (out.bytes.size() < (size_t)(end - from) + SLACK) out.bytes.resize((size_t)(end - from) + SLACK);
    out.segments.clear();
    out.jumps.assign(1, {0, from});
    out.first = first;
    out.marker = 0;
    u8* const base = out.bytes.data();
    u8* to = base;
    i64 begin = 0, at = from;
    while (at < end) {
#ifdef FASTAUG_X86  // SSE2, which x86-64 always has
        while (end - at >= 16) {
            const __m128i some = _mm_loadu_si128((const __m128i*)(data + at));
            const u32 found = (u32)_mm_movemask_epi8(_mm_cmpeq_epi8(some, _mm_set1_epi8(-1)));
            _mm_storeu_si128((__m128i*)to, some);
            const i32 plain = found ? __builtin_ctz(found) : 16;
            at += plain;
            to += plain;
            if (plain < 16) break;
        }
#endif
        while (at < end && data[at] != 0xFF) *to++ = data[at++];
        i64 next = at;
        while (next < end && data[next] == 0xFF) ++next;  // fill bytes
        if (next >= end) break;
        at = next + 1;
        if (data[next] == 0) {
            *to++ = 0xFF;
        } else {
            const i64 number = first + (i64)out.segments.size();
            out.segments.push_back({begin, to - base});
            begin = to - base;
            if (!interval || data[next] != 0xD0 + (number & 7)) {
                out.marker = data[next];
                break;
            }
        }
        out.jumps.push_back({to - base, at});
    }
    if (!out.marker) out.segments.push_back({begin, to - base});
    memset(to, 0, SLACK);
}

// Blocks of one component that wait for their inverse DCT: two are done at a time.
struct Waiting {
    Block blocks[2];
    u8* to[2];
    i32 count = 0;
};

struct Target {        // where a component's blocks of the current MCU row go
    const u16* quantiser;
    const DcCodes* dc;
    const AcCodes* ac;
    i32 h, v;          // blocks of an MCU
    i32 size;          // pixels of a block's side: 8, or fewer where the image is decoded smaller
    i64 pitch;
    u8* line;          // its first MCU's first sample
    u32 prediction;    // of the next DC coefficient
    Waiting waiting;
};

struct Places {  // of a block's positions: natural order, then the one for what has no place
    u8 of[192];
    Places() {
        for (i32 k = 0; k < 192; ++k) of[k] = k < 64 ? natural[k] : (u8)COEFFICIENTS;
    }
};
extern const Places places;

// memset is several times slower for so few bytes.
FASTAUG_INLINE void clear(i16* values) {
    typedef i64 Four __attribute__((vector_size(32), may_alias));
    for (i32 k = 0; k < 4; ++k) ((Four*)values)[k] = Four{};
}

typedef bool (*Idct)(const Block*, const u16*, u8* const*, i64);

// Gives the pixels of blocks that wait, one or two.
FASTAUG_INLINE bool finish(Target& t, Idct idct) {
    Waiting& w = t.waiting;
    if (!w.count) return true;
    if (w.count == 1) {  // twice the same
        w.blocks[1] = w.blocks[0];
        w.to[1] = w.to[0];
    }
    w.count = 0;
    return idct(w.blocks, t.quantiser, w.to, t.pitch);
}

inline bool smaller(i32 size, const Block& block, const u16* quantiser, u8* to, i64 pitch) {
    return size == 4 ? reduced<4>(block, quantiser, to, pitch)
         : size == 2 ? reduced<2>(block, quantiser, to, pitch) : reduced<1>(block, quantiser, to, pitch);
}

// `count` MCUs that follow one another in a segment: to the targets, where some may wait, or stepped over.
// `limit` is the end of its bytes.
template <bool KEPT>
FASTAUG_INLINE JpegFault mcus(Bits& bits, i64 count, const u8* limit, Target* targets, i32 components,
                              Idct idct) {
    Bits b = bits;
    for (i64 n = 0; n < count; ++n) {
        for (i32 c = 0; c < components; ++c) {
            Target& t = targets[c];
            const i32 blocks = t.h * t.v;
            for (i32 k = 0; k < blocks; ++k) {
                i32 delta = 0;
                if (!read_delta(b, *t.dc, delta)) return JPEG_CODE;
                t.prediction += (u32)delta;
                if (!KEPT) {
                    if (!skip_block(b, *t.ac)) return JPEG_BLOCK;
                    continue;
                }
                Waiting& w = t.waiting;
                i16* values = w.blocks[w.count].values;
                clear(values);
                const i32 position = read_block(b, *t.ac, places.of, values);
                if (position < 0) return JPEG_BLOCK;
                const i16 dc = (i16)(u16)t.prediction;
                const i32 row = t.h == 2 ? k >> 1 : k, column = t.h == 2 ? k & 1 : 0;
                u8* to = t.line + t.size * (row * t.pitch + n * t.h + column);
                if (position == DONE) {
                    const i32 value = flat(dc, t.quantiser[0]);
                    if (value < 0) return JPEG_RANGE;
                    const u64 eight = 0x0101010101010101ull * (u64)value;
                    for (i32 y = 0; y < t.size; ++y) memcpy(to + y * t.pitch, &eight, 8);
                    continue;
                }
                values[0] = dc;
                if (t.size < 8) {
                    if (!smaller(t.size, w.blocks[w.count], t.quantiser, to, t.pitch)) return JPEG_RANGE;
                    continue;
                }
                w.to[w.count] = to;
                if (++w.count == 2 && !finish(t, idct)) return JPEG_RANGE;
            }
        }
        if (__builtin_expect(b.next > limit + 8, 0)) return JPEG_MISSING;
    }
    bits = b;
    return JPEG_FINE;
}

typedef JpegFault (*Mcus)(Bits&, i64, const u8*, Target*, i32);

inline JpegFault kept_portable(Bits& b, i64 count, const u8* limit, Target* targets, i32 components) {
    return mcus<true>(b, count, limit, targets, components, idct_portable);
}

inline JpegFault skipped_portable(Bits& b, i64 count, const u8* limit, Target* targets, i32 components) {
    return mcus<false>(b, count, limit, targets, components, idct_portable);
}

#ifdef FASTAUG_X86
#define BMI2 __attribute__((target("avx2,bmi,bmi2")))
BMI2 inline JpegFault kept_avx2(Bits& b, i64 count, const u8* limit, Target* targets, i32 components) {
    return mcus<true>(b, count, limit, targets, components, idct_avx2);
}

BMI2 inline JpegFault skipped_avx2(Bits& b, i64 count, const u8* limit, Target* targets, i32 components) {
    return mcus<false>(b, count, limit, targets, components, idct_avx2);
}
#undef BMI2
#endif

}  // namespace jpeg
