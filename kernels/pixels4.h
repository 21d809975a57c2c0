// Four pixels that follow one another in memory: what a thread of the CUDA kernels works on at a time.
// They are 12 bytes, moved as three words wherever their address allows.
#pragma once
#include "plan.h"

constexpr int PIXELS = 4;  // cuda.py has it too

struct Raw {
    u32 word[3];           // 3 * PIXELS bytes, as they lie in memory
};

FASTAUG_FN bool aligned(const void* at, u32 bytes) { return ((u64)at & (bytes - 1)) == 0; }

FASTAUG_FN u8 byte_of(const Raw& raw, int k) { return (u8)(raw.word[k / 4] >> (8 * (k % 4))); }

// The pixels from `at` on, of which there are n; 0 where there are fewer than PIXELS.
FASTAUG_FN Raw load(const u8* at, i32 n) {
    Raw raw = {{0, 0, 0}};
    if (n >= PIXELS && aligned(at, 4)) {
        for (int w = 0; w < 3; ++w) raw.word[w] = ((const u32*)at)[w];
        return raw;
    }
    for (int k = 0; k < 3 * PIXELS; ++k) {
        if (k < 3 * n) raw.word[k / 4] |= (u32)at[k] << (8 * (k % 4));
    }
    return raw;
}

// Stores what load() took.
FASTAUG_FN void store(u8* at, i32 n, const Raw& raw) {
    if (n >= PIXELS && aligned(at, 4)) {
        for (int w = 0; w < 3; ++w) ((u32*)at)[w] = raw.word[w];
        return;
    }
    for (int k = 0; k < 3 * PIXELS; ++k) {
        if (k < 3 * n) at[k] = byte_of(raw, k);
    }
}

// Takes the first pixel away and puts another behind the last: PIXELS times, and each had its turn. So a
// loop over pixels can stay a loop while Raw stays in registers.
FASTAUG_FN void advance(Raw& raw, u32 pixel) {
    raw.word[0] = raw.word[0] >> 24 | raw.word[1] << 8;
    raw.word[1] = raw.word[1] >> 24 | raw.word[2] << 8;
    raw.word[2] = raw.word[2] >> 24 | pixel << 8;
}
