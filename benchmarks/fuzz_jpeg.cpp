// Mutated JPEGs and entropy indices through the box decoder, built with sanitizers: fuzz_jpeg.py makes the program and the corpus.
// Usage: run CORPUS RUNS SEED. CORPUS: files one behind the other, each behind its length (8 bytes). Prints how
// many runs gave each answer, and the longest time in ns of a byte or a pixel.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "jpeg_index.h"

extern "C" void fastaug_jpeg(JpegJob* jobs, i64 count, i64* next, i64 most);
extern "C" void fastaug_jpeg_index(JpegJob* jobs, i64 count, i64* next, i64 most);
extern "C" i32 fastaug_jpeg_kernels(i32 wanted);

static u64 state;
static u32 drawn(u32 below) {  // SplitMix64
    u64 z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return below ? (u32)((z ^ (z >> 31)) % below) : 0;
}

static double cpu() {  // ns of this thread
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

typedef std::vector<u8> Bytes;

static void mutate(Bytes& d, const std::vector<Bytes>& corpus) {
    if (d.empty()) return;
    const u32 at = drawn((u32)d.size()), left = (u32)d.size() - at;
    const u32 length = 1 + drawn(left < 40 ? left : 40);
    switch (drawn(9)) {
        case 0: d[at] ^= (u8)(1u << drawn(8)); break;
        case 1: d[at] = (u8)drawn(256); break;
        case 2: d[at] = 0xFF; break;
        case 3: for (u32 k = 0; k < length && at + k < d.size(); ++k) d[at + k] = (u8)drawn(256); break;
        case 4: d.resize(at); break;
        case 5: d.erase(d.begin() + at, d.begin() + at + (length < left ? length : left)); break;
        case 6: d.insert(d.begin() + at, length, (u8)drawn(256)); break;
        case 7: {  // part of another file
            const Bytes& other = corpus[drawn((u32)corpus.size())];
            if (other.empty()) break;
            const u32 from = drawn((u32)other.size());
            for (u32 k = 0; k < 200 && from + k < other.size() && at + k < d.size(); ++k) d[at + k] = other[from + k];
            break;
        }
        default: {  // in the header: tables, factors, sizes, intervals
            const u32 place = drawn(d.size() < 640 ? (u32)d.size() : 640);
            d[place] = drawn(3) ? (u8)drawn(256) : (u8)(drawn(2) ? 0x11 : 0x22);
        }
    }
}

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    FILE* file = fopen(argv[1], "rb");
    if (!file) return 2;
    std::vector<Bytes> corpus;
    u64 size;
    while (fread(&size, 8, 1, file) == 1) {
        Bytes one(size);
        if (fread(one.data(), 1, size, file) != size) return 2;
        corpus.push_back(one);
    }
    fclose(file);
    const i64 runs = atoll(argv[2]);
    i64 answers[16] = {};
    i64 misfits = 0;
    double slowest = 0;
    for (i64 run = 0; run < runs; ++run) {
        state = (u64)atoll(argv[3]) * 1000003 + (u64)run;
        Bytes d = corpus[drawn((u32)corpus.size())];
        if (drawn(50) == 0) {
            for (u8& byte : d) byte = (u8)drawn(256);
        }
        for (u32 k = drawn(4); k-- > 0;) mutate(d, corpus);
        // Exactly as long as the file, so that a byte too far is seen.
        std::unique_ptr<u8[]> data(new u8[d.size() + !d.size()]);
        memcpy(data.get(), d.data(), d.size());
        static jpeg::Header header;
        const bool known = jpeg::read_header(data.get(), (i64)d.size(), header) == JPEG_FINE;
        const i32 o = 1 + (i32)drawn(8);
        i32 height = known ? header.height : 40, width = known ? header.width : 40;
        if (o >= 5) { const i32 t = height; height = width; width = t; }
        JpegJob job = {};
        job.data = data.get();
        job.bytes = (i64)d.size();
        job.orientation = o;
        job.whole = (i32)drawn(2);
        job.scaled = (i32)drawn(2);
        job.y0 = (i32)drawn((u32)height);
        job.x0 = (i32)drawn((u32)width);
        job.h = 1 + (i32)drawn((u32)(height - job.y0 > 2000 ? 2000 : height - job.y0));
        job.w = 1 + (i32)drawn((u32)(width - job.x0 > 2000 ? 2000 : width - job.x0));
        std::unique_ptr<u8[]> pixels(new u8[3 * (size_t)job.h * job.w]);
        job.pixels = drawn(2) ? pixels.get() : nullptr;
        const i32 oh = 1 + (i32)drawn(30), ow = 1 + (i32)drawn(30);
        std::unique_ptr<u8[]> out(new u8[2 * 3 * (size_t)oh * ow]);
        Scaling views[2] = {};
        for (i32 k = 0; k < 2; ++k) {
            Scaling& v = views[k];
            v.y0 = (i32)drawn((u32)job.h); v.x0 = (i32)drawn((u32)job.w);
            v.h = 1 + (i32)drawn((u32)(job.h - v.y0)); v.w = 1 + (i32)drawn((u32)(job.w - v.x0));
            v.height = oh; v.width = ow;
            v.out = out.get() + k * 3 * (size_t)oh * ow;
            v.step_y = (double)v.h / oh; v.step_x = (double)v.w / ow;
            v.flip_y = (i32)drawn(2); v.flip_x = (i32)drawn(2); v.filter = (i32)drawn(3);
        }
        job.views = views;
        job.view_count = drawn(3);
        fastaug_jpeg_kernels((i32)drawn(2));
        i64 next = 0;
        std::vector<u16> room(1 << 15);
        std::unique_ptr<u16[]> tiles;
        if (drawn(2)) {  // with an index, of this file or of senseless numbers, whose checksum is right
            job.tile = (i32)(16u << drawn(4)) * (drawn(5) > 0);
            job.tiles = room.data();
            job.tile_words = (i64)room.size();
            fastaug_jpeg_index(&job, 1, &next, 1);
            if (job.fault) job.tile_words = drawn(300);
            tiles.reset(new u16[(size_t)job.tile_words + 1]);
            memcpy(tiles.get(), room.data(), 2 * (size_t)job.tile_words);
            for (u32 k = drawn(4); job.tile_words && k-- > 0;) {
                u16& word = tiles[drawn((u32)job.tile_words)];
                word = (u16)(drawn(2) ? word ^ 1u << drawn(16) : drawn(65536));
            }
            if (drawn(3) == 0) job.tile = (i32)drawn(100);
            job.tiles = tiles.get();
            job.checksum = jpeg::checksum((const u8*)job.tiles, 2 * job.tile_words,
                                          jpeg::checksum(job.data, job.bytes, (u64)job.tile));
            job.checksum ^= drawn(8) == 0;
            next = 0;
        }
        const double begin = cpu();
        fastaug_jpeg(&job, 1, &next, 1);
        const double spent = cpu() - begin;
        // Beside the file and the box, a scaler's lines and an MCU row count.
        const double work = 20000.0 + (double)d.size() + 3.0 * job.h * job.w + 64.0 * job.h + 64.0 * width;
        slowest = spent / work > slowest ? spent / work : slowest;
        if (job.fault < 0 || job.fault > 15) return 3;
        ++answers[job.fault];
        misfits += job.misfit;
    }
    for (i64 count : answers) printf("%lld ", (long long)count);
    printf("\n%.1f %lld\n", slowest, (long long)misfits);
    return 0;
}
