/* nf4_matmul on the CPU. gemv, with at most 16 rows of x: a row of the weight is decoded in pieces that stay in L1 and multiplied
 * with all rows of x while it is there; bound by the decoding (a look-up for 16 elements) with few rows, by multiply-adds with
 * more. Everything else goes through the workspace (core/nf4_matmul.h). */
#ifndef TRINE_CPU_NF4_MATMUL_H
#define TRINE_CPU_NF4_MATMUL_H

#include "backends/cpu/matmul_gemv.h"
#include "backends/cpu/nf4.h"
#include "core/dynamic_map.h"
#include "core/nf4_matmul.h"

enum { NF4_ROWS = 16, NF4_QUADS = NF4_ROWS / TRINE_THIN_MOST };

/* absmax of block i, as it was given. */
typedef struct nf4_scales {
    const float *absmax;
    const uint8_t *codes;
    const float *scale;
    float mean;
    bool linear;
    trine_dynamic_map map;
} nf4_scales;

static void nf4_scales_make(nf4_scales *s, const trine_nf4_matmul_args *a)
{
    const bool doubled = a->absmax.dtype == TRINE_U8;
    s->absmax = doubled ? NULL : a->absmax.data;
    s->codes = a->absmax.data;
    s->scale = a->scale.data;
    s->linear = a->kind == TRINE_ABSMAX_LINEAR;
    s->mean = doubled && !s->linear ? *(const float *)a->mean.data : 0;
    trine_dynamic_map_make(&s->map);
}

static inline float nf4_scale_at(const nf4_scales *s, int64_t i)
{
    if (s->absmax) return s->absmax[i];
    const float scale = s->scale[i / TRINE_ABSMAX_BLOCK];
    return s->linear ? (float)s->codes[i] * scale : s->map.value[s->codes[i]] * scale + s->mean;
}

/* Row `row` of the weight times all rows of x, which lie at x, [m][k]. */
static void nf4_row(const trine_nf4_matmul_args *a, const trine_nf4_shape *s, const nf4_scales *scales, const float *x,
                    int64_t row, float *sums)
{
    gemv_sums sum[NF4_QUADS];
    SPAN_BUFFER(line);
    memset(sum, 0, sizeof sum);
    for (int64_t k = 0, n; k < s->k; k += n) {
        n = s->k - k < SPAN_MAX ? s->k - k : SPAN_MAX;
        for (int64_t i = 0, part; i < n; i += part) {
            const int64_t first = row * s->k + k + i, left = TRINE_NF4_BLOCK - first % TRINE_NF4_BLOCK;
            part = left < n - i ? left : n - i;
            nf4_values(line + i, a->codes.data, first, part, nf4_scale_at(scales, first / TRINE_NF4_BLOCK));
        }
        for (int64_t m = 0; m < s->m; m += TRINE_THIN_MOST) {
            const int64_t thin = s->m - m < TRINE_THIN_MOST ? s->m - m : TRINE_THIN_MOST;
            add_terms_of[thin](&sum[m / TRINE_THIN_MOST], line, x + m * s->k + k, s->k, n);
        }
    }
    for (int64_t m = 0; m < s->m; m++) sums[m] = total_of(&sum[m / TRINE_THIN_MOST], (int)(m % TRINE_THIN_MOST));
}

static void nf4_load_x(const trine_nf4_matmul_args *a, const trine_nf4_shape *s, float *x)
{
    for (int64_t m = 0; m < s->m; m++)
        for (int64_t k = 0, n; k < s->k; k += n, x += n) {
            n = s->k - k < SPAN_MAX ? s->k - k : SPAN_MAX;
            const float *line = load_line(x, a->x.data, a->x.dtype, m * a->x.stride[0] + k * a->x.stride[1], n, a->x.stride[1]);
            if (line != x) memcpy(x, line, (size_t)n * sizeof *x);
        }
}

static trine_status nf4_gemv(trine_call *call, const void *args)
{
    const trine_nf4_matmul_args *a = args;
    const trine_nf4_shape s = trine_nf4_shape_make(a);
    TRINE_REQUIRE_THAT(call, !a->transposed && s.m <= NF4_ROWS,
                       "needs at most 16 rows of x, and a weight that is not transposed");
    TRINE_END_OF_QUERY(call, (size_t)(s.m * s.k) * sizeof(float));
    if (s.m == 0 || s.n == 0) return TRINE_OK;
    nf4_scales scales;
    float *x = call->workspace;
    nf4_scales_make(&scales, a);
    nf4_load_x(a, &s, x);
    CPU_PARALLEL_FOR(range, s.n, CPU_GRAIN / (s.k + 1) + 1)
    {
        for (int64_t row = range.begin; row < range.end; row++) {
            float sums[NF4_ROWS], buffer[VEC_LANES];
            nf4_row(a, &s, &scales, x, row, sums);
            const float bias = trine_is_given(&a->bias) ? *load_line(buffer, a->bias.data, a->bias.dtype, row, 1, 1) : 0;
            for (int64_t m = 0; m < s.m; m++) {
                const float sum = sums[m] + bias;
                const int64_t at = m * a->d.stride[0] + row * a->d.stride[1];
                span_store((void *)(uintptr_t)element(a->d.data, a->d.dtype, at), a->d.dtype, &sum, 1, false);
            }
        }
    }
    return TRINE_OK;
}

trine_status TRINE_CPU(nf4_dequantize)(trine_call *call, const trine_nf4_dequantize_args *a);
trine_status TRINE_CPU(absmax_dequantize)(trine_call *call, const trine_absmax_dequantize_args *a);
trine_status TRINE_CPU(matmul)(trine_call *call, const trine_matmul_args *args);

static trine_status nf4_dequantized(trine_call *call, const void *args)
{
    static const trine_nf4_ops ops = {TRINE_CPU(nf4_dequantize), TRINE_CPU(absmax_dequantize), TRINE_CPU(matmul)};
    return trine_nf4_matmul_run(call, &ops, args);
}

trine_status TRINE_CPU(nf4_matmul)(trine_call *call, const trine_nf4_matmul_args *a);
trine_status TRINE_CPU(nf4_matmul)(trine_call *call, const trine_nf4_matmul_args *a)
{
    static const trine_variant variants[] = {{"gemv", nf4_gemv}, {"dequantize", nf4_dequantized}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, a);
}

#endif
