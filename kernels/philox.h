// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011). fastaug/sampling/philox.py is the same function over NumPy arrays;
// a test compares both with each other and with Random123's known answers.
#pragma once
#include "plan.h"

struct Words {
    u32 v[4];
};

FASTAUG_FN Words philox4x32(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
    for (int round = 0; round < 10; ++round) {
        const u64 a = (u64)0xD2511F53u * c0;
        const u64 b = (u64)0xCD9E8D57u * c2;
        c0 = (u32)(b >> 32) ^ c1 ^ k0;
        c1 = (u32)b;
        c2 = (u32)(a >> 32) ^ c3 ^ k1;
        c3 = (u32)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    Words out = {{c0, c1, c2, c3}};
    return out;
}

// The words that a sample's stream holds at one draw. The counter's layout is philox.py's.
FASTAUG_FN Words sample_words(const Row& row, u64 seed, u32 stream, u32 draw) {
    return philox4x32((u32)row.index, row.epoch, draw, (stream << 24) | row.occurrence,
                      (u32)seed, (u32)(seed >> 32));
}
