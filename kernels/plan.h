// One row of a plan: everything that happens to one sample, decided before a pixel moves.
// fastaug/plan/batch_plan.py mirrors this layout as a NumPy dtype; a test compares both, field by field.
#pragma once

#ifdef __CUDACC_RTC__  // NVRTC has no standard headers
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned char u8;
typedef unsigned short u16;
#else
#include <cstdint>
typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
typedef uint8_t u8;
typedef uint16_t u16;
#endif

#ifdef __CUDACC__
#define FASTAUG_FN static __host__ __device__ __forceinline__
#else
#define FASTAUG_FN static inline __attribute__((always_inline))
#endif

enum { FASTAUG_MAX_HOLES = 8, FASTAUG_NOISE_TABLE = 4096, FASTAUG_MAX_CHAINS = 4, FASTAUG_MAX_BLUR = 12 };
enum { NEAREST = 0, BILINEAR = 1, BICUBIC = 2 };  // DALI's numbers
enum { MIX_NONE = 0, MIX_UP = 1, MIX_CUT = 2 };
enum { STREAM_HIDE_CELLS = 0x30, STREAM_NOISE = 0x38 };

struct Hole {             // a rectangle of the output image, [y0, y1) x [x0, x1)
    i32 y0, x0, y1, x1;
    float fill[3];        // in output units: after normalisation
    i32 noise;            // 1: keyed normal noise instead of fill
};

// Operations of a policy. Up to OP_EQUALIZE a pixel's colour depends on itself and on the whole image.
enum {
    OP_IDENTITY = 0, OP_BRIGHTNESS = 1, OP_CONTRAST = 2, OP_POSTERIZE = 3, OP_SOLARIZE = 4,
    OP_SOLARIZE_ADD = 5, OP_INVERT = 6, OP_AUTOCONTRAST = 7, OP_EQUALIZE = 8, OP_COLOR = 9, OP_HUE = 10,
    OP_CUTOUT = 11, OP_SHARPNESS = 12, OP_BLUR = 13, OP_NEAREST = 14, OP_BILINEAR = 15
};

struct Op {               // one operation on one sample; a batch's are [B][most]
    i32 kind;
    i32 chain;            // AugMix: which chain it belongs to
    float value;          // a factor, a threshold, a mask: see policy.h
    float rest;           // 1 - factor
    float fill[3];        // geometry, Cutout: the colour, 0 to 255
    i32 filled;           // 0: nothing but black outside the image, blended as torchvision's fill=None
    i64 map[6];           // geometry, in 2^-32 pixel: x = map[0] + map[1] * y + map[2] * x, y likewise
    i32 y0, x0, y1, x1;   // Cutout's square
    i32 half;             // blur: kernel_size // 2
    float weight[FASTAUG_MAX_BLUR];  // blur: from the middle outwards
};

struct Row {
    i64 index;            // the sample's number in its source
    u32 epoch;            // low 20 bits the epoch, high 12 the rank under a user's own sampler
    u32 occurrence;       // 0 the first time that an epoch visits the sample (16 bits), above it the view (8 bits)
    i32 repeat;           // 1: pads the last batch so that all ranks have equally many
    i32 flip;             // 1: mirrored left to right, when the crop is resampled
    i32 y0, x0, h, w;     // the pixels to decode, in the source image
    i32 interpolation;    // NEAREST, BILINEAR or BICUBIC
    double start_y, start_x;  // where the output's first pixel begins, in decoded pixels
    double step_y, step_x;    // decoded pixels per output pixel
    i32 n_ops;            // operations of the policy, carried out before anything below
    i32 chains;           // AugMix: number of chains; 0: one after another, no mixing
    float chain_weight[1 + FASTAUG_MAX_CHAINS];  // of the image itself, of each chain's result
    i32 mix;              // MIX_NONE, MIX_UP or MIX_CUT
    i32 partner;          // row of this batch that is mixed in; the row itself when there is none
    float lam;            // the own label's weight; for MIX_UP the own pixels' too
    i32 cut_y0, cut_x0, cut_y1, cut_x1;  // MIX_CUT: inside this box the partner shows
    i32 grid_d;           // GridMask: period in pixels; 0: no GridMask
    i32 grid_l;           // width of a stripe
    i32 grid_y, grid_x;   // offset of the stripes, in [0, d)
    i32 grid_mode;        // 0 erases the stripes, 1 the squares between them
    i32 grid_cos, grid_sin;  // rotation in 1/65536
    u32 grid_inv;         // ceil(2^32 / d)
    float grid_fill[3];
    i32 hide;             // HideAndSeek: side of a cell in pixels; 0: no HideAndSeek
    float hide_p;         // probability that a cell is hidden
    float hide_fill[3];
    i32 n_holes;          // used entries of holes; where two overlap, the later wins
    Hole holes[FASTAUG_MAX_HOLES];
};
