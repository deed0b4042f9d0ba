/* OpenBLAS: cblas_sgemm and cblas_sgemv, for f32 on the CPU, with as many threads as ours. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/peers/peer.h"

/* cblas.h's enumerators */
enum { CBLAS_ROW_MAJOR = 101, CBLAS_NO_TRANS = 111, CBLAS_TRANS = 112 };

typedef void (*sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc);
typedef void (*sgemv_fn)(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                         float beta, float *y, int incy);
typedef void (*set_threads_fn)(int threads);

static struct {
    void *library;
    sgemm_fn sgemm;
    sgemv_fn sgemv;
    set_threads_fn set_threads;
} openblas;

/* It does not know every processor with AVX-512 as one. A choice of the user's stands. */
static void choose_kernels(void)
{
#if defined __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq"))
        setenv("OPENBLAS_CORETYPE", "SKYLAKEX", 0);
#endif
}

static bool open_openblas(char *why, size_t size)
{
    static const char *const names[] = {"libopenblas.so.0", NULL};
    if (openblas.library) return true;
    choose_kernels();
    void *library = bench_peer_open(names, why, size);
    if (!library) return false;
    openblas.sgemm = (sgemm_fn)dlsym(library, "cblas_sgemm");
    openblas.sgemv = (sgemv_fn)dlsym(library, "cblas_sgemv");
    openblas.set_threads = (set_threads_fn)dlsym(library, "openblas_set_num_threads");
    snprintf(why, size, "libopenblas.so.0 lacks a function");
    if (openblas.sgemm && openblas.sgemv && openblas.set_threads) openblas.library = library;
    return openblas.library != NULL;
}

static trine_status openblas_prepare(trine_stream *stream, const test_case *c, const void *args, void **state, char *why,
                                     size_t size)
{
    trine_device_props props;
    bench_gemm g;
    if (!bench_peer_gemm(&g, c, args))
        return bench_peer_refuse(why, size, "needs one product of dense matrices and nothing else");
    if (g.a_dtype != TRINE_F32 || g.d_dtype != TRINE_F32) return bench_peer_refuse(why, size, "needs f32");
    if (g.m > INT_MAX || g.n > INT_MAX || g.k > INT_MAX || g.a_pitch > INT_MAX || g.b_pitch > INT_MAX || g.d_pitch > INT_MAX)
        return bench_peer_refuse(why, size, "needs sizes of 31 bits");
    if (!open_openblas(why, size)) return TRINE_ERROR_UNSUPPORTED;
    trine_status status = trine_stream_get_props(stream, &props);
    bench_gemm *kept = status == TRINE_OK ? malloc(sizeof *kept) : NULL;
    if (!kept) return status == TRINE_OK ? TRINE_ERROR_OUT_OF_MEMORY : status;
    openblas.set_threads(props.compute_units); /* on the CPU: threads */
    *kept = g;
    *state = kept;
    return TRINE_OK;
}

static trine_status openblas_run(void *state, trine_stream *stream)
{
    const bench_gemm *g = state;
    const int m = (int)g->m, n = (int)g->n, k = (int)g->k;
    (void)stream;
    if (m == 1 && (g->a_along_k || g->a_pitch == 1)) /* d' = b' a' */
        openblas.sgemv(CBLAS_ROW_MAJOR, g->b_along_n ? CBLAS_TRANS : CBLAS_NO_TRANS, g->b_along_n ? k : n, g->b_along_n ? n : k,
                       1, g->b, (int)g->b_pitch, g->a, 1, 0, g->d, 1);
    else
        openblas.sgemm(CBLAS_ROW_MAJOR, g->a_along_k ? CBLAS_NO_TRANS : CBLAS_TRANS, g->b_along_n ? CBLAS_NO_TRANS : CBLAS_TRANS,
                       m, n, k, 1, g->a, (int)g->a_pitch, g->b, (int)g->b_pitch, 0, g->d, (int)g->d_pitch);
    return TRINE_OK;
}

const bench_peer bench_peer_openblas = {"openblas", "cpu", openblas_prepare, openblas_run, free};
