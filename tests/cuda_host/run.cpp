// Runs every thread of kernel launches on the host, one after another. Where the kernel has barriers, a
// thread is a fiber that gives way at each of them, and the order of the threads turns round there.
//
// As a shared library: cuda_host_launch(). As a program: `run CASES RESULTS` reads launches with
// their memory, each buffer exactly as long as it says, so that AddressSanitizer sees every step
// over its ends, and writes what the output buffer holds afterwards.
#include "shim.h"

#include "batch.cu"
#include "policy.cu"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__  // AddressSanitizer wants to know which stack is in use
#include <sanitizer/common_interface_defs.h>
#define FIBER_START(...) __sanitizer_start_switch_fiber(__VA_ARGS__)
#define FIBER_FINISH(...) __sanitizer_finish_switch_fiber(__VA_ARGS__)
#else
#define FIBER_START(shadow, ...) (void)(shadow)
#define FIBER_FINISH(shadow, ...) (void)(shadow)
#endif

namespace {

struct Kernel {
    std::function<void(void**)> call;  // arguments are pointers to values, as cuLaunchKernel takes them
    bool barriers;
};

template <class... A, size_t... I>
std::function<void(void**)> caller(void (*kernel)(A...), std::index_sequence<I...>) {
    return [kernel](void** arguments) { kernel(*(A*)arguments[I]...); };
}

template <class... A>
Kernel kernel_of(void (*kernel)(A...), bool barriers) {
    return {caller(kernel, std::index_sequence_for<A...>()), barriers};
}

const Kernel* find(const std::string& name) {
#undef KERNEL
#define KERNEL(symbol, ...) {#symbol, kernel_of(symbol, false)},
    static const std::map<std::string, Kernel> kernels = {
        TYPE(float32, Float32) TYPE(float16, Float16) TYPE(bfloat16, BFloat16) TYPE(uint8, UInt8)
        {"policy_count", kernel_of(policy_count, true)},
        {"policy_apply", kernel_of(policy_apply, true)},
        {"policy_apply_slanted", kernel_of(policy_apply_slanted, true)},
        {"policy_mix", kernel_of(policy_mix, false)}};
    const auto found = kernels.find(name);
    return found == kernels.end() ? nullptr : &found->second;
}

void one_thread(const Kernel& kernel, void** arguments, u32 block, u32 number) {
    blockIdx.x = block;
    threadIdx.x = number;
    kernel.call(arguments);
}

// ---- the threads of a block as fibers ----

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* shadow;  // AddressSanitizer's notes of its stack, while it waits
    bool done;
};
enum { STACK = 1 << 16 };

struct Block {
    const Kernel* kernel;
    void** arguments;
    std::vector<Fiber> fibers;
    ucontext_t scheduler;
    const void* stack;  // the scheduler's, as AddressSanitizer knows it
    size_t stack_size;
    Fiber& current() { return fibers[threadIdx.x]; }
} running;

void enter() {  // on a fiber's stack: where it begins, and where it goes on after a barrier
    FIBER_FINISH(running.current().shadow, &running.stack, &running.stack_size);
}

void leave() {  // to the scheduler
    Fiber& fiber = running.current();
    FIBER_START(fiber.done ? nullptr : &fiber.shadow, running.stack, running.stack_size);
    swapcontext(&fiber.context, &running.scheduler);
}

void body() {
    enter();
    running.kernel->call(running.arguments);
    running.current().done = true;
    leave();
}

void resume(u32 number) {
    threadIdx.x = number;
    void* shadow = nullptr;
    FIBER_START(&shadow, running.current().stack.get(), STACK);
    swapcontext(&running.scheduler, &running.current().context);
    FIBER_FINISH(shadow, nullptr, nullptr);
}

void run_block(const Kernel& kernel, u32 threads, void** arguments) {
    running.kernel = &kernel;
    running.arguments = arguments;
    running.fibers.resize(threads);
    for (Fiber& fiber : running.fibers) {
        if (!fiber.stack) fiber.stack.reset(new char[STACK]);
        fiber.shadow = nullptr;
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        makecontext(&fiber.context, body, 0);
    }
    for (bool back = false, left = true; left; back = !back) {
        left = false;
        for (u32 k = 0; k < threads; ++k) {
            const u32 number = back ? threads - 1 - k : k;
            if (running.fibers[number].done) continue;
            resume(number);
            left |= !running.fibers[number].done;
        }
    }
}

