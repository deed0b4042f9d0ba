/* Asking memory for lines before they are read. */
#ifndef TRINE_CPU_PREFETCH_H
#define TRINE_CPU_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

/* Whether requests for single lines work as on Intel's processors. There one for the L1 cache holds one of a core's few fill buffers
 * until memory answers, as streamed stores do, and one for lines that are read once (`prefetchnta`) keeps them out of the L2 and
 * its own prefetcher away (Granite Rapids, GB/s: a copy unasked 37, asked into L1 46, into L2 53, once 23; reading 31, 37, 37, 11).
 * AMD's like all of them. */
static inline bool prefers_l2(void)
{
#if defined __x86_64__ && defined __GNUC__
    return __builtin_cpu_is("intel");
#else
    return false;
#endif
}

/* Bytes from what is read to what is asked for, where `usual` of them are best on AMD's processors: within a page on Intel's, where,
 * besides, not more than two lines should be asked for at once (docs/cpu-memory.md). */
enum { ASK_NEAR = 2048 };
static inline int64_t ask_distance(int64_t usual) { return prefers_l2() ? ASK_NEAR : usual; }

/* Whether a loop over a run of so many bytes asks for what it reads itself: AMD's processors do it better in long ones, but lose
 * their way where runs have gaps (Zen 5, gated silu of packed bf16 rows of 22 KB: 16.1 ms unasked, 10.1 asked 2 KiB ahead; two
 * tensors 8.7, 8.8). */
static inline bool asks_in_run(int64_t bytes) { return prefers_l2() || bytes < (256 << 10); }

/* What is written before it is done before what is written after it: compilers gather requests otherwise. */
static inline void ask_in_order(void)
{
#if defined __GNUC__
    __asm__ volatile("" ::: "memory");
#endif
}

/* Asks for a line that is soon read. */
static inline void ask_for_line(const void *from)
{
    if (prefers_l2())
        __builtin_prefetch(from, 0, 2);
    else
        __builtin_prefetch(from);
}

#endif
