// The JPEG box decoder: a job's file, its box, its views.
//
// MCU rows are decoded into planes that hold two of them; each line is brought to RGB as soon as its chroma
// neighbours are there, and goes to the views' scalers, four lines at a time. So the box never visits main memory.
#include "jpeg.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <new>
#include <vector>

#include "jpeg_index.h"

namespace jpeg {

const Places places;

namespace {

struct Kernels {
    Mcus kept, skipped;
    Idct idct;
    LineKernels lines;
};

i32 best = -1;

i32 choose_kernels(i32 wanted) {
    i32 possible = 0;
#ifdef FASTAUG_X86
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) possible = 1;
#endif
    return best = wanted < possible ? wanted : possible;
}

const Kernels& best_kernels() {
    static const Kernels portable = {kept_portable, skipped_portable, idct_portable, portable_lines};
#ifdef FASTAUG_X86
    static const Kernels avx2 = {kept_avx2, skipped_avx2, idct_avx2, avx2_lines};
    if (best < 0) choose_kernels(1);
    if (best == 1) return avx2;
#endif
    return portable;
}

// The whole file into `to`; its size, or -1.
i64 read_file(const char* path, std::vector<u8>& to) {
    const int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // of a pipe, opening would wait
    if (file < 0) return -1;
    struct stat found;
    i64 size = -1, done = 0;
    if (!fstat(file, &found) && S_ISREG(found.st_mode)) {
        size = found.st_size;
        if ((i64)to.size() < size) to.resize((size_t)size);
        while (done < size) {
            const ssize_t count = read(file, to.data() + done, (size_t)(size - done));
            if (count <= 0) break;
            done += count;
        }
        size = done;
    }
    close(file);
    return size;
}

class Decoder {
public:
    // Decodes a job; its answer.
    JpegFault run(JpegJob& asked) {
        JpegFault fault = open_job(asked);
        if (fault != JPEG_FINE) return fault;
        JpegJob job = asked;
        const bool turned = exchanged(job.orientation);
        const i32 height = turned ? header.width : header.height, width = turned ? header.height : header.width;
        if (job.y0 < 0 || job.x0 < 0 || job.h < 1 || job.w < 1 || job.h > height - job.y0 ||
            job.w > width - job.x0) {
            return JPEG_SIZE;
        }
        const i32 times = reduction(job);
        frame = Frame(header, times);
        box = stored_box(job, header.height, header.width);
        if (times > 1) reduce(job, box, views, times);
        make_tables();
        indexed = job.tiles && !job.whole;
        if (indexed) {
            tiles.begin(frame, header, job.tile);
            indexed = checksum_of(job) == job.checksum && tiles.read(job, header, bytes, frame.down);
            asked.misfit = !indexed;
        }
        fault = rows(job);
        if (asked.misfit |= fault != JPEG_FINE && indexed) {  // once more, without them
            indexed = false;
            fault = rows(job);
        }
        if (fault == JPEG_FINE && job.whole) fault = rest();
        if (fault == JPEG_FINE) out.end();
        return fault;
    }

    // Makes a job's tiles, in the room that it has; its answer.
    JpegFault index(JpegJob& job) {
        JpegFault fault = open_job(job);
        if (fault != JPEG_FINE) return fault;
        frame = Frame(header, 1);
        make_tables();
        tiles.begin(frame, header, job.tile);
        fault = begin_scan();
        for (i32 r = 0; fault == JPEG_FINE && r < frame.down; ++r) {
            for (i32 m = 0; fault == JPEG_FINE && m < frame.across; m += tiles.mcus) {
                if (!left) fault = begin_segment(segment + 1);
                if (fault != JPEG_FINE) break;
                tiles.all.push_back(here());
                fault = stretch<false>(frame.across - m < tiles.mcus ? frame.across - m : tiles.mcus);
            }
        }
        if (fault == JPEG_FINE) fault = rest();
        if (fault != JPEG_FINE) return fault;
        if (!tiles.write(job, header)) return JPEG_UNSUPPORTED;
        job.checksum = checksum_of(job);
        return JPEG_FINE;
    }

private:
    const u8* data;
    i64 bytes;
    Header header;
    Frame frame;
    Box box;
    std::vector<u8> file;
    Entropy entropy;
    DcCodes dc[4];
    AcCodes ac[4];
    Target targets[3];
    Tiles tiles;
    bool indexed;  // whether tiles are used
    Planes planes;
    Output out;
    std::vector<Scaling> views;  // of a smaller image
    Bits bits;
    i64 segment, left, at;  // the segment's number, its MCUs from here on, the next MCU's number

