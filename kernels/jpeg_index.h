// The entropy index of a JPEG: for each tile of each MCU row where its bits begin, and from what its DC coefficients
// count. With it decoding starts at the box. It is bound to the file by a checksum over both, and every tile that
// is decoded must end where the next one begins.
//
// A tile takes 2 numbers of 16 bits in gray images, else 4: bytes from the tile before (of the first from the
// beginning of the scan); a bit, 0 to 7, times 8192, plus luma's prediction; two more predictions.
#pragma once

#include "jpeg_lines.h"

namespace jpeg {

enum { PREDICTION = 4095 };  // at most, either way; honest ones stay below 2048

struct Tile {
    i64 byte;  // of the file
    i32 bit;
    i32 dc[3];

    bool operator==(const Tile& o) const {
        return byte == o.byte && bit == o.bit && dc[0] == o.dc[0] && dc[1] == o.dc[1] && dc[2] == o.dc[2];
    }
};

// A checksum of bytes that follow `seed`; mixing as in SplitMix64 (Steele, Lea and Flood 2014), four lanes.
inline u64 checksum(const u8* data, i64 bytes, u64 seed) {
    const u64 factor = 0x9E3779B97F4A7C15ull;
    u64 lanes[4] = {seed, seed + factor, seed ^ factor, (u64)bytes};
    i64 at = 0;
    for (; bytes - at >= 32; at += 32) {
        for (i32 k = 0; k < 4; ++k) {
            u64 word;
            memcpy(&word, data + at + 8 * k, 8);
            lanes[k] = (lanes[k] ^ word) * factor;
            lanes[k] ^= lanes[k] >> 29;
        }
    }
    for (; at < bytes; ++at) lanes[at & 3] = (lanes[at & 3] ^ data[at]) * factor + 1;
    u64 all = 0;
    for (u64 lane : lanes) {
        all = (all ^ lane ^ (lane >> 32)) * 0xBF58476D1CE4E5B9ull;
        all ^= all >> 31;
    }
    return all;
}

// The tiles of an image, and their form in a file.
struct Tiles {
    std::vector<Tile> all;  // MCU row by MCU row
    i32 mcus;               // of a tile
    i32 row;                // tiles of an MCU row

    void begin(const Frame& frame, const Header& header, i32 pixels) {
        const i32 wide = 8 * header.components[0].h;
        mcus = pixels ? pixels / wide : frame.across;
        mcus = mcus < 1 ? 1 : mcus > frame.across ? frame.across : mcus;
        row = (frame.across + mcus - 1) / mcus;
        all.clear();
    }

    // From a file's numbers; false: they are not an image's.
    bool read(const JpegJob& job, const Header& header, i64 bytes, i32 rows) {
        const i32 words = header.count == 1 ? 2 : 4;
        if (job.tile_words != (i64)rows * row * words) return false;
        i64 byte = header.scan;
        for (const u16* at = job.tiles; at < job.tiles + job.tile_words; at += words) {
            byte += at[0];
            Tile tile = {byte, at[1] >> 13, {extended_from(at[1]), 0, 0}};
            for (i32 c = 1; c < header.count; ++c) tile.dc[c] = extended_from(at[1 + c]);
            if (byte >= bytes) return false;
            all.push_back(tile);
        }
        return true;
    }

    // Into a file's numbers; false: they have no room, or an image is too odd for them.
    bool write(JpegJob& job, const Header& header) const {
        const i32 words = header.count == 1 ? 2 : 4;
        if ((i64)all.size() * words > job.tile_words) return false;
        i64 byte = header.scan;
        u16* to = job.tiles;
        for (const Tile& tile : all) {
            if (tile.byte < byte || tile.byte - byte > 65535) return false;
            for (i32 c = 0; c < header.count; ++c) {
                if (tile.dc[c] < -PREDICTION || tile.dc[c] > PREDICTION) return false;
            }
            to[0] = (u16)(tile.byte - byte);
            for (i32 c = 0; c < words - 1; ++c) to[1 + c] = (u16)(tile.dc[c] & 8191);
            to[1] |= (u16)(tile.bit << 13);
            byte = tile.byte;
            to += words;
        }
        job.tile_words = to - job.tiles;
        return true;
    }

private:
    static i32 extended_from(u16 value) { return (i32)((value & 8191) ^ 4096) - 4096; }
};

}  // namespace jpeg
