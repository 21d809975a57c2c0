// What the JPEG box decoder is asked for, and what it answers.
//
// It decodes a box of a JPEG to the bytes that libjpeg-turbo's full decode has there (ISLOW, fancy upsampling):
// Huffman-coded sequential JPEGs of 8 bits in one scan, gray, YCbCr 4:4:4, 4:2:2, 4:2:0 or 4:4:0, or RGB. What
// it does not know for certain it refuses, and says why.
#pragma once

#include "scale.h"

enum JpegFault : i32 {
    JPEG_FINE,
    // Left to other decoders: no word on whether the file is good.
    JPEG_UNREADABLE,
    JPEG_MEMORY,
    JPEG_HEADER,
    JPEG_UNSUPPORTED,
    JPEG_SIZE,      // the box lies outside
    // Damage in what was read.
    JPEG_CODE,
    JPEG_BLOCK,
    JPEG_RANGE,
    JPEG_MISSING,
    JPEG_EXTRA,
    JPEG_MARKER
};

// One image; fastaug/decode/jpeg.py mirrors this layout as a NumPy dtype, JOB.
struct JpegJob {
    const u8* data;    // the encoded image; null: in the file at path
    i64 bytes;
    const char* path;
    Scaling* views;    // what is shown of the box; their source and stride are not looked at
    i64 view_count;
    u8* pixels;        // where the box goes, [h, w, 3]; null: nowhere
    i32 y0, x0, h, w;  // the box, after orientation
    i32 orientation;   // EXIF's, 1 to 8
    i32 whole;         // 1: what follows the box is looked at, too
    i32 scaled;        // 1: decoded at 1/2, 1/4 or 1/8 of the size, where no view shows more; without pixels
    u16* tiles;        // of an entropy index: where tiles begin in the data (jpeg_index.h); null: not known
    i64 tile_words;    // how many numbers that are; when an index is made, room for so many, then what was used
    u64 checksum;      // of the data and the tiles
    i32 tile;          // pixels from one tile to the next; 0: a tile for each MCU row
    i32 misfit;        // the answer: 1: the tiles were not of these data, which were decoded from their start
    i32 fault;         // the answer: a JpegFault; fastaug/decode/jpeg.py says it in words
};
