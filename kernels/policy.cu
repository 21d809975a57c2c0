// Policies on the GPU, on uint8 HWC images. An operation is two launches over the batch: policy_count
// makes the histograms of the images whose operation wants one, a block an image; policy_apply carries
// the operation out, a block never leaving its image, so that the choice of operation is made once a
// block, not once a pixel. What an operation does to a pixel stands in policy.h.
#include "policy.h"

enum { POLICY_THREADS = 256, POLICY_PIXELS = 8 };  // of a block; pixels of a thread in policy_apply

struct Counts {            // of one image
    u32 histogram[3][256];
    u64 gray;              // sum of the image in gray
};

struct Image {             // HWC
    const u8* pixels;
    i32 width;
};

FASTAUG_FN u8 get(const Image& image, i32 y, i32 x, i32 c) {
    return image.pixels[3 * ((i64)y * image.width + x) + c];
}

// Calls work(at) for this thread's share of an image's `size` pixels, when `blocks` blocks do it together.
template <class Work>
FASTAUG_FN void each_pixel(i32 size, i32 blocks, const Work& work) {
    const i32 begin = (i32)(blockIdx.x % (u32)blocks) * POLICY_THREADS * POLICY_PIXELS;
    for (i32 k = 0; k < POLICY_PIXELS; ++k) {
        const i32 at = begin + k * POLICY_THREADS + (i32)threadIdx.x;
        if (at >= size) break;
        work(at);
    }
}

// The operation number `slot` of chain `chain` of a row; OP_IDENTITY where it has none.
FASTAUG_FN const Op* find_op(const Row& row, const Op* ops, i32 chain, i32 slot) {
    for (i32 k = 0; k < row.n_ops; ++k) {
        if (ops[k].chain == chain && slot-- == 0) return ops + k;
    }
    return nullptr;
}

extern "C" __global__ void __launch_bounds__(POLICY_THREADS)
policy_count(const u8* images, const Row* rows, const Op* ops, Counts* counts, i32 most, i32 chain, i32 slot,
             i32 size) {
    __shared__ u32 histogram[3][256];
    __shared__ u64 gray;
    const i64 sample = blockIdx.x;
    const Op* op = find_op(rows[sample], ops + sample * most, chain, slot);
    if (!op || (op->kind != OP_CONTRAST && !needs_histogram(op->kind))) return;  // the whole block together
    for (i32 k = threadIdx.x; k < 3 * 256; k += POLICY_THREADS) histogram[k / 256][k % 256] = 0;
    if (threadIdx.x == 0) gray = 0;
    __syncthreads();
    const u8* image = images + sample * size * 3;
    u64 sum = 0;
    for (i32 k = threadIdx.x; k < size; k += POLICY_THREADS) {
        const u8 r = image[3 * (i64)k], g = image[3 * (i64)k + 1], b = image[3 * (i64)k + 2];
        if (op->kind == OP_CONTRAST) {
            sum += (u64)gray_of(r, g, b);
        } else {
            atomicAdd(&histogram[0][r], 1u);
            atomicAdd(&histogram[1][g], 1u);
            atomicAdd(&histogram[2][b], 1u);
        }
    }
    if (op->kind == OP_CONTRAST) atomicAdd((unsigned long long*)&gray, (unsigned long long)sum);
    __syncthreads();
    for (i32 k = threadIdx.x; k < 3 * 256; k += POLICY_THREADS) {
        counts[sample].histogram[k / 256][k % 256] = histogram[k / 256][k % 256];
    }
    if (threadIdx.x == 0) counts[sample].gray = gray;
}

// The tables of an operation up to OP_EQUALIZE, a value of each colour a thread.
FASTAUG_FN void make_tables(const Op& op, const Counts& counts, i32 size, u8 tables[3][256], i32 v) {
    const float mean = op.kind == OP_CONTRAST ? (float)(i64)counts.gray / (float)size : 0.0f;
    for (i32 c = 0; c < 3; ++c) {
        Channel channel = {0, 0, 0};
        u32 below = 0;
        if (needs_histogram(op.kind)) {
            const u32* histogram = counts.histogram[c];
            channel.low = 256;
            for (i32 k = 0; k < 256; ++k) {
                if (!histogram[k]) continue;
                channel.low = k < channel.low ? k : channel.low;
                channel.high = k;
                if (k < v) below += histogram[k];
            }
            channel.step = ((u32)size - histogram[channel.high]) / 255;
        }
        tables[c][v] = point(op, channel, below, mean, v);
    }
}

