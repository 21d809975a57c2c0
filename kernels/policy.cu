// Policies on the GPU, on uint8 HWC images. cuda.py cuts a batch's policies into steps, in each of which
// an image goes through one operation. A launch works through a list of tasks, each an image with its
// operation; `blocks` blocks share an image, and a block never leaves it, so that the choice of operation
// is the block's, not the pixel's. What an operation does to a pixel stands in policy.h.
//
// A step is policy_count over those images whose operation depends on all of their pixels, where there
// are any, and policy_apply over all. policy_mix ends AugMix.
#include "pixels4.h"
#include "policy.h"

enum { POLICY_THREADS = 256, POLICY_GROUPS = 4 };  // of a block; groups of PIXELS of a thread; as in cuda.py
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 750
enum { POLICY_BLOCKS = 4 };  // that a multiprocessor shall hold: a Turing has room for 1024 threads
#else
enum { POLICY_BLOCKS = 5 };
#endif

struct Task {              // cuda.py's TASK
    i32 row;               // of the batch
    i32 image;             // the row's, or with AugMix a chain's: row * chains + chain
    i32 op;                // among the batch's operations; -1: none, the image is copied
    i32 source, target;    // of Buffers
};

struct Buffers {           // the crops, [rows], and two with working images, [rows][chains]
    u8 *crops, *one, *two;
};

// A task's image in one of them, 0 to 2.
FASTAUG_FN u8* image_in(const Buffers& buffers, i32 number, const Task& task, i32 size) {
    if (number == 0) return buffers.crops + (i64)task.row * size * 3;
    return (number == 1 ? buffers.one : buffers.two) + (i64)task.image * size * 3;
}

struct Tally {             // of a working image: what policy_count finds. Zero when a step begins, but for
    u32 histogram[3][256];  // the tables; cuda.py's TALLY_BYTES
    unsigned long long gray;  // sum of the image in gray
    u32 arrived;           // blocks that have counted
    u8 tables[3][256];     // what each value of a colour becomes
};

// Calls work(first, n) for this thread's groups: the number of the first pixel, how many the image still has.
template <class Work>
FASTAUG_FN void each_group(i32 size, i32 blocks, const Work& work) {
    const i32 begin = (i32)(blockIdx.x % (u32)blocks) * POLICY_GROUPS * POLICY_THREADS;
#pragma unroll 1
    for (i32 k = 0; k < POLICY_GROUPS; ++k) {
        const i32 first = (begin + k * POLICY_THREADS + (i32)threadIdx.x) * PIXELS;
        if (first >= size) break;
        work(first, size - first);
    }
}

// ---- policy_count ----

// Is this the last of an image's blocks to get here? It then sees what the others wrote before.
FASTAUG_FN bool last_to_arrive(u32* arrived, i32 blocks) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(arrived, 1u) == (u32)blocks - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// Turns counts into how many values are no larger, 256 threads together: Hillis and Steele's sums.
FASTAUG_FN void add_up(u32 counts[3][256]) {
    const i32 v = (i32)threadIdx.x;
#pragma unroll 1
    for (i32 reach = 1; reach < 256; reach *= 2) {
        u32 more[3];
        for (i32 c = 0; c < 3; ++c) more[c] = v >= reach ? counts[c][v - reach] : 0;
        __syncthreads();
        for (i32 c = 0; c < 3; ++c) counts[c][v] += more[c];
        __syncthreads();
    }
}

// The tables of an image that is counted, a value of each colour a thread. Leaves the tally zero.
FASTAUG_FN void make_tables(const Op& op, Tally& tally, i32 size, u32 counts[3][256]) {
    __shared__ Channel channel[3];
    const i32 v = (i32)threadIdx.x;
    const float mean = (float)(i64)tally.gray / (float)size;
    u32 own[3];
    for (i32 c = 0; c < 3; ++c) {
        own[c] = counts[c][v] = tally.histogram[c][v];
        tally.histogram[c][v] = 0;
    }
    __syncthreads();
    add_up(counts);
    for (i32 c = 0; c < 3; ++c) {
        if (own[c] && counts[c][v] == own[c]) channel[c].low = v;
        if (own[c] && counts[c][v] == (u32)size) {
            channel[c].high = v;
            channel[c].step = ((u32)size - own[c]) / 255;
        }
    }
    __syncthreads();
    for (i32 c = 0; c < 3; ++c) tally.tables[c][v] = point(op, channel[c], counts[c][v] - own[c], mean, v);
    if (v == 0) {
        tally.gray = 0;
        tally.arrived = 0;
    }
}

