// Runs every thread of kernel launches on the host, one after another.
//
// As a shared library: cuda_host_launch(). As a program: `run CASES RESULTS` reads launches with
// their memory, each buffer exactly as long as it says, so that AddressSanitizer sees every step
// over its ends, and writes what the output buffers hold afterwards.
#include "shim.h"

#include "batch.cu"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(A*)arguments[I]...);
}

// One thread of a launch. Arguments are pointers to values, as cuLaunchKernel takes them.
template <class... A>
void thread(void (*kernel)(A...), void** arguments, u32 block, u32 number) {
    blockIdx.x = block;
    threadIdx.x = number;
    call(kernel, arguments, std::index_sequence_for<A...>());
}

typedef decltype(&batch_float32_nchw) Kernel;

Kernel find(const std::string& name) {
#undef KERNEL
#define KERNEL(symbol, ...) {#symbol, symbol},
    static const std::pair<const char*, Kernel> kernels[] = {
        TYPE(float32, Float32) TYPE(float16, Float16) TYPE(bfloat16, BFloat16) TYPE(uint8, UInt8)};
    for (const auto& kernel : kernels) {
        if (name == kernel.first) return kernel.second;
    }
    return nullptr;
}

}  // namespace

extern "C" int cuda_host_launch(const char* name, u32 grid, u32 block, void** arguments) {
    const Kernel kernel = find(name);
    if (!kernel) return 1;
    for (u32 b = 0; b < grid; ++b) {
        for (u32 t = 0; t < block; ++t) thread(kernel, arguments, b, t);
    }
    return 0;
}

#ifdef PROGRAM
namespace {

template <class T>
T read(FILE* file) {
    T value;
    if (fread(&value, sizeof value, 1, file) != 1) exit(3);
    return value;
}

struct Case {
    std::string name;
    u32 grid, block, count;      // count: also find out how often each byte is written
    i32 output;                  // which argument is the output buffer
    std::vector<std::unique_ptr<u8, void (*)(void*)>> memory;
    std::vector<u64> values;
    std::vector<u64> lengths;    // of buffers; 0 for plain values
    std::vector<void*> arguments;
};

Case read_case(FILE* file) {
    Case c;
    c.name.resize(read<u32>(file));
    if (fread(&c.name[0], 1, c.name.size(), file) != c.name.size()) exit(3);
    c.grid = read<u32>(file);
    c.block = read<u32>(file);
    c.count = read<u32>(file);
    c.output = read<i32>(file);
    const u32 n = read<u32>(file);
    c.values.resize(n);
    for (u32 k = 0; k < n; ++k) {
        c.lengths.push_back(read<u64>(file));
        const u64 offset = read<u64>(file);  // of the buffer from a multiple of 256
        if (c.lengths[k]) {
            void* at = nullptr;
            if (posix_memalign(&at, 256, offset + c.lengths[k])) exit(4);
            c.memory.emplace_back((u8*)at, free);
            if (fread((u8*)at + offset, 1, c.lengths[k], file) != c.lengths[k]) exit(3);
            c.values[k] = (u64)at + offset;
        } else {
            c.values[k] = read<u64>(file);
        }
        c.arguments.push_back(&c.values[k]);
    }
    return c;
}

// How often each byte of the output is written, 255 at most. A byte is written when it changes under
// either of two fillings that differ in every bit. Blocks first, then the threads of a block on the
// bytes that the block writes.
std::vector<u8> writes(Case& c, Kernel kernel) {
    u8* out = (u8*)c.values[c.output];
    const size_t n = c.lengths[c.output];
    std::vector<u8> times(n, 0);
    for (u32 b = 0; b < c.grid; ++b) {
        std::vector<size_t> touched;
        std::vector<u8> changed(n, 0);
        for (const u8 filling : {0x5A, 0xA5}) {
            memset(out, filling, n);
            for (u32 t = 0; t < c.block; ++t) thread(kernel, c.arguments.data(), b, t);
            for (size_t i = 0; i < n; ++i) changed[i] |= out[i] != filling;
        }
        for (size_t i = 0; i < n; ++i) {
            if (changed[i]) touched.push_back(i);
        }
        for (u32 t = 0; t < c.block; ++t) {
            std::vector<u8> hit(touched.size(), 0);
            for (const u8 filling : {0x5A, 0xA5}) {
                for (const size_t i : touched) out[i] = filling;
                thread(kernel, c.arguments.data(), b, t);
                for (size_t k = 0; k < touched.size(); ++k) hit[k] |= out[touched[k]] != filling;
            }
            for (size_t k = 0; k < touched.size(); ++k) {
                if (hit[k] && times[touched[k]] < 255) ++times[touched[k]];
            }
        }
    }
    return times;
}

}  // namespace

int main(int, char** argv) {
    FILE* cases = fopen(argv[1], "rb");
    FILE* results = fopen(argv[2], "wb");
    if (!cases || !results) return 2;
    for (u32 left = read<u32>(cases); left; --left) {
        Case c = read_case(cases);
        const Kernel kernel = find(c.name);
        if (!kernel) return 1;
        if (c.count) {
            const std::vector<u8> times = writes(c, kernel);
            fwrite(times.data(), 1, times.size(), results);
        }
        memset((u8*)c.values[c.output], 0xA5, c.lengths[c.output]);
        cuda_host_launch(c.name.c_str(), c.grid, c.block, c.arguments.data());
        fwrite((u8*)c.values[c.output], 1, c.lengths[c.output], results);
    }
    return fclose(results) ? 5 : 0;
}
#endif