    JpegFault open_job(const JpegJob& job) {
        data = job.data;
        bytes = job.bytes;
        if (!data) {
            bytes = read_file(job.path, file);
            if (bytes < 0) return JPEG_UNREADABLE;
            data = file.data();
        }
        return read_header(data, bytes, header);
    }

    u64 checksum_of(const JpegJob& job) const {
        return checksum((const u8*)job.tiles, 2 * job.tile_words, checksum(data, bytes, (u64)job.tile));
    }

    void make_tables() {
        for (i32 c = 0; c < header.count; ++c) {
            const Component& component = header.components[c];
            make_deltas(dc[component.dc], header.dc[component.dc]);
            make_pairs(ac[component.ac], header.ac[component.ac]);
            targets[c].quantiser = header.quantisers[component.quantiser];
            targets[c].dc = &dc[component.dc];
            targets[c].ac = &ac[component.ac];
            targets[c].h = component.h;
            targets[c].v = component.v;
            targets[c].size = frame.size[c];
        }
    }

    JpegFault begin_scan() {
        unstuff(data, header.scan, bytes, header.interval, 0, entropy);
        return begin_segment(0);
    }

    JpegFault begin_segment(i64 number) {
        if (number - entropy.first >= (i64)entropy.segments.size()) {
            return entropy.marker ? JPEG_MARKER : JPEG_MISSING;
        }
        segment = number;
        bits = bits_at(entropy.bytes.data() + current().begin, 0);
        begin_mcus(number * header.interval);
        for (i32 c = 0; c < header.count; ++c) targets[c].prediction = 0;
        return JPEG_FINE;
    }

    void begin_mcus(i64 number) {
        at = number;
        left = header.interval ? header.interval - at % header.interval : frame.mcus();
        if (left > frame.mcus() - at) left = frame.mcus() - at;
    }

    const Segment& current() const { return entropy.segments[(size_t)(segment - entropy.first)]; }

    // What a segment still holds behind the last bit read: less than 0, when more was read than there is.
    i64 bits_left() const { return 8 * current().end - place_of(bits, entropy.bytes.data()); }

    Tile here() const {
        const i64 place = place_of(bits, entropy.bytes.data());
        Tile tile = {entropy.file_of(place / 8), (i32)(place % 8), {0, 0, 0}};
        for (i32 c = 0; c < header.count; ++c) tile.dc[c] = (i32)targets[c].prediction;
        return tile;
    }

    // A stretch of MCUs from `at` on, to the planes or stepped over.
    template <bool KEPT>
    JpegFault stretch(i64 count) {
        const Kernels& kernels = best_kernels();
        while (count) {
            if (!left) {
                const JpegFault fault = begin_segment(segment + 1);
                if (fault != JPEG_FINE) return fault;
            }
            const i64 some = count < left ? count : left;
            const u8* limit = entropy.bytes.data() + current().end;
            const Mcus mcus = KEPT ? kernels.kept : kernels.skipped;
            const JpegFault fault = mcus(bits, some, limit, targets, header.count);
            if (fault != JPEG_FINE) return bits_left() < 0 ? JPEG_MISSING : fault;
            if (bits_left() < 0) return JPEG_MISSING;
            for (i32 c = 0; KEPT && c < header.count; ++c) targets[c].line += targets[c].size * some * targets[c].h;
            at += some;
            left -= some;
            count -= some;
            if (!left && at < frame.mcus() && bits_left() >= 8) return JPEG_EXTRA;
        }
        return JPEG_FINE;
    }

    // To the MCU of this number, from the last restart marker before it where that is nearer.
    JpegFault go_to(i64 number) {
        const i64 wanted = header.interval ? number / header.interval : 0;
        if (wanted > segment || at > number) {
            const JpegFault fault = begin_segment(wanted);
            if (fault != JPEG_FINE) return fault;
        }
        return stretch<false>(number - at);
    }

    // To MCU `from` of row r by the index: its data up to the tile behind MCU `to` are copied.
    JpegFault go_to_tile(i32 r, i32 from, i32 to) {
        const i64 number = (i64)r * tiles.row + from / tiles.mcus;
        const i64 next = (i64)r * tiles.row + (to + tiles.mcus - 1) / tiles.mcus;
        const Tile& tile = tiles.all[(size_t)number];
        // Of the next tile's first byte some bits are this one's, and a byte of ones is followed by a stuffed one.
        i64 end = next < (i64)tiles.all.size() ? tiles.all[(size_t)next].byte + 2 : bytes;
        if (end > bytes) end = bytes;
        begin_mcus((i64)r * frame.across + from / tiles.mcus * tiles.mcus);
        segment = header.interval ? at / header.interval : 0;
        unstuff(data, tile.byte, end, header.interval, segment, entropy);
        bits = bits_at(entropy.bytes.data(), tile.bit);
        for (i32 c = 0; c < header.count; ++c) targets[c].prediction = (u32)tile.dc[c];
        return stretch<false>((i64)r * frame.across + from - at);
    }

