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

#include "jpeg_lines.h"

namespace jpeg {

const Places places;

namespace {

struct Kernels {
    Mcus kept, skipped;
    LineKernels lines;
};

i32 best = -1;

const Kernels& best_kernels() {
    static const Kernels portable = {kept_portable, skipped_portable, portable_lines};
#ifdef FASTAUG_X86
    static const Kernels avx2 = {kept_avx2, skipped_avx2, avx2_lines};
    if (best < 0) best = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    if (best) return avx2;
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
    JpegFault run(JpegJob job) {
        const u8* data = job.data;
        i64 bytes = job.bytes;
        if (!data) {
            bytes = read_file(job.path, file);
            if (bytes < 0) return JPEG_UNREADABLE;
            data = file.data();
        }
        JpegFault fault = read_header(data, bytes, header);
        if (fault != JPEG_FINE) return fault;
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
        unstuff(data, header.scan, bytes, header.interval, entropy);
        out.begin(job, box);
        fault = rows(job);
        if (fault == JPEG_FINE && job.whole) fault = rest();
        if (fault == JPEG_FINE) out.end();
        return fault;
    }

private:
    Header header;
    Frame frame;
    Box box;
    std::vector<u8> file;
    Entropy entropy;
    DcCodes dc[4];
    AcCodes ac[4];
    Target targets[3];
    Planes planes;
    Output out;
    std::vector<Scaling> views;  // of a smaller image
    Bits bits;
    i64 segment, left, at;  // the segment's number, its MCUs from here on, the next MCU's number

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
            targets[c].waiting.count = 0;
        }
    }

    JpegFault begin_segment(i64 number) {
        if (number >= (i64)entropy.segments.size()) return entropy.marker ? JPEG_MARKER : JPEG_MISSING;
        segment = number;
        const Segment& s = entropy.segments[(size_t)number];
        bits = bits_at(entropy.bytes.data() + s.begin, 0);
        at = s.first;
        left = header.interval ? header.interval : frame.mcus();
        if (left > frame.mcus() - at) left = frame.mcus() - at;
        for (i32 c = 0; c < header.count; ++c) targets[c].prediction = 0;
        return JPEG_FINE;
    }

    // What a segment still holds behind the last bit read: less than 0, when more was read than there is.
    i64 bits_left() const {
        const Segment& s = entropy.segments[(size_t)segment];
        return 8 * s.end - place_of(bits, entropy.bytes.data());
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
            const u8* limit = entropy.bytes.data() + entropy.segments[(size_t)segment].end;
            const JpegFault fault = (KEPT ? kernels.kept : kernels.skipped)(bits, some, limit, targets, header.count);
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

    JpegFault rows(const JpegJob& job) {
        const Range range = frame.range(box);
        planes.begin(header, frame, range);
        JpegFault fault = begin_segment(0);
        if (fault != JPEG_FINE) return fault;
        i32 y = box.y0;
        const bool wanted = job.pixels || job.view_count;
        for (i32 r = range.top; r < range.bottom; ++r) {
            fault = go_to((i64)r * frame.across + range.left);
            if (fault != JPEG_FINE) return fault;
            for (i32 c = 0; c < header.count; ++c) {
                targets[c].line = planes.row(c, r);
                targets[c].pitch = planes.pitch[c];
            }
            fault = stretch<true>(range.right - range.left);
            if (fault != JPEG_FINE) return fault;
            const i32 ready = r + 1 == range.bottom ? box.y0 + box.h : frame.ready(r);
            for (; wanted && y < ready && y < box.y0 + box.h; ++y) {
                out.line(best_kernels().lines, header, frame, planes, range, y);
            }
        }
        return JPEG_FINE;
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

}  // namespace
}  // namespace jpeg

// Decodes jobs until none is left or `most` are done; several threads may share `next`, the number of the next
// one. Every job taken gets its answer.
extern "C" void fastaug_jpeg(JpegJob* jobs, i64 count, i64* next, i64 most) {
    thread_local std::unique_ptr<jpeg::Decoder> decoder;
    for (; most > 0; --most) {
        const i64 k = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
        if (k >= count) return;
        try {
            if (!decoder) decoder.reset(new jpeg::Decoder);
            jobs[k].fault = decoder->run(jobs[k]);
        } catch (const std::bad_alloc&) {
            jobs[k].fault = JPEG_MEMORY;
        }
    }
}

extern "C" i64 fastaug_jpeg_job_bytes() { return sizeof(JpegJob); }

// Which instruction set the decoder uses: 0 portable, 1 AVX2, or less where the processor has less. Returns the
// choice.
extern "C" i32 fastaug_jpeg_kernels(i32 wanted) {
    jpeg::best = -1;
    jpeg::best_kernels();
    return jpeg::best = wanted < jpeg::best ? wanted : jpeg::best < 0 ? 0 : jpeg::best;
}
