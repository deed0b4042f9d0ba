/* The table of peers, and what they share. */
#include <dlfcn.h>
#include <stdio.h>

#include "bench/peers/peer.h"
#include "core/fp8_product.h"

const bench_peer *const bench_peers[] = {
#if defined TRINE_HAVE_CUBLASLT
    &bench_peer_cublaslt,
#endif
    &bench_peer_openblas,
    NULL,
};

trine_status bench_peer_refuse(char *why, size_t size, const char *reason)
{
    snprintf(why, size, "%s", reason);
    return TRINE_ERROR_UNSUPPORTED;
}

void *bench_peer_open(const char *const *names, char *why, size_t size)
{
    for (; *names; names++) {
        void *library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
        snprintf(why, size, "%s", dlerror());
    }
    return NULL;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static bool product_of(trine_product *p, const test_case *c, const void *args)
{
    if (c->op == TRINE_OP_matmul) return trine_product_make(p, args);
    return c->op == TRINE_OP_fp8_matmul && trine_fp8_product_make(p, args);
}

bool bench_peer_gemm(bench_gemm *g, const test_case *c, const void *args)
{
    trine_product p;
    if (!product_of(&p, c, args)) return false;
    const bool only_product = !p.has_c && !p.has_bias && p.alpha == 1 && p.activation == TRINE_ACT_IDENTITY;
    if (!only_product || p.batch.numel != 1 || p.m < 1 || p.n < 1 || p.k < 1) return false;
    *g = (bench_gemm){.m = p.m, .n = p.n, .k = p.k, .a = p.a, .b = p.b, .d = p.d, .d_pitch = larger(p.d_m, p.n)};
    g->a_along_k = p.a_k == 1 || p.k == 1;
    g->b_along_n = p.b_n == 1 || p.n == 1;
    g->a_pitch = g->a_along_k ? larger(p.a_m, p.k) : larger(p.a_k, p.m);
    g->b_pitch = g->b_along_n ? larger(p.b_k, p.n) : larger(p.b_n, p.k);
    g->a_dtype = p.dtype;
    g->b_dtype = p.b_dtype;
    g->d_dtype = p.d_dtype;
    g->has_scales = p.has_scales;
    g->a_scale = p.a_scale;
    g->b_scale = p.b_scale;
    return (g->a_along_k || p.a_m == 1 || p.m == 1) && (g->b_along_n || p.b_k == 1);
}
