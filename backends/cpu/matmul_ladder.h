/* The lower rungs of the ladder: naive, coalesced, tiled. docs/matmul-ladder.md walks through them. Any strides in all three. */
#ifndef TRINE_CPU_MATMUL_LADDER_H
#define TRINE_CPU_MATMUL_LADDER_H

#if defined __F16C__
#include <immintrin.h>
#endif

#include "backends/cpu/matmul_epilogue.h"
#include "core/float_bits.h"

/* ---- naive: loops over i, j, k ----
 *
 * Every output is an inner product of a row of a and a column of b. The next element of a row-major b's column lies a row
 * further: of every line that comes from memory, one number is used. And each multiply-add waits for the one before. Bound by
 * latency. */

typedef float (*dot_fn)(const void *a, int64_t a_step, const void *b, int64_t b_step, int64_t n);

#define DOT(name, type, to_f32) \
    static float name(const void *a, int64_t a_step, const void *b, int64_t b_step, int64_t n) \
    { \
        const type *x = a, *y = b; \
        float sum = 0; \
        for (int64_t k = 0; k < n; k++) sum = TRINE_FMA(to_f32(x[k * a_step]), to_f32(y[k * b_step]), sum); \
        return sum; \
    }
#define AS_IT_IS(x) (x)
DOT(dot_f32, float, AS_IT_IS)
#if defined __F16C__
DOT(dot_f16, uint16_t, _cvtsh_ss)
#else
/* To convert one number takes longer than to wait for the sum: they are converted beforehand, in vectors. */
static float dot_f16(const void *a, int64_t a_step, const void *b, int64_t b_step, int64_t n)
{
    SPAN_BUFFER(a_buffer);
    SPAN_BUFFER(b_buffer);
    float sum = 0;
    for (int64_t k = 0, m; k < n; k += m) {
        m = n - k < SPAN_MAX ? n - k : SPAN_MAX;
        const float *x = load_line(a_buffer, a, TRINE_F16, k * a_step, m, a_step);
        const float *y = load_line(b_buffer, b, TRINE_F16, k * b_step, m, b_step);
        for (int64_t i = 0; i < m; i++) sum = TRINE_FMA(x[i], y[i], sum);
    }
    return sum;
}
#endif
DOT(dot_bf16, uint16_t, trine_bits_bf16_to_f32)
#undef AS_IT_IS
#undef DOT
static const dot_fn dots[TRINE_DTYPE_COUNT] = {[TRINE_F32] = dot_f32, [TRINE_F16] = dot_f16, [TRINE_BF16] = dot_bf16};

static void naive_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    const cpu_range rows = team_range(team, p->m, 1);
    for (int64_t i = rows.begin; i < rows.end; i++)
        for (int64_t j = 0; j < p->n; j++) {
            float sum = dots[p->dtype](element(p->a, p->dtype, at->a + i * p->a_m), p->a_k,
                                       element(p->b, p->dtype, at->b + j * p->b_n), p->b_k, p->k);
            finish_row(p, at, i, j, &sum, 1);
        }
}

/* ---- coalesced: loops over i, k, j ----
 *
 * A row of d is a sum of rows of b: the innermost loop goes along lines, and the compiler makes vectors of it. But a multiply-add
 * still takes two loads and a store, and every row of d reads all of b again: bound by the bandwidth of the cache that b fits
 * into. */

/* sums += x line */
static void add_line(float *restrict sums, const float *restrict line, float x, int64_t n)
{
    for (int64_t j = 0; j < n; j++) sums[j] = TRINE_FMA(x, line[j], sums[j]);
}

static void coalesced_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    const cpu_range rows = team_range(team, p->m, 1);
    SPAN_BUFFER(a_buffer);
    SPAN_BUFFER(b_buffer);
    SPAN_BUFFER(sums);
    for (int64_t i = rows.begin; i < rows.end; i++)
        for (int64_t j = 0, n; j < p->n; j += n) {
            n = p->n - j < SPAN_MAX ? p->n - j : SPAN_MAX;
            memset(sums, 0, sizeof sums);
            for (int64_t k = 0; k < p->k; k++) {
                if (k % SPAN_MAX == 0) load_row(a_buffer, p, at, i, k, p->k - k < SPAN_MAX ? p->k - k : SPAN_MAX);
                const float *line = load_line(b_buffer, p->b, p->dtype, at->b + k * p->b_k + j * p->b_n, n, p->b_n);
                add_line(sums, line, a_buffer[k % SPAN_MAX], n);
            }
            finish_row(p, at, i, j, sums, n);
        }
}

/* ---- tiled: the same loops inside of tiles ----
 *
 * A tile of b is brought into L2 once and used by all rows of a tile of a, whose sums stay in L1: memory is out of the way. Two
 * loads and a store a multiply-add remain: bound by the bandwidth of L1. */

enum { TILE_M = 32, TILE_N = 256, TILE_K = 64 };

static void make_square(const trine_product *p, const product_place *at, int64_t row, int64_t column)
{
    _Alignas(64) float sums[TILE_M][TILE_N] = {{0}}, b[TILE_K][TILE_N], a[TILE_K];
    const int64_t rows = p->m - row < TILE_M ? p->m - row : TILE_M, columns = p->n - column < TILE_N ? p->n - column : TILE_N;
    for (int64_t k = 0, terms; k < p->k; k += terms) {
        terms = p->k - k < TILE_K ? p->k - k : TILE_K;
        for (int64_t t = 0; t < terms; t++) {
            const float *line = load_line(b[t], p->b, p->dtype, at->b + (k + t) * p->b_k + column * p->b_n, columns, p->b_n);
            if (line != b[t]) memcpy(b[t], line, (size_t)columns * sizeof *line);
        }
        for (int64_t i = 0; i < rows; i++) {
            load_row(a, p, at, row + i, k, terms);
            for (int64_t t = 0; t < terms; t++) add_line(sums[i], b[t], a[t], columns);
        }
    }
    for (int64_t i = 0; i < rows; i++) finish_row(p, at, row + i, column, sums[i], columns);
}

static void tiled_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    const int64_t tiles_m = (p->m + TILE_M - 1) / TILE_M, tiles_n = (p->n + TILE_N - 1) / TILE_N;
    const cpu_range tiles = team_range(team, tiles_m * tiles_n, 1);
    for (int64_t tile = tiles.begin; tile < tiles.end; tile++)
        make_square(p, at, tile / tiles_n * TILE_M, tile % tiles_n * TILE_N);
}

/* ---- The variants ---- */

static trine_status run_ladder(trine_call *call, const void *args, product_fn fn)
{
    trine_product p;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    const team_plan team = team_plan_make(&p);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, &p, &team, fn);
    return TRINE_OK;
}

static trine_status matmul_naive(trine_call *call, const void *args) { return run_ladder(call, args, naive_product); }

static trine_status matmul_coalesced(trine_call *call, const void *args) { return run_ladder(call, args, coalesced_product); }

static trine_status matmul_tiled(trine_call *call, const void *args) { return run_ladder(call, args, tiled_product); }

#endif
