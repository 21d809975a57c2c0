// Keyed random words for many samples at once, which plans are drawn from.
#include "philox.h"

// Draws `first` to `first + draws` of n samples: out is [4 * draws, n]. The arrays are the counter's first, second
// and fourth words.
extern "C" void fastaug_words(const u32* index, const u32* epoch, const u32* place, i64 n, u32 first, i64 draws,
                              u64 seed, u32* out) {
    for (i64 d = 0; d < draws; ++d, out += 4 * n) {
        for (i64 k = 0; k < n; ++k) {
            const Words words = philox4x32(index[k], epoch[k], first + (u32)d, place[k], (u32)seed, (u32)(seed >> 32));
            for (i64 j = 0; j < 4; ++j) out[j * n + k] = words.v[j];
        }
    }
}
