// The segments of a JPEG up to its entropy-coded data (ITU T.81, B.2).
#pragma once

#include "jpeg.h"

namespace jpeg {

struct Table {            // of Huffman codes
    u8 counts[16];        // codes of 1 to 16 bits
    u8 symbols[256];
    i32 size;             // symbols; 0: the file has no such table
};

struct Component {
    i32 id, h, v;         // sampling factors
    i32 quantiser, dc, ac;
};

struct Header {
    i32 height, width;    // as stored
    i32 count;            // components: 1 or 3
    i32 rgb;              // 1: the three are red, green, blue
    Component components[3];
    i32 interval;         // MCUs between restart markers; 0: there are none
    i64 scan;             // where entropy-coded data begin
    u16 quantisers[4][64];  // natural order
    u8 has_quantiser[4];
    Table dc[4], ac[4];
};

// Natural place of the k-th coefficient in zigzag order.
extern const u8 natural[64];

// Reads it; any bytes are accepted. JPEG_FINE, JPEG_HEADER or JPEG_UNSUPPORTED.
JpegFault read_header(const u8* data, i64 bytes, Header& header);

}  // namespace jpeg
