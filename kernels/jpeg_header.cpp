// Reads a JPEG's header; what libjpeg would only warn of is refused.
#include "jpeg_header.h"

#include <cstring>

namespace jpeg {

const u8 natural[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                        12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                        35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                        58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

namespace {

enum { SOF0 = 0xC0, SOF1 = 0xC1, DHT = 0xC4, SOI = 0xD8, SOS = 0xDA, DQT = 0xDB, DRI = 0xDD };
enum { APP0 = 0xE0, APP14 = 0xEE, APP15 = 0xEF, COM = 0xFE };

struct Colours {  // what the markers say of them
    bool jfif = false, adobe = false;
    i32 transform = 0;
};

i32 pair(const u8* at) { return at[0] << 8 | at[1]; }

bool read_quantisers(const u8* at, const u8* end, Header& header) {
    while (at < end) {
        const i32 wide = *at >> 4, number = *at & 15, size = 64 * (1 + wide);
        if (wide > 1 || number > 3 || end - at < 1 + size) return false;
        ++at;
        for (i32 k = 0; k < 64; ++k) {
            header.quantisers[number][natural[k]] = (u16)(wide ? pair(at + 2 * k) : at[k]);
        }
        header.has_quantiser[number] = 1;
        at += size;
    }
    return true;
}

// Codes that fit their lengths, as a prefix code needs; libjpeg's rule.
bool possible(const Table& table) {
    i32 code = 0;
    for (i32 bits = 1; bits <= 16; ++bits) {
        code += table.counts[bits - 1];
        if (code > 1 << bits) return false;
        code <<= 1;
    }
    return true;
}

bool read_codes(const u8* at, const u8* end, Header& header) {
    while (at < end) {
        if (end - at < 17) return false;
        const i32 ac = *at >> 4, number = *at & 15;
        if (ac > 1 || number > 3) return false;
        Table& table = (ac ? header.ac : header.dc)[number];
        memset(&table, 0, sizeof table);
        memcpy(table.counts, at + 1, 16);
        for (i32 k = 0; k < 16; ++k) table.size += table.counts[k];
        at += 17;
        if (table.size > 256 || table.size > end - at || !possible(table)) return false;
        memcpy(table.symbols, at, (size_t)table.size);
        at += table.size;
        for (i32 k = 0; !ac && k < table.size; ++k) {
            if (table.symbols[k] > 15) return false;
        }
    }
    return true;
}

JpegFault read_frame(const u8* at, i64 size, Header& header) {
    if (header.count || size < 6) return JPEG_HEADER;
    header.height = pair(at + 1);
    header.width = pair(at + 3);
    const i32 count = at[5];
    if (size != 6 + 3 * count || !header.width) return JPEG_HEADER;
    if (at[0] != 8 || !header.height || (count != 1 && count != 3)) return JPEG_UNSUPPORTED;
    header.count = count;
    for (i32 k = 0; k < count; ++k) {
        Component& c = header.components[k];
        c.id = at[6 + 3 * k];
        c.h = at[7 + 3 * k] >> 4;
        c.v = at[7 + 3 * k] & 15;
        c.quantiser = at[8 + 3 * k];
        if (c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quantiser > 3) return JPEG_HEADER;
    }
    Component* c = header.components;
    if (count == 1) {
        c[0].h = c[0].v = 1;  // one component's blocks follow one another, whatever its factors
    } else if (c[0].h > 2 || c[0].v > 2 || c[1].h * c[1].v * c[2].h * c[2].v != 1) {
        return JPEG_UNSUPPORTED;
    }
    return JPEG_FINE;
}

// Which colours three components are: libjpeg's rules.
bool are_rgb(const Header& header, const Colours& colours) {
    if (header.count != 3 || colours.jfif) return false;
    if (colours.adobe) return colours.transform == 0;
    const Component* c = header.components;
    return c[0].id == 'R' && c[1].id == 'G' && c[2].id == 'B';
}

JpegFault read_scan(const u8* at, i64 size, Header& header) {
    if (!header.count || size < 1 || size != 4 + 2 * at[0]) return JPEG_HEADER;
    if (at[0] != header.count) return JPEG_UNSUPPORTED;  // several scans
    for (i32 k = 0; k < header.count; ++k) {
        Component& c = header.components[k];
        c.dc = at[2 + 2 * k] >> 4;
        c.ac = at[2 + 2 * k] & 15;
        if (at[1 + 2 * k] != c.id || c.dc > 3 || c.ac > 3) return JPEG_UNSUPPORTED;
        if (!header.dc[c.dc].size || !header.ac[c.ac].size || !header.has_quantiser[c.quantiser]) {
            return JPEG_UNSUPPORTED;
        }
    }
    const u8* spectrum = at + 1 + 2 * header.count;
    return spectrum[0] == 0 && spectrum[1] == 63 && spectrum[2] == 0 ? JPEG_FINE : JPEG_UNSUPPORTED;
}

}  // namespace

JpegFault read_header(const u8* data, i64 bytes, Header& header) {
    header.count = header.interval = 0;
    for (i32 k = 0; k < 4; ++k) header.dc[k].size = header.ac[k].size = header.has_quantiser[k] = 0;
    if (bytes < 2 || data[0] != 0xFF || data[1] != SOI) return JPEG_HEADER;
    Colours colours;
    i64 at = 2;
    while (bytes - at >= 4) {
        if (data[at] != 0xFF) return JPEG_HEADER;
        const i32 marker = data[at + 1];
        if (marker == 0xFF) {  // a fill byte
            ++at;
            continue;
        }
        const i64 length = pair(data + at + 2);
        if (length < 2 || length > bytes - at - 2) return JPEG_HEADER;
        const u8* body = data + at + 4;
        const i64 size = length - 2;
        const u8* end = body + size;
        at += 2 + length;
        JpegFault fault = JPEG_FINE;
        if (marker == DQT) {
            if (!read_quantisers(body, end, header)) fault = JPEG_HEADER;
        } else if (marker == DHT) {
            if (!read_codes(body, end, header)) fault = JPEG_HEADER;
        } else if (marker == SOF0 || marker == SOF1) {
            fault = read_frame(body, size, header);
        } else if (marker == DRI) {
            if (size != 2) return JPEG_HEADER;
            header.interval = pair(body);
        } else if (marker == APP0) {
            colours.jfif = colours.jfif || (size >= 14 && !memcmp(body, "JFIF", 5));
        } else if (marker == APP14) {
            if (size >= 12 && !memcmp(body, "Adobe", 5)) {
                colours.adobe = true;
                colours.transform = body[11];
            }
        } else if (marker == SOS) {
            fault = read_scan(body, size, header);
            header.rgb = are_rgb(header, colours);
            const bool thinned = header.components[0].h * header.components[0].v > 1;
            if (fault == JPEG_FINE && header.rgb && thinned) fault = JPEG_UNSUPPORTED;
            header.scan = at;
            return fault;
        } else if (marker != COM && (marker < APP0 || marker > APP15)) {
            return JPEG_UNSUPPORTED;
        }
        if (fault != JPEG_FINE) return fault;
    }
    return JPEG_HEADER;
}

}  // namespace jpeg