FASTAUG_FN void pixel_of(const Op& op, const Image& image, const u8 tables[3][256], i32 height, i32 width,
                         i32 y, i32 x, u8 out[3]) {
    for (i32 c = 0; c < 3; ++c) out[c] = get(image, y, x, c);
    if (op.kind <= OP_EQUALIZE) {
        for (i32 c = 0; c < 3; ++c) out[c] = tables[c][out[c]];
        return;
    }
    switch (op.kind) {
        case OP_COLOR: {
            const float gray = gray_of(out[0], out[1], out[2]);
            for (i32 c = 0; c < 3; ++c) out[c] = blended(op, out[c], gray);
            return;
        }
        case OP_HUE: return hue_turned(op, out);
        case OP_CUTOUT:
            for (i32 c = 0; c < 3; ++c) out[c] = in_square(op, y, x) ? to_byte(op.fill[c]) : out[c];
            return;
        case OP_SHARPNESS:
            if (y < 1 || x < 1 || y > height - 2 || x > width - 2) return;
            for (i32 c = 0; c < 3; ++c) {
                u32 sum = 0;
                for (i32 k = 0; k < 9; ++k) sum += get(image, y + k / 3 - 1, x + k % 3 - 1, c);
                out[c] = sharpened(op, sum, out[c]);
            }
            return;
        case OP_BLUR:
            for (i32 c = 0; c < 3; ++c) {
                const float value = blurred(op, [&](i32 j) {
                    const i32 from = reflected(y + j, height);
                    return blurred(op, [&](i32 k) {
                        return (float)get(image, from, reflected(x + k, width), c);
                    });
                });
                out[c] = to_byte(nearest_even(value));
            }
            return;
        case OP_NEAREST: {
            const Source s = source_of(op, y, x);
            const i32 from_y = rounded(s.y), from_x = rounded(s.x);
            const bool within = inside(from_y, from_x, height, width);
            for (i32 c = 0; c < 3; ++c) {
                out[c] = within ? get(image, from_y, from_x, c) : outside(op, c);
            }
            return;
        }
        default: {
            const Source s = source_of(op, y, x);
            for (i32 c = 0; c < 3; ++c) {
                out[c] = between(op, s, height, width, c,
                                 [&](i32 j, i32 k, i32 colour) { return get(image, j, k, colour); });
            }
        }
    }
}

// Images with no such operation are copied.
extern "C" __global__ void __launch_bounds__(POLICY_THREADS, 4)
policy_apply(const u8* images, u8* out, const Row* rows, const Op* ops, const Counts* counts, i32 most,
             i32 chain, i32 slot, i32 height, i32 width, i32 blocks) {
    __shared__ u8 tables[3][256];
    const i32 size = height * width;
    const i64 sample = blockIdx.x / (u32)blocks;
    const Op* op = find_op(rows[sample], ops + sample * most, chain, slot);
    if (op && op->kind <= OP_EQUALIZE) {
        make_tables(*op, counts[sample], size, tables, (i32)threadIdx.x);
    }
    __syncthreads();
    const Image image = {images + sample * size * 3, width};
    each_pixel(size, blocks, [&](i32 at) {
        u8 pixel[3];
        if (op) {
            pixel_of(*op, image, tables, height, width, at / width, at % width, pixel);
        } else {
            for (i32 c = 0; c < 3; ++c) pixel[c] = image.pixels[3 * (i64)at + c];
        }
        for (i32 c = 0; c < 3; ++c) out[(sample * size + at) * 3 + c] = pixel[c];
    });
}

// AugMix's sum: adds a chain's images with their weights; `first` begins it.
extern "C" __global__ void __launch_bounds__(POLICY_THREADS)
policy_weigh(const u8* images, float* sum, const Row* rows, i32 place, i32 first, i32 size, i32 blocks) {
    const i64 sample = blockIdx.x / (u32)blocks;
    const float weight = rows[sample].chain_weight[place];
    each_pixel(size, blocks, [&](i32 at) {
        for (i32 c = 0; c < 3; ++c) {
            const i64 i = (sample * size + at) * 3 + c;
            sum[i] = weighed(first ? 0.0f : sum[i], weight, images[i]);
        }
    });
}

extern "C" __global__ void __launch_bounds__(POLICY_THREADS)
policy_end(const float* sum, u8* images, i32 size, i32 blocks) {
    const i64 sample = blockIdx.x / (u32)blocks;
    each_pixel(size, blocks, [&](i32 at) {
        for (i32 c = 0; c < 3; ++c) {
            const i64 i = (sample * size + at) * 3 + c;
            images[i] = to_byte(sum[i]);
        }
    });
}