    // MCUs of row r up to `to`, tile by tile: each must end where the next begins.
    JpegFault kept_tiles(i32 r, i32 to) {
        while (at < (i64)r * frame.across + to) {
            const i32 m = (i32)(at - (i64)r * frame.across), past = (m / tiles.mcus + 1) * tiles.mcus;
            const JpegFault fault = stretch<true>((past < to ? past : to) - m);
            if (fault != JPEG_FINE) return fault;
            if (past < to && left && !(here() == tiles.all[(size_t)((i64)r * tiles.row + past / tiles.mcus)])) {
                return JPEG_MARKER;
            }
        }
        return JPEG_FINE;
    }

    JpegFault rows(const JpegJob& job) {
        const Range range = frame.range(box);
        planes.begin(header, frame, range);
        out.begin(job, box);
        for (i32 c = 0; c < header.count; ++c) targets[c].waiting.count = 0;
        JpegFault fault = indexed ? JPEG_FINE : begin_scan();
        const bool wanted = job.pixels || job.view_count;
        i32 y = box.y0;
        for (i32 r = range.top; fault == JPEG_FINE && r < range.bottom; ++r) {
            fault = indexed ? go_to_tile(r, range.left, range.right) : go_to((i64)r * frame.across + range.left);
            if (fault != JPEG_FINE) return fault;
            for (i32 c = 0; c < header.count; ++c) {
                targets[c].line = planes.row(c, r);
                targets[c].pitch = planes.pitch[c];
            }
            fault = indexed ? kept_tiles(r, range.right) : stretch<true>(range.right - range.left);
            if (fault != JPEG_FINE) return fault;
            for (i32 c = 0; c < header.count; ++c) {
                if (!finish(targets[c], best_kernels().idct)) return JPEG_RANGE;
            }
            const i32 ready = r + 1 == range.bottom ? box.y0 + box.h : frame.ready(r);
            for (; wanted && y < ready && y < box.y0 + box.h; ++y) {
                out.line(best_kernels().lines, header, frame, planes, range, y);
            }
        }
        return fault;
    }

    // What follows the box: to the end of the image, which must be where it belongs.
    JpegFault rest() {
        const JpegFault fault = stretch<false>(frame.mcus() - at);
        if (fault != JPEG_FINE) return fault;
        if (bits_left() >= 8) return JPEG_EXTRA;
        if (segment + 1 != (i64)entropy.segments.size()) return JPEG_MARKER;
        return entropy.marker == 0xD9 ? JPEG_FINE : entropy.marker ? JPEG_MARKER : JPEG_MISSING;
    }
};

// Takes jobs until none is left or `most` are done.
void work(JpegJob* jobs, i64 count, i64* next, i64 most, JpegFault (Decoder::*does)(JpegJob&)) {
    thread_local std::unique_ptr<Decoder> decoder;
    for (; most > 0; --most) {
        const i64 k = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
        if (k >= count) return;
        try {
            if (!decoder) decoder.reset(new Decoder);
            jobs[k].fault = (decoder.get()->*does)(jobs[k]);
        } catch (const std::bad_alloc&) {
            jobs[k].fault = JPEG_MEMORY;
        }
    }
}

}  // namespace
}  // namespace jpeg

// Decodes jobs until none is left or `most` are done; several threads may share `next`, the number of the next
// one. Every job taken gets its answer.
extern "C" void fastaug_jpeg(JpegJob* jobs, i64 count, i64* next, i64 most) {
    jpeg::work(jobs, count, next, most, &jpeg::Decoder::run);
}

// Makes the tiles of jobs in the same way; box and views are not looked at.
extern "C" void fastaug_jpeg_index(JpegJob* jobs, i64 count, i64* next, i64 most) {
    jpeg::work(jobs, count, next, most, &jpeg::Decoder::index);
}

extern "C" i64 fastaug_jpeg_job_bytes() { return sizeof(JpegJob); }

// Which instruction set the decoder uses: 0 portable, 1 AVX2, or less where the processor has less. Returns the
// choice.
extern "C" i32 fastaug_jpeg_kernels(i32 wanted) { return jpeg::choose_kernels(wanted); }
