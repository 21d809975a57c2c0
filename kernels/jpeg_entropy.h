// Huffman decoding (ITU T.81, F.2): tables, the reader of bits, blocks read or stepped over.
//
// Entropy-coded data are copied once without stuffed bytes, so that the reader takes eight bytes at a time
// without a look at them; each stretch between markers is a Segment. Reading past a segment's end is harmless
// (SLACK bytes follow) and found afterwards.
#pragma once

#include <cstring>
#include <vector>

#include "jpeg_header.h"
#include "simd.h"

namespace jpeg {

enum { LOOK = 10 };      // bits of a look into a table
enum { SLACK = 4096 };   // more than the blocks of an MCU can take
enum { DONE = 128 };     // added to a block's position by its end-of-block code
enum { COEFFICIENTS = 64, ROOM = 80 };  // ROOM: with a place for what has none

// What the next LOOK bits hold. Where they hold no whole symbol with its value, bits is 0; a Pair then has the
// symbol in value1 and its code's length in first, which is 0 where that is longer, too.
struct Pair {       // of AC coefficients: one or two
    u8 bits;        // of both
    u8 before;      // how far the first moves if there is a second, which must leave the block unfinished
    u8 first, both; // how far they move
    i16 value1, value2;
};
struct Skip {       // as many symbols as there are
    u8 bits, before, all, unused;
};
struct Delta {      // of a DC coefficient
    i16 value;
    u8 bits, symbol;  // symbol: where bits is 0, its code's length is in value; 0: longer than LOOK
};

struct Codes {
    i32 past[18];     // by length: the first number behind its codes, aligned to 16 bits
    i32 first[17];    // by length: the first symbol's place less the first code
    Table table = {}; // what it was made of
};
struct AcCodes : Codes {
    Pair pairs[1 << LOOK];
    Skip skips[1 << LOOK];
};
struct DcCodes : Codes {
    Delta deltas[1 << LOOK];
};

inline i32 extended(u32 bits, i32 size) {  // T.81's EXTEND
    const i32 value = (i32)bits;
    return size && value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}

// Calls put(place, length, symbol) for each look that begins with a whole code.
template <class Put>
inline void make_codes(Codes& codes, const Table& table, Put put) {
    codes.table = table;
    i32 code = 0, at = 0;
    for (i32 length = 1; length <= 16; ++length, code <<= 1) {
        codes.first[length] = at - code;
        for (i32 k = 0; k < table.counts[length - 1]; ++k, ++code, ++at) {
            const i32 rest = LOOK - length;
            for (i32 x = 0; rest >= 0 && x < 1 << rest; ++x) {
                put((code << rest) + x, length, table.symbols[at]);
            }
        }
        codes.past[length] = code << (16 - length);
    }
    codes.past[17] = 1 << 30;
}

// The value of `size` bits behind a code of `length`, both inside a look.
inline i32 value_in(i32 look, i32 length, i32 size) {
    return extended((u32)look >> (LOOK - length - size) & ((1u << size) - 1), size);
}

inline void make_deltas(DcCodes& codes, const Table& table) {
    if (!memcmp(&codes.table, &table, sizeof table)) return;
    memset(codes.deltas, 0, sizeof codes.deltas);
    make_codes(codes, table, [&](i32 place, i32 length, i32 size) {
        const bool fits = length + size <= LOOK;
        codes.deltas[place] = {(i16)(fits ? value_in(place, length, size) : length),
                               (u8)(fits ? length + size : 0), (u8)size};
    });
}

// How far a symbol moves. A run without a value is the block's end, as libjpeg has it.
inline i32 moved(i32 symbol) { return symbol & 15 || symbol == 0xF0 ? (symbol >> 4) + 1 : (i32)DONE; }

inline void make_pairs(AcCodes& codes, const Table& table) {
    if (!memcmp(&codes.table, &table, sizeof table)) return;
    Pair one[1 << LOOK] = {};
    make_codes(codes, table, [&](i32 place, i32 length, i32 symbol) {
        const i32 size = symbol & 15;
        Pair& to = one[place];
        if (length + size <= LOOK) {
            to.bits = (u8)(length + size);
            to.first = to.both = (u8)moved(symbol);
            to.value1 = to.value2 = (i16)value_in(place, length, size);
        } else {
            to.first = (u8)length;
            to.value1 = (i16)symbol;
        }
    });
    for (i32 x = 0; x < 1 << LOOK; ++x) {
        Pair& pair = codes.pairs[x] = one[x];
        if (!pair.bits) {  // too far for any position: read_one is asked
            pair.before = COEFFICIENTS;
            codes.skips[x] = {0, COEFFICIENTS, 0, 0};
            continue;
        }
        i32 bits = 0, before = 0, all = 0;
        for (i32 count = 1; all < DONE && all <= 3 * 16; ++count) {
            const Pair& next = one[(x << bits) & ((1 << LOOK) - 1)];
            if (!next.bits || bits + next.bits > LOOK) break;
            before = all;
            all += next.first;
            bits += next.bits;
            if (count == 2) {
                pair.bits = (u8)bits;
                pair.before = (u8)before;
                pair.both = (u8)all;
                pair.value2 = next.value1;
            }
        }
        codes.skips[x] = {(u8)bits, (u8)before, (u8)all, 0};
    }
}

// ---- bits ----

struct Segment {
    i64 begin, end;  // bytes of the copy
};

struct Bits {
    u64 window;      // the next bits, highest first
    i32 count;       // how many of them were counted in
    const u8* next;  // the byte after these
};

FASTAUG_INLINE void refill(Bits& b) {  // to 56 bits or more
    u64 more;
    memcpy(&more, b.next, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    more = __builtin_bswap64(more);
#endif
    b.window |= more >> b.count;
    b.next += (63 - b.count) >> 3;
    b.count |= 56;
}

FASTAUG_INLINE void drop(Bits& b, i32 bits) {
    b.window <<= bits & 63;
    b.count -= bits;
}

inline Bits bits_at(const u8* at, i32 bit) {
    Bits b = {0, 0, at};
    refill(b);
    drop(b, bit);
    return b;
}

// Bits from `base` to the next one.
inline i64 place_of(const Bits& b, const u8* base) { return 8 * (b.next - base) - b.count; }

// The next symbol, searched for by length; -1: there is no such code. At least 16 bits must be there.
inline i32 searched(Bits& b, const Codes& codes, i32 from) {
    const i32 look = (i32)(b.window >> 48);
    i32 length = from;
    while (look >= codes.past[length]) ++length;
    if (length > 16) return -1;
    const i32 symbol = codes.table.symbols[(codes.first[length] + (look >> (16 - length))) & 255];
    drop(b, length);
    return symbol;
}

FASTAUG_INLINE i32 value_of(Bits& b, i32 size) {
    if (!size) return 0;
    const u32 bits = (u32)(b.window >> (64 - size));
    drop(b, size);
    return extended(bits, size);
}

// ---- blocks ----

// The DC coefficient's difference. False: no such code.
FASTAUG_INLINE bool read_delta(Bits& b, const DcCodes& codes, i32& value) {
    refill(b);
    const Delta& e = codes.deltas[b.window >> (64 - LOOK)];
    if (__builtin_expect(e.bits != 0, 1)) {
        value = e.value;
        drop(b, e.bits);
        return true;
    }
    i32 symbol = e.symbol;
    if (e.value) {
        drop(b, e.value);
    } else if ((symbol = searched(b, codes, LOOK + 1)) < 0) {
        return false;
    }
    value = value_of(b, symbol);
    return true;
}

// The AC symbol that a look did not give, its value at the position moved to. False: no such code.
FASTAUG_INLINE bool read_one(Bits& b, const AcCodes& codes, u32& position, i32& value) {
    const Pair& look = codes.pairs[b.window >> (64 - LOOK)];
    i32 symbol = look.value1;
    if (!look.bits && look.first) {
        drop(b, look.first);
    } else if ((symbol = searched(b, codes, 1)) < 0) {
        return false;
    }
    position += (u32)moved(symbol);
    value = value_of(b, symbol & 15);
    refill(b);
    return true;
}

// AC coefficients into `block` in the order of `places`, which has a place for every position; zeros are not
// written. Returns the last position: 63, or DONE or more; or less than 0: no such block.
FASTAUG_INLINE i32 read_block(Bits& b, const AcCodes& codes, const u8* places, i16* block) {
    u32 position = 0;
    i32 value;
    while (position < 63) {
        refill(b);
        for (i32 k = 0; k < 3; ++k) {
            const Pair e = codes.pairs[b.window >> (64 - LOOK)];
            if (__builtin_expect(position + e.before < 63, 1)) {
                block[places[position + e.first]] = e.value1;
                position += e.both;
                block[places[position]] = e.value2;
                drop(b, e.bits);
                if (position >= 63) break;
                continue;
            }
            if (!read_one(b, codes, position, value)) return -1;
            block[places[position]] = (i16)value;
            break;
        }
    }
    return position == 63 || position >= DONE ? (i32)position : -1;
}

// The same without the coefficients.
FASTAUG_INLINE bool skip_block(Bits& b, const AcCodes& codes) {
    u32 position = 0;
    i32 value;
    while (position < 63) {
        refill(b);
        for (i32 k = 0; k < 3; ++k) {
            const Skip e = codes.skips[b.window >> (64 - LOOK)];
            if (__builtin_expect(position + e.before < 63, 1)) {
                position += e.all;
                drop(b, e.bits);
                if (position >= 63) break;
                continue;
            }
            if (!read_one(b, codes, position, value)) return false;
            break;
        }
    }
    return position == 63 || position >= DONE;
}

}  // namespace jpeg
