// What a batch asks of the file system at once, without a line of Python for each file.
#include <sys/stat.h>

#include <cstring>
#include <string>

#include "plan.h"

// Sizes in bytes and times of change in ns of `count` files, [count, 2]: zeros for what is no regular file, -1
// where there is an error, which somebody else is to look at. Paths lie in `blob`, path i from offsets[i] on.
extern "C" void fastaug_stamps(const u8* blob, const i64* offsets, const i64* ids, i64 count, i64* out) {
    std::string path;
    for (i64 k = 0; k < count; ++k, out += 2) {
        path.assign((const char*)blob + offsets[ids[k]], (size_t)(offsets[ids[k] + 1] - offsets[ids[k]]));
        struct stat found;
        if (path.find('\0') != std::string::npos || stat(path.c_str(), &found)) {
            out[0] = out[1] = -1;
        } else if (S_ISREG(found.st_mode)) {
            out[0] = found.st_size;
#ifdef __APPLE__
            out[1] = found.st_mtimespec.tv_sec * 1000000000LL + found.st_mtimespec.tv_nsec;
#else
            out[1] = found.st_mtim.tv_sec * 1000000000LL + found.st_mtim.tv_nsec;
#endif
        } else {
            out[0] = out[1] = 0;
        }
    }
}
