// Loaded before libc (LD_PRELOAD): counts the calls that a program makes on files whose path holds $FAULTS_IN, and
// lets one of them fail. The program says which by ctypes: faults_set(number of the call, errno), 0 for none.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

namespace {

std::atomic<long> calls{0}, at{0};
std::atomic<int> number_of{0};
std::atomic<const char*> failed{""};
char known[65536];  // by descriptor: whether it is of such a file

const char* variable(const char* name) {
    const char* value = getenv(name);
    return value ? value : "";
}

bool asked(const char* path) {
    static const char* part = variable("FAULTS_IN");
    return path && *part && strstr(path, part);
}

template <typename F>
F real(const char* name) {
    return (F)dlsym(RTLD_NEXT, name);
}

// Whether this call is the one that fails; it is counted.
bool fails(const char* name) {
    if (++calls != at) return false;
    failed = name;
    errno = number_of;
    return true;
}

bool is_known(int number) { return number >= 0 && number < (int)sizeof known && known[number]; }

int remembered(int number, const char* path) {
    if (number >= 0 && number < (int)sizeof known) known[number] = asked(path);
    return number;
}

}  // namespace

extern "C" {

void faults_set(long k, int number) {
    at = k;
    number_of = number;
    calls = 0;
    failed = "";
}

long faults_calls() { return calls; }
const char* faults_failed() { return failed; }

#define OPEN(name)                                                              \
    int name(const char* path, int flags, ...) {                                \
        static auto next = real<int (*)(const char*, int, ...)>(#name);         \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                           \
        if (asked(path) && fails(#name)) return -1;                    \
        return remembered(next(path, flags, mode), path);                       \
    }
OPEN(open)
OPEN(open64)

#define FOPEN(name)                                                            \
    FILE* name(const char* path, const char* mode) {                           \
        static auto next = real<FILE* (*)(const char*, const char*)>(#name);   \
        if (asked(path) && fails(#name)) return nullptr;                       \
        return next(path, mode);                                               \
    }
FOPEN(fopen)
FOPEN(fopen64)

int close(int number) {
    static auto next = real<int (*)(int)>("close");
    if (number >= 0 && number < (int)sizeof known) known[number] = 0;
    return next(number);
}

#define ON_DESCRIPTOR(type, name, parameters, arguments)         \
    type name parameters {                                       \
        static auto next = real<type(*) parameters>(#name);      \
        if (is_known(number) && fails(#name)) return -1; \
        return next arguments;                                   \
    }
ON_DESCRIPTOR(ssize_t, read, (int number, void* to, size_t n), (number, to, n))
ON_DESCRIPTOR(ssize_t, write, (int number, const void* from, size_t n), (number, from, n))
ON_DESCRIPTOR(int, fsync, (int number), (number))
ON_DESCRIPTOR(int, fstat, (int number, struct stat* out), (number, out))
ON_DESCRIPTOR(int, fstat64, (int number, struct stat64* out), (number, out))
ON_DESCRIPTOR(off_t, lseek, (int number, off_t to, int from), (number, to, from))
ON_DESCRIPTOR(off64_t, lseek64, (int number, off64_t to, int from), (number, to, from))

#define ON_PATH(type, name, parameters, arguments)            \
    type name parameters {                                    \
        static auto next = real<type(*) parameters>(#name);   \
        if (asked(path) && fails(#name)) return -1;  \
        return next arguments;                                \
    }
ON_PATH(int, stat, (const char* path, struct stat* out), (path, out))
ON_PATH(int, stat64, (const char* path, struct stat64* out), (path, out))
ON_PATH(int, mkdir, (const char* path, mode_t mode), (path, mode))
ON_PATH(int, unlink, (const char* path), (path))
ON_PATH(int, rename, (const char* path, const char* to), (path, to))

}  // extern "C"
