// A plan as the kernels see it: written by `python -m fastaug.plan.header`, not by hand. What the fields
// mean stands beside the columns of the augmentations (fastaug/ops) and of the plan (plan/batch_plan.py).
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
#define FASTAUG_FN_IN __host__ __device__ __forceinline__  // of a struct
#else
#define FASTAUG_FN static inline __attribute__((always_inline))
#define FASTAUG_FN_IN inline __attribute__((always_inline))
#endif

enum { FASTAUG_NOISE_TABLE = 4096, FASTAUG_MAX_CHAINS = 4, FASTAUG_MAX_BLUR = 12 };
enum { NEAREST = 0, BILINEAR = 1, BICUBIC = 2, LANCZOS = 3, BOX = 4, HAMMING = 5 };
enum { PAD_CONSTANT = 0, PAD_EDGE = 1, PAD_REFLECT = 2, PAD_SYMMETRIC = 3 };
enum { MIX_NONE = 0, MIX_UP = 1, MIX_CUT = 2, MIX_MASK = 3, MIX_RESIZE = 4 };
enum { STREAM_HIDE_CELLS = 0x30, STREAM_NOISE = 0x38 };
enum { OP_IDENTITY = 0, OP_BRIGHTNESS = 1, OP_CONTRAST = 2, OP_POSTERIZE = 3, OP_SOLARIZE = 4,
    OP_SOLARIZEADD = 5, OP_INVERT = 6, OP_AUTOCONTRAST = 7, OP_EQUALIZE = 8, OP_COLOR = 9, OP_HUE = 10,
    OP_CUTOUT = 11, OP_SHARPNESS = 12, OP_BLUR = 13, OP_NEAREST = 14, OP_BILINEAR = 15, OP_PERMUTE = 16 };

struct Hole {
    i32 y0;
    i32 x0;
    i32 y1;
    i32 x1;
    float fill[3];
    i32 noise;
};

struct Op {
    i32 kind;
    i32 chain;
    float value;
    float rest;
    float fill[3];
    i32 filled;
    i64 map[6];
    i32 y0;
    i32 x0;
    i32 y1;
    i32 x1;
    i32 half;
    float weight[12];
    float tilt[2];
};

struct Row {
    i64 index;
    u32 epoch;
    u32 occurrence;
    i32 repeat;
    i32 y0;
    i32 x0;
    i32 h;
    i32 w;
    i32 interpolation;
    double start_y;
    double start_x;
    double step_y;
    double step_x;
    i32 frame[4];
    i32 padding_mode;
    float crop_fill[3];
    i32 warp;
    double warp_map[9];
    i32 flip;
    i32 flip_y;
    i32 first_op;
    i32 n_ops;
    i32 chains;
    float chain_weight[5];
    i32 grid_d;
    i32 grid_l;
    i32 grid_y;
    i32 grid_x;
    i32 grid_mode;
    i32 grid_cos;
    i32 grid_sin;
    u32 grid_inv;
    float grid_fill[3];
    i32 hide;
    float hide_p;
    float hide_fill[3];
    i32 first_hole;
    i32 n_holes;
    i32 mix;
    i32 partner;
    float lam;
    i32 cut_y0;
    i32 cut_x0;
    i32 cut_y1;
    i32 cut_x1;
    i32 mix_mask;
};

#define FASTAUG_ROW_FIELDS(F) \
    F(index) \
    F(epoch) \
    F(occurrence) \
    F(repeat) \
    F(y0) \
    F(x0) \
    F(h) \
    F(w) \
    F(interpolation) \
    F(start_y) \
    F(start_x) \
    F(step_y) \
    F(step_x) \
    F(frame) \
    F(padding_mode) \
    F(crop_fill) \
    F(warp) \
    F(warp_map) \
    F(flip) \
    F(flip_y) \
    F(first_op) \
    F(n_ops) \
    F(chains) \
    F(chain_weight) \
    F(grid_d) \
    F(grid_l) \
    F(grid_y) \
    F(grid_x) \
    F(grid_mode) \
    F(grid_cos) \
    F(grid_sin) \
    F(grid_inv) \
    F(grid_fill) \
    F(hide) \
    F(hide_p) \
    F(hide_fill) \
    F(first_hole) \
    F(n_holes) \
    F(mix) \
    F(partner) \
    F(lam) \
    F(cut_y0) \
    F(cut_x0) \
    F(cut_y1) \
    F(cut_x1) \
    F(mix_mask)
