/* Peers: libraries of others that `trine bench` times beside ours, on the same tensors in the same memory. They are opened at run
 * time; one that is not there, or does not have what a case asks for, is left out. The driver checks a peer's results against the
 * case's oracle before it times it. */
#ifndef TRINE_BENCH_PEER_H
#define TRINE_BENCH_PEER_H

#include <stddef.h>

#include "core/matmul_shape.h"
#include "tests/cases/cases.h"

typedef struct bench_peer {
    const char *name;    /* "cublasLt" */
    const char *backend; /* whose memory and streams it takes: "cuda", "hip", "cpu" */
    /* Readies a case; everything slow happens here. args: the op's struct, its tensors in the device's memory. *state goes to the
     * others. Errors: UNSUPPORTED (no such library, or not for this case); others are failures. why says more. On an error there
     * is nothing to finish. */
    trine_status (*prepare)(trine_stream *stream, const test_case *c, const void *args, void **state, char *why, size_t why_size);
    /* Does the case's work once, in the stream's order. */
    trine_status (*run)(void *state, trine_stream *stream);
    void (*finish)(void *state);
} bench_peer;

/* All of this build; NULL past the last. */
extern const bench_peer *const bench_peers[];

extern const bench_peer bench_peer_cublaslt, bench_peer_openblas;

/* `why` and the status in one line: return bench_peer_refuse(why, size, "needs ..."); */
trine_status bench_peer_refuse(char *why, size_t size, const char *reason);
/* Opens the first library of a NULL-terminated list that is there; NULL if none is, and why says so. Libraries stay open. */
void *bench_peer_open(const char *const *names, char *why, size_t size);

/* A matmul that libraries have too: one product of dense matrices, nothing but d = a b; of fp8, with scales. d is row-major; where
 * the case's is column-major, these are the transposed matrices. */
typedef struct bench_gemm {
    int64_t m, n, k;
    const void *a, *b;
    void *d;
    bool a_along_k, b_along_n;         /* a, b are row-major; else column-major */
    int64_t a_pitch, b_pitch, d_pitch; /* elements from one row (column) to the next */
    trine_dtype a_dtype, b_dtype, d_dtype;
    bool has_scales;
    trine_product_scale a_scale, b_scale;
} bench_gemm;
/* False if the case is not a matmul, or fp8_matmul, of that kind. */
bool bench_peer_gemm(bench_gemm *g, const test_case *c, const void *args);

#endif