extern "C" __global__ void __launch_bounds__(POLICY_THREADS)
policy_count(u8* crops, u8* one, u8* two, const Task* __restrict__ tasks, const Op* __restrict__ ops,
             Tally* tallies, i32 size, i32 blocks) {
    __shared__ u32 counts[3][256];
    __shared__ u32 gray;  // a block's share fits
    const Task task = tasks[blockIdx.x / (u32)blocks];
    const Op& op = ops[task.op];
    Tally& tally = tallies[task.image];
    const i32 v = (i32)threadIdx.x;
    for (i32 c = 0; c < 3; ++c) counts[c][v] = 0;
    if (v == 0) gray = 0;
    __syncthreads();
    const u8* pixels = image_in({crops, one, two}, task.source, task, size);
    const bool colours = needs_histogram(op.kind);
    u32 sum = 0;
    each_group(size, blocks, [&](i32 first, i32 n) {
        const Raw raw = load(pixels + 3 * (i64)first, n);
        for (i32 k = 0; k < PIXELS; ++k) {
            if (k >= n) break;
            const u8 r = byte_of(raw, 3 * k), g = byte_of(raw, 3 * k + 1), b = byte_of(raw, 3 * k + 2);
            if (colours) {
                atomicAdd(&counts[0][r], 1u);
                atomicAdd(&counts[1][g], 1u);
                atomicAdd(&counts[2][b], 1u);
            } else {
                sum += (u32)gray_of(r, g, b);
            }
        }
    });
    if (!colours) atomicAdd(&gray, sum);
    __syncthreads();
    for (i32 c = 0; c < 3; ++c) {
        if (counts[c][v]) atomicAdd(&tally.histogram[c][v], counts[c][v]);
    }
    if (v == 0 && gray) atomicAdd(&tally.gray, (unsigned long long)gray);
    if (last_to_arrive(&tally.arrived, blocks)) make_tables(op, tally, size, counts);
}

// ---- policy_apply ----

struct Image {             // HWC
    const u8* pixels;
    i32 height, width;
};

FASTAUG_FN u8 get(const Image& image, i32 y, i32 x, i32 c) {
    return image.pixels[3 * ((i64)y * image.width + x) + c];
}

FASTAUG_FN bool is_table(i32 kind) { return kind > OP_IDENTITY && kind <= OP_EQUALIZE; }

FASTAUG_FN Raw looked_up(const u8 tables[3][256], const Raw& raw) {
    Raw out = {{0, 0, 0}};
    for (i32 k = 0; k < 3 * PIXELS; ++k) {
        out.word[k / 4] |= (u32)tables[k % 3][byte_of(raw, k)] << (8 * (k % 4));
    }
    return out;
}

// A pixel in one word, its colour c being value(c).
template <class Value>
FASTAUG_FN u32 colours(const Value& value) {
    u32 out = 0;
    for (i32 c = 0; c < 3; ++c) out |= (u32)value(c) << (8 * c);
    return out;
}

// Pixel (y, x) after an operation above OP_EQUALIZE. own: before it, in its low 24 bits; what looks
// elsewhere does not need it.
template <bool SLANTED>
FASTAUG_FN u32 pixel_of(const Op& op, const Image& image, i32 y, i32 x, u32 own) {
    const i32 height = image.height, width = image.width;
    const auto mine = [&](i32 c) { return (u8)(own >> (8 * c)); };
    switch (op.kind) {
        case OP_COLOR: {
            const float gray = gray_of(mine(0), mine(1), mine(2));
            return colours([&](i32 c) { return blended(op, mine(c), gray); });
        }
        case OP_HUE: {
            u8 pixel[3] = {mine(0), mine(1), mine(2)};
            hue_turned(op, pixel);
            return (u32)pixel[0] | (u32)pixel[1] << 8 | (u32)pixel[2] << 16;
        }
        case OP_PERMUTE: return colours([&](i32 c) { return mine(permuted(op, c)); });
        case OP_CUTOUT:
            return in_square(op, y, x) ? colours([&](i32 c) { return to_byte(op.fill[c]); }) : own;
        case OP_SHARPNESS:
            if (y < 1 || x < 1 || y > height - 2 || x > width - 2) return own;
            return colours([&](i32 c) {
                u32 sum = 0;
                for (i32 k = 0; k < 9; ++k) sum += get(image, y + k / 3 - 1, x + k % 3 - 1, c);
                return sharpened(op, sum, mine(c));
            });
        case OP_BLUR:
            return colours([&](i32 c) {
                return to_byte(nearest_even(blurred(op, [&](i32 j) {
                    const i32 from = reflected(y + j, height);
                    return blurred(op, [&](i32 k) {
                        return (float)get(image, from, reflected(x + k, width), c);
                    });
                })));
            });
        case OP_NEAREST: {
            const Source s = source_of<SLANTED>(op, y, x);
            const i32 from_y = rounded(s.y), from_x = rounded(s.x);
            const bool within = inside(from_y, from_x, height, width);
            return colours([&](i32 c) { return within ? get(image, from_y, from_x, c) : outside(op, c); });
        }
        default: {
            const Source s = source_of<SLANTED>(op, y, x);
            const auto at = [&](i32 j, i32 k, i32 c) { return get(image, j, k, c); };
            return colours([&](i32 c) { return between(op, s, height, width, c, at); });
        }
    }
}

