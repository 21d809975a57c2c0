// CUDA's words on the host: enough for a kernel file to compile with g++, unchanged.
#pragma once
#include <cstdint>

#define __global__
#define __shared__ static  // blocks run one after another
#define __launch_bounds__(...)

struct Dim {
    uint32_t x;
};
static Dim blockIdx, threadIdx;

void __syncthreads();
static inline void __threadfence() {}  // blocks and threads run one after another

template <class T>
static inline T atomicAdd(T* at, T value) {
    const T before = *at;
    *at += value;
    return before;
}
