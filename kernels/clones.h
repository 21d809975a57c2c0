// CLONES before a function compiles it for AVX-512, AVX2 and the baseline; the loader of the shared
// library picks one. All give the same bits: the maths has exactly rounded operations only.
#pragma once

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
