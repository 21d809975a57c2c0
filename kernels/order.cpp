// The order of a shuffled epoch: fastaug/sampling/draws.py has the same over NumPy arrays.
#include "plan.h"

namespace {

u64 scramble(u64 value, u32 key) {
    u64 mixed = (value + key) * 0x9E3779B97F4A7C15ull;
    mixed ^= mixed >> 29;
    mixed *= 0xBF58476D1CE4E5B9ull;
    return mixed >> 32;
}

// An unbalanced Feistel network on `bits` bits, alternating which part is mixed into which.
u64 feistel(u64 value, i32 bits, const u32* keys, i32 rounds) {
    const i32 low_bits = bits / 2;
    const u64 low_mask = ((u64)1 << low_bits) - 1, high_mask = ((u64)1 << (bits - low_bits)) - 1;
    u64 low = value & low_mask, high = value >> low_bits;
    for (i32 k = 0; k < rounds; ++k) {
        if (k % 2) {
            high ^= scramble(low, keys[k]) & high_mask;
        } else {
            low ^= scramble(high, keys[k]) & low_mask;
        }
    }
    return high << low_bits | low;
}

}  // namespace

// The samples at some positions of a permutation of n, which is at most 2^bits: what falls outside goes round again.
extern "C" void fastaug_permuted(const i64* positions, i64 count, i64 n, i32 bits, const u32* keys, i32 rounds,
                                 i64* out) {
    for (i64 k = 0; k < count; ++k) {
        u64 value = (u64)positions[k];
        do value = feistel(value, bits, keys, rounds);
        while (value >= (u64)n);
        out[k] = (i64)value;
    }
}