void launch(const Kernel& kernel, u32 grid, u32 block, void** arguments) {
    for (u32 b = 0; b < grid; ++b) {
        blockIdx.x = b;
        if (kernel.barriers) {
            run_block(kernel, block, arguments);
        } else {
            for (u32 t = 0; t < block; ++t) one_thread(kernel, arguments, b, t);
        }
    }
}

}  // namespace

void __syncthreads() {
    leave();
    enter();
}

extern "C" int cuda_host_launch(const char* name, u32 grid, u32 block, void** arguments) {
    const Kernel* kernel = find(name);
    if (!kernel) return 1;
    launch(*kernel, grid, block, arguments);
    return 0;
}

extern "C" int cuda_host_task_bytes() { return sizeof(Task); }
extern "C" int cuda_host_tally_bytes() { return sizeof(Tally); }

#ifdef PROGRAM
namespace {

template <class T>
T read(FILE* file) {
    T value;
    if (fread(&value, sizeof value, 1, file) != 1) exit(3);
    return value;
}

struct Buffer {
    std::unique_ptr<u8, void (*)(void*)> memory;
    u8* at;
    u64 length;
};

struct Started {
    const Kernel* kernel;
    u32 grid, block;
    std::vector<u64> values;
    std::vector<void*> arguments;
};

Buffer read_buffer(FILE* file) {
    const u64 length = read<u64>(file), offset = read<u64>(file);  // from a multiple of 256
    void* at = nullptr;
    if (posix_memalign(&at, 256, offset + length)) exit(4);
    Buffer buffer = {{(u8*)at, free}, (u8*)at + offset, length};
    if (fread(buffer.at, 1, length, file) != length) exit(3);
    return buffer;
}

Started read_launch(FILE* file, const std::vector<Buffer>& buffers) {
    Started s;
    std::string name(read<u32>(file), ' ');
    if (fread(&name[0], 1, name.size(), file) != name.size()) exit(3);
    s.kernel = find(name);
    if (!s.kernel) exit(1);
    s.grid = read<u32>(file);
    s.block = read<u32>(file);
    s.values.resize(read<u32>(file));
    for (u64& value : s.values) {
        const u32 is_buffer = read<u32>(file);
        value = read<u64>(file);
        if (is_buffer) value = (u64)buffers[value >> 32].at + (u32)value;
        s.arguments.push_back(&value);
    }
    return s;
}

// How often each byte of the output is written, 255 at most. A byte is written when it changes under
// either of two fillings that differ in every bit. Blocks first, then the threads of a block on the
// bytes that the block writes.
std::vector<u8> writes(Started& s, const Buffer& output) {
    u8* out = output.at;
    const size_t n = output.length;
    std::vector<u8> times(n, 0);
    for (u32 b = 0; b < s.grid; ++b) {
        std::vector<size_t> touched;
        std::vector<u8> changed(n, 0);
        for (const u8 filling : {0x5A, 0xA5}) {
            memset(out, filling, n);
            for (u32 t = 0; t < s.block; ++t) one_thread(*s.kernel, s.arguments.data(), b, t);
            for (size_t i = 0; i < n; ++i) changed[i] |= out[i] != filling;
        }
        for (size_t i = 0; i < n; ++i) {
            if (changed[i]) touched.push_back(i);
        }
        for (u32 t = 0; t < s.block; ++t) {
            std::vector<u8> hit(touched.size(), 0);
            for (const u8 filling : {0x5A, 0xA5}) {
                for (const size_t i : touched) out[i] = filling;
                one_thread(*s.kernel, s.arguments.data(), b, t);
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
        const u32 count = read<u32>(cases), output = read<u32>(cases);
        std::vector<Buffer> buffers;
        for (u32 k = read<u32>(cases); k; --k) buffers.push_back(read_buffer(cases));
        std::vector<Started> launches(read<u32>(cases));
        for (Started& s : launches) s = read_launch(cases, buffers);
        const Buffer& out = buffers[output];
        if (count) {
            const std::vector<u8> times = writes(launches.back(), out);
            fwrite(times.data(), 1, times.size(), results);
        }
        for (Started& s : launches) {
            for (size_t k = 0; k < s.values.size(); ++k) s.arguments[k] = &s.values[k];
            launch(*s.kernel, s.grid, s.block, s.arguments.data());
        }
        fwrite(out.at, 1, out.length, results);
    }
    return fclose(results) ? 5 : 0;
}
#endif
