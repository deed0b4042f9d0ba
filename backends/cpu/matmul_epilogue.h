/* The one epilogue of all variants: a row of finished sums becomes a row of d. */
#ifndef TRINE_CPU_MATMUL_EPILOGUE_H
#define TRINE_CPU_MATMUL_EPILOGUE_H

#include "backends/cpu/activation_math.h"
#include "backends/cpu/matmul_team.h"
#include "backends/cpu/vmath.h"

static inline int64_t size_of(trine_dtype dtype)
{
    return dtype == TRINE_F32 ? 4 : dtype == TRINE_F16 || dtype == TRINE_BF16 ? 2 : 1;
}

/* Address of element i. */
static inline const char *element(const void *p, trine_dtype dtype, int64_t i) { return (const char *)p + i * size_of(dtype); }

/* n elements, `stride` apart, as f32: in buffer, or where they are. n is at most SPAN_MAX. Where it converts, it asks for what
 * lies behind them, which a walk in lines wants next: the conversion keeps the processor from looking ahead by itself. */
static inline const float *load_line(float *buffer, const void *p, trine_dtype dtype, int64_t first, int64_t n, int64_t stride)
{
    enum { LINE_BYTES = 64 };
    const char *from = element(p, dtype, first);
    if (stride != 1 && n != 1) return span_load_strided(buffer, from, dtype, n, stride);
    const int64_t bytes = n * size_of(dtype);
    for (int64_t i = bytes; dtype != TRINE_F32 && i < 2 * bytes; i += LINE_BYTES) __builtin_prefetch(from + i);
    return span_load(buffer, from, dtype, n);
}

/* n terms of a row of a from k on, in buffer. */
static inline void load_row(float *buffer, const trine_product *p, const product_place *at, int64_t row, int64_t k, int64_t n)
{
    const float *line = load_line(buffer, p->a, p->dtype, at->a + row * p->a_m + k * p->a_k, n, p->a_k);
    if (line != buffer) memcpy(buffer, line, (size_t)n * sizeof *buffer);
}

/* True if d is to be the sums as they are. */
static inline bool is_plain(const trine_product *p)
{
    return p->alpha == 1.0f && !p->has_c && !p->has_bias && p->activation == TRINE_ACT_IDENTITY;
}

static void add_bias(const trine_product *p, int64_t row, int64_t column, float *sums, int64_t n)
{
    SPAN_BUFFER(buffer);
    const float *bias = load_line(buffer, p->bias, p->bias_dtype, row * p->bias_m + column * p->bias_n, p->bias_n ? n : 1, 1);
    if (p->bias_n)
        for (int64_t j = 0; j < n; j++) sums[j] += bias[j];
    else
        for (int64_t j = 0; j < n; j++) sums[j] += bias[0];
}

/* At most SPAN_MAX elements; in place. */
static void finish_span(const trine_product *p, const product_place *at, int64_t row, int64_t column, float *sums, int64_t n)
{
    const float alpha = p->alpha, beta = p->beta;
    if (alpha != 1.0f)
        for (int64_t j = 0; j < n; j++) sums[j] *= alpha;
    if (p->has_c) {
        SPAN_BUFFER(buffer);
        const float *c = load_line(buffer, p->c, p->c_dtype, at->c + row * p->c_m + column * p->c_n, n, p->c_n);
        for (int64_t j = 0; j < n; j++) sums[j] = TRINE_FMA(beta, c[j], sums[j]);
    }
    if (p->has_bias) add_bias(p, row, column, sums, n);
    if (p->activation != TRINE_ACT_IDENTITY) activate_span(p->activation, p->activation_alpha, sums, n);
}

/* d = act(alpha sums + beta c + bias) for n columns of a row. sums are overwritten; they may lie in d itself. */
static void finish_row(const trine_product *p, const product_place *at, int64_t row, int64_t column, float *sums, int64_t n)
{
    const bool plain = is_plain(p);
    for (int64_t j = 0, m; j < n; j += m) {
        m = n - j < SPAN_MAX ? n - j : SPAN_MAX;
        void *to = (void *)(uintptr_t)element(p->d, p->d_dtype, at->d + row * p->d_m + column + j);
        if (!plain) finish_span(p, at, row, column + j, sums + j, m);
        if (to != (void *)(sums + j)) span_store(to, p->d_dtype, sums + j, m, false);
    }
}

#endif
