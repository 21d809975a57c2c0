// CUDA's words on the host: enough for a kernel file to compile with g++, unchanged.
#pragma once
#include <cstdint>

#define __global__
#define __launch_bounds__(...)

struct Dim {
    uint32_t x;
};
static Dim blockIdx, threadIdx;
