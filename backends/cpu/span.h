/* How kernels touch memory. A bandwidth-bound kernel works on spans: at most SPAN_MAX elements that it loads as f32, computes
 * on in plain loops, and stores in the tensor's dtype. Spans stay in the L1 cache, so that memory sees one read and one write
 * an element, and a kernel is written once for all dtypes:
 *
 *     bool stream = span_should_stream(n * 2);
 *     CPU_PARALLEL_FOR(range, n, CPU_GRAIN) {
 *         SPAN_BUFFER(in);
 *         SPAN_BUFFER(out);
 *         for (int64_t i = range.begin, m; i < range.end; i += m) {
 *             m = span_length(y + 2 * i, TRINE_BF16, range.end - i);
 *             const float *x32 = span_load(in, x + 2 * i, TRINE_BF16, m);
 *             for (int64_t j = 0; j < m; j++) out[j] = vm_exp(x32[j]);
 *             span_store(y + 2 * i, TRINE_BF16, out, m, stream);
 *         }
 *         span_fence();
 *     }
 *
 * dtype: any but nf4. To f32 by one rounding (f64, i64, i32; the others are exact), from f32 by trine_convert's rules, the
 * same bits at every level. Memory may have any alignment; n may be any number >= 0 that the buffer holds. */
#ifndef TRINE_CPU_SPAN_H
#define TRINE_CPU_SPAN_H

#include <stdbool.h>
#include <stdint.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "backends/cpu/level.h"
#include "backends/cpu/prefetch.h"
#include "trine/dtype.h"

enum { SPAN_MAX = 1024 };
#define SPAN_BUFFER(name) _Alignas(64) float name[SPAN_MAX]

#define span_load TRINE_CPU(span_load)
#define span_store TRINE_CPU(span_store)
#define span_load_strided TRINE_CPU(span_load_strided)
#define span_store_strided TRINE_CPU(span_store_strided)
#define span_copy_bytes TRINE_CPU(span_copy_bytes)
#define span_should_stream TRINE_CPU(span_should_stream)

/* n elements at src as f32: src itself if it holds aligned f32, else buffer. */
const float *span_load(float *buffer, const void *src, trine_dtype dtype, int64_t n);

/* Writes n elements. stream: past the caches, in whole lines of 64 bytes; what is left at either end goes the ordinary way.
 * src and dst may not overlap, unless dst is src and the dtype f32. */
void span_store(void *dst, trine_dtype dtype, const float *src, int64_t n, bool stream);

/* The same with `stride` elements from one to the next; 0 (loads only) repeats the first. Always into buffer, never streamed. */
const float *span_load_strided(float *buffer, const void *src, trine_dtype dtype, int64_t n, int64_t stride);
void span_store_strided(void *dst, trine_dtype dtype, const float *src, int64_t n, int64_t stride);

/* Moves bytes as they are. No overlap, unless dst is src. */
void span_copy_bytes(void *dst, const void *src, int64_t bytes, bool stream);

/* Is an output of so many bytes better written past the caches? From half the last-level cache on, but at most 16 MiB. */
bool span_should_stream(int64_t bytes_written);

/* Elements of the next span: at most SPAN_MAX and `left`, and so that the span after it begins on a line of 64 bytes, if its
 * dst can. Spans cut in this way stream whole lines whatever the alignment of the tensor. */
static inline int64_t span_length(const void *dst, trine_dtype dtype, int64_t left)
{
    if (left <= SPAN_MAX) return left;
    return SPAN_MAX - ((uint32_t)(uintptr_t)dst & 63) * 8 / (uint32_t)trine_dtype_bits(dtype);
}

/* Asks for what comes next while something else is computed. */
static inline void span_prefetch(const char *from, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
}

/* Ends a thread's streamed stores; without it another thread might see the old bytes. */
static inline void span_fence(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

/* ---- Work for threads ---- */

/* A grain for elementwise ops: a thread costs about 5 us, the time of some 2^15 elements. */
enum { CPU_GRAIN = 32768 };

typedef struct cpu_range {
    int64_t begin, end;
} cpu_range;

/* Threads worth starting: one for each grain begun, at most what OpenMP grants. */
static inline int cpu_threads(int64_t n, int64_t grain)
{
#ifdef _OPENMP
    int64_t grains = (n + grain - 1) / grain, most = omp_get_max_threads();
    return (int)(grains < 1 ? 1 : grains < most ? grains : most);
#else
    return (void)n, (void)grain, 1;
#endif
}

/* The calling thread's number among those of CPU_PARALLEL_FOR; outside of it the caller may be of a team of its own. */
static inline int cpu_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* The calling thread's part of [0, n): contiguous, bounds multiples of grain (but for n), sizes equal up to one grain. */
static inline cpu_range cpu_range_of_thread(int64_t n, int64_t grain)
{
    int64_t thread = 0, threads = 1;
#ifdef _OPENMP
    thread = omp_get_thread_num();
    threads = omp_get_num_threads();
#endif
    int64_t grains = (n + grain - 1) / grain;
    int64_t begin = grains / threads * thread + (grains % threads < thread ? grains % threads : thread);
    int64_t end = begin + grains / threads + (thread < grains % threads);
    return (cpu_range){begin * grain < n ? begin * grain : n, end * grain < n ? end * grain : n};
}

#define CPU_PRAGMA_(text) _Pragma(#text)
#define CPU_PRAGMA(text) CPU_PRAGMA_(text)

/* Runs the block that follows once in each thread that has work, with its own `cpu_range range`. Serial when n is at most one
 * grain. n and grain (> 0) are evaluated several times. The block may not return. */
#ifdef _OPENMP
#define CPU_PARALLEL_FOR(range, n, grain) \
    CPU_PRAGMA(omp parallel num_threads(cpu_threads((n), (grain))) if ((n) > (grain))) \
    for (cpu_range range = cpu_range_of_thread((n), (grain)); range.begin < range.end; range.begin = range.end)
#else
#define CPU_PARALLEL_FOR(range, n, grain) \
    for (cpu_range range = cpu_range_of_thread((n), (grain)); range.begin < range.end; range.begin = range.end)
#endif

#endif