// An image's source and target are the same only where its operation does not look around.
template <bool SLANTED>
FASTAUG_FN void apply(u8* crops, u8* one, u8* two, const Task* __restrict__ tasks, const Op* __restrict__ ops,
                      const Tally* __restrict__ tallies, i32 height, i32 width, i32 blocks, u8 tables[3][256]) {
    const i32 size = height * width;
    const Task task = tasks[blockIdx.x / (u32)blocks];
    const Op& op = ops[task.op < 0 ? 0 : task.op];
    const i32 kind = task.op < 0 ? OP_IDENTITY : op.kind;
    if (is_table(kind)) {
        const i32 v = (i32)threadIdx.x;
        const bool counted = is_counted(kind);
        for (i32 c = 0; c < 3; ++c) {
            tables[c][v] = counted ? tallies[task.image].tables[c][v] : point(op, Channel{}, 0, 0.0f, v);
        }
        __syncthreads();
    }
    const Buffers buffers = {crops, one, two};
    const Image image = {image_in(buffers, task.source, task, size), height, width};
    u8* target = image_in(buffers, task.target, task, size);
    each_group(size, blocks, [&](i32 first, i32 n) {
        Raw raw = {{0, 0, 0}};
        if (kind <= OP_SHARPNESS || kind == OP_PERMUTE) raw = load(image.pixels + 3 * (i64)first, n);
        if (is_table(kind)) {
            raw = looked_up(tables, raw);
        } else if (kind != OP_IDENTITY) {
            i32 y = first / width, x = first % width;
#pragma unroll 1
            for (i32 k = 0; k < PIXELS; ++k) {
                advance(raw, k < n ? pixel_of<SLANTED>(op, image, y, x, raw.word[0]) : 0);
                if (++x == width) {
                    x = 0;
                    ++y;
                }
            }
        }
        store(target + 3 * (i64)first, n, raw);
    });
}

extern "C" __global__ void __launch_bounds__(POLICY_THREADS, POLICY_BLOCKS)
policy_apply(u8* crops, u8* one, u8* two, const Task* __restrict__ tasks, const Op* __restrict__ ops,
             const Tally* __restrict__ tallies, i32 height, i32 width, i32 blocks) {
    __shared__ u8 tables[3][256];
    apply<false>(crops, one, two, tasks, ops, tallies, height, width, blocks, tables);
}

// Where an operation is slanted, which takes more registers.
extern "C" __global__ void __launch_bounds__(POLICY_THREADS, 4)
policy_apply_slanted(u8* crops, u8* one, u8* two, const Task* __restrict__ tasks, const Op* __restrict__ ops,
                     const Tally* __restrict__ tallies, i32 height, i32 width, i32 blocks) {
    __shared__ u8 tables[3][256];
    apply<true>(crops, one, two, tasks, ops, tallies, height, width, blocks, tables);
}

// ---- policy_mix: AugMix's sum of the image itself and its chains' results, into the crops ----

FASTAUG_FN Raw bytes_of(const float* values) {
    Raw raw = {{0, 0, 0}};
    for (i32 k = 0; k < 3 * PIXELS; ++k) raw.word[k / 4] |= (u32)to_byte(values[k]) << (8 * (k % 4));
    return raw;
}

extern "C" __global__ void __launch_bounds__(POLICY_THREADS)
policy_mix(u8* __restrict__ crops, const u8* __restrict__ images, const Row* __restrict__ rows, i32 chains,
           i32 size, i32 blocks) {
    const i64 sample = blockIdx.x / (u32)blocks;
    const Row& row = rows[sample];
    if (!row.n_ops) return;
    each_group(size, blocks, [&](i32 first, i32 n) {
        u8* own = crops + (sample * size + first) * 3;
        const auto result = [&](i32 chain) {
            return load(images + ((sample * chains + chain) * size + first) * 3, n);
        };
        if (!row.chains) return store(own, n, result(0));
        Raw raw = load(own, n);
        float sum[3 * PIXELS];
        for (i32 k = 0; k < 3 * PIXELS; ++k) sum[k] = weighed(0.0f, row.chain_weight[0], byte_of(raw, k));
#pragma unroll 1
        for (i32 chain = 0; chain < row.chains; ++chain) {
            raw = result(chain);
            const float weight = row.chain_weight[1 + chain];
            for (i32 k = 0; k < 3 * PIXELS; ++k) sum[k] = weighed(sum[k], weight, byte_of(raw, k));
        }
        store(own, n, bytes_of(sum));
    });
}
