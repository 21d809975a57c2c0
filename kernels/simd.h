// Instruction sets, and what the kernels that choose one at run time share. Integers only, so that every
// variant gives the same bytes.
#pragma once

#include "plan.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define FASTAUG_X86 1
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE inline __attribute__((target("avx2"), always_inline))
#endif
#define FASTAUG_INLINE inline __attribute__((always_inline))

typedef int16_t i16;

inline u8 clip(i32 value) { return (u8)(value < 0 ? 0 : value > 255 ? 255 : value); }
