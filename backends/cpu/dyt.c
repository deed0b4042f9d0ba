/* Dynamic tanh on the CPU. Bound by bytes in f32, by the tanh, about 25 vector instructions for 16 elements
 * (with AVX-512 forward 15, pieces.h), in 16 bits. */
#include "backends/cpu/lanes_store.h"
#include "backends/cpu/pieces.h"
#include "backends/cpu/vmath.h"
#include "backends/cpu/walk.h"

/* A parameter as an operand that broadcasts: of one element where it is not given. */
static trine_tensor parameter_or(const trine_tensor *t, const float *otherwise)
{
    return trine_is_given(t) ? *t : trine_tensor_make((void *)otherwise, TRINE_F32, 0, NULL);
}

/* ---- Forward ---- */

typedef struct forward_context {
    trine_dtype dtype, gamma, beta;
    float alpha;
} forward_context;

/* Bytes ahead of what is computed that memory is asked for. */
enum { DYT_AHEAD = 4096 };

/* y, but 0 where t < low. */
LANES_INLINE f32x16 dyt_unless_below(f32x16 t, float low, f32x16 y)
{
#if defined __AVX512F__
    return (f32x16)_mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)t, _mm512_set1_ps(low), _CMP_NLT_UQ), (__m512)y);
#else
    return (f32x16)((i32x16)y & ~(t < lanes_of(low)));
#endif
}

/* y, but where the slope is 0 its limit: 0, or dy where that is NaN. */
LANES_INLINE f32x16 dyt_or_limit(f32x16 y, f32x16 slope, f32x16 dy)
{
#if defined __AVX512F__
    const __m512 nan = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask((__m512)dy, (__m512)dy, _CMP_UNORD_Q), (__m512)dy);
    return (f32x16)_mm512_mask_mov_ps((__m512)y, _mm512_cmp_ps_mask((__m512)slope, _mm512_setzero_ps(), _CMP_EQ_OQ), nan);
#else
    const i32x16 none = slope == 0, nan = dy != dy;
    return (f32x16)(((i32x16)y & ~none) | ((i32x16)dy & nan & none));
#endif
}

enum { DYT_VECTORS = 4 };
#define DYT_EACH(statement) _Pragma("GCC unroll 4") for (int k = 0; k < count; k++) statement

/* vm_tanh of the numbers of some vectors, which go side by side: one alone would wait for itself. With e^-2|v| = z = 2^n (1 + p):
 * -tanh |v| = (z - 1) / (z + 1), z - 1 as 2^n p + (2^n - 1), which is accurate near 0, too. slope: NULL, or for 1 - tanh^2 =
 * 4 z / (z + 1)^2: 0 where it is below 2^-122. */
LANES_INLINE void dyt_tanh(f32x16 *v, f32x16 *slope, int count)
{
    const float end = slope ? -43.0f : -9.5f;
    f32x16 down[DYT_VECTORS], t[DYT_VECTORS], r[DYT_VECTORS], p[DYT_VECTORS], q[DYT_VECTORS];
    DYT_EACH(down[k] = lanes_larger(lanes_of(end), (f32x16)((i32x16)v[k] | INT32_MIN))); /* -|v|; NaN stays */
    DYT_EACH(t[k] = lanes_fma(down[k], lanes_of(2.0f * VM_LOG2E), lanes_of(VM_ROUND + 127.0f)));
    DYT_EACH(r[k] = t[k] - (VM_ROUND + 127.0f));
    DYT_EACH(r[k] = lanes_fma(r[k], lanes_of(-0.693147182f), down[k] + down[k]));
    DYT_EACH(t[k] = (f32x16)((u32x16)t[k] << 23));
    DYT_EACH(p[k] = lanes_fma(lanes_of(0.00836645346f), r[k], lanes_of(0.041667439f)));
    DYT_EACH(q[k] = lanes_fma(lanes_of(0.16666545f), r[k], lanes_of(0.49999997f)));
    DYT_EACH(down[k] = r[k] * r[k]);
    DYT_EACH(p[k] = lanes_fma(lanes_of(0.0013870555f), down[k], p[k]));
    DYT_EACH(p[k] = lanes_fma(p[k], down[k], q[k]));
    DYT_EACH(p[k] = lanes_fma(p[k], down[k], r[k]));
    DYT_EACH(r[k] = lanes_fma(t[k], p[k], t[k] - 1.0f));
    if (slope) {
        DYT_EACH(t[k] = lanes_fma(t[k], p[k], t[k]));
        DYT_EACH(q[k] = 1.0f / (t[k] + 1.0f));
        DYT_EACH(p[k] = r[k] * q[k]);
        DYT_EACH(t[k] = 4.0f * t[k] * (q[k] * q[k]));
        DYT_EACH(slope[k] = dyt_unless_below((f32x16)((i32x16)v[k] | INT32_MIN), end, t[k]));
    } else {
        DYT_EACH(p[k] = r[k] / (r[k] + 2.0f));
    }
    DYT_EACH(v[k] = (f32x16)(((i32x16)p[k] & INT32_MAX) | ((i32x16)v[k] & INT32_MIN)));
}

/* From memory to whole lines of it: elements [i, i + 16 count). */
LANES_INLINE void forward_put_some(char *y, const char *x, trine_dtype dtype, f32x16 alpha, const float *gamma, const float *beta,
                                   int64_t i, bool stream, int count)
{
    const char *const next = x + i * lanes_size(dtype) + ask_distance(DYT_AHEAD);
    f32x16 v[DYT_VECTORS];
    DYT_EACH(v[k] = alpha * lanes_load(x, dtype, i + LANES * k));
#if BY_PIECES
    if (dtype != TRINE_F32)
        pieces_tanh(v, count);
    else
#endif
        dyt_tanh(v, NULL, count);
    DYT_EACH(v[k] = lanes_fma(lanes_load(gamma, TRINE_F32, i + LANES * k), v[k], lanes_load(beta, TRINE_F32, i + LANES * k)));
    lanes_put_asking(y + i * lanes_size(dtype), dtype, v, count, stream, &next, 1);
}

/* n: a multiple of LANES_PUT. */
LANES_INLINE void forward_put_as(char *y, const char *x, trine_dtype dtype, float alpha, const float *gamma, const float *beta,
                                 int64_t n, bool stream)
{
    const f32x16 factor = lanes_of(alpha);
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) forward_put_some(y, x, dtype, factor, gamma, beta, i, stream, 4);
    if (i < n) forward_put_some(y, x, dtype, factor, gamma, beta, i, stream, 2);
}

static void forward_put(char *y, const char *x, trine_dtype dtype, float alpha, const float *gamma, const float *beta, int64_t n,
                        bool stream)
{
    dtype == TRINE_F32    ? forward_put_as(y, x, TRINE_F32, alpha, gamma, beta, n, stream)
    : dtype == TRINE_BF16 ? forward_put_as(y, x, TRINE_BF16, alpha, gamma, beta, n, stream)
                          : forward_put_as(y, x, TRINE_F16, alpha, gamma, beta, n, stream);
}

/* Operands: y, x, gamma, beta. */
static void forward_run(const void *user, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const forward_context *c = user;
    const int64_t size = trine_dtype_bits(c->dtype) / 8, gamma_size = trine_dtype_bits(c->gamma) / 8,
                  beta_size = trine_dtype_bits(c->beta) / 8;
    const float alpha = c->alpha;
    const bool put = LANES_PUTS && step[0] == 1 && step[1] == 1;
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(gamma_buffer);
    SPAN_BUFFER(beta_buffer);
    SPAN_BUFFER(y);
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        const int64_t lines = lanes_to_put(put, to, c->dtype, n - i < SPAN_MAX ? n - i : SPAN_MAX, &m);
        if (lines > 0) m = lines;
        const float *gamma = cpu_load(gamma_buffer, p[2] + i * step[2] * gamma_size, c->gamma, m, step[2]);
        const float *beta = cpu_load(beta_buffer, p[3] + i * step[3] * beta_size, c->beta, m, step[3]);
        if (lines > 0) {
            forward_put(to, p[1] + i * size, c->dtype, alpha, gamma, beta, m, stream);
            continue;
        }
        const float *x = cpu_load(x_buffer, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        for (int64_t j = 0; j < m; j++) y[j] = TRINE_FMA(gamma[j], vm_tanh(alpha * x[j]), beta[j]);
        cpu_store(to, c->dtype, y, m, step[0], stream);
    }
}

trine_status TRINE_CPU(dyt)(trine_call *call, const trine_dyt_args *a)
{
    static const float one = 1, zero = 0;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    const trine_tensor gamma = parameter_or(&a->gamma, &one), beta = parameter_or(&a->beta, &zero);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &a->x, &gamma, &beta}, 4);
    cpu_walk_run(&w, forward_run, &(forward_context){a->x.dtype, gamma.dtype, beta.dtype, *(const float *)a->alpha.data});
    return TRINE_OK;
}

/* ---- Backward: rows are cut into slices, columns into tiles. A tile of a slice sums its columns, in f32 over a few rows and in
 * f64 above; the slices' sums are added in their order, whoever made them. Two rows go together, for the sums of columns to be
 * loaded and stored half as often. ---- */

enum { SLICES = 16, SLICE_ROWS = 64, F32_ROWS = 32, TILE = 8192, TOGETHER = 2 };

typedef struct backward_job {
    const trine_dyt_backward_args *a;
    trine_iter rows; /* dx, x, dy */
    int64_t n, size, slices, slice, tiles;
    int64_t step[3];
    float alpha;
    bool stream;
    double *dgamma, *dbeta; /* slices x n */
    double *dalpha;         /* slices x tiles */
} backward_job;

typedef struct tile_sums {
    _Alignas(64) float dgamma[TILE], dbeta[TILE];
} tile_sums;

/* What two rows and their columns have at one place: elements [i, i + 32) of each. Returns what they add to dalpha. */
typedef struct row_pair {
    char *dx[TOGETHER];
    const char *x[TOGETHER], *dy[TOGETHER];
    const float *gamma;
    float *dgamma, *dbeta;
} row_pair;

LANES_INLINE void backward_put_some(const row_pair *p, trine_dtype dtype, f32x16 alpha, int64_t i, bool stream, f32x16 *dalpha)
{
    const int count = TOGETHER;
    const int64_t size = lanes_size(dtype);
    f32x16 dx[TOGETHER][2];
    for (int r = 0; r < TOGETHER; r++) {
        lanes_ask(p->x[r] + i * size + DYT_AHEAD, (int)size / 2);
        lanes_ask(p->dy[r] + i * size + DYT_AHEAD, (int)size / 2);
    }
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        const int64_t at = i + LANES * half;
        const f32x16 gamma = lanes_load(p->gamma, TRINE_F32, at);
        f32x16 x[TOGETHER], dy[TOGETHER], tanh[TOGETHER], slope[TOGETHER];
        f32x16 dgamma = lanes_load(p->dgamma, TRINE_F32, at), dbeta = lanes_load(p->dbeta, TRINE_F32, at);
        DYT_EACH(x[k] = lanes_load(p->x[k], dtype, at));
        DYT_EACH(tanh[k] = alpha * x[k]);
        dyt_tanh(tanh, slope, count);
        DYT_EACH(dy[k] = lanes_load(p->dy[k], dtype, at));
        DYT_EACH(dgamma = lanes_fma(dy[k], tanh[k], dgamma));
        DYT_EACH(dbeta += dy[k]);
        memcpy(p->dgamma + at, &dgamma, sizeof dgamma);
        memcpy(p->dbeta + at, &dbeta, sizeof dbeta);
        DYT_EACH(tanh[k] = dy[k] * gamma * slope[k]);
        DYT_EACH(dalpha[k] += dyt_or_limit(tanh[k] * x[k], slope[k], dy[k]));
        DYT_EACH(dx[k][half] = alpha * tanh[k]);
    }
    for (int r = 0; r < TOGETHER; r++) lanes_put(p->dx[r] + i * size, dtype, dx[r][0], dx[r][1], stream);
}

/* n: a multiple of LANES_PUT. */
LANES_INLINE float backward_put_as(const row_pair *pair, trine_dtype dtype, float alpha, int64_t n, bool stream)
{
    const row_pair own = *pair;
    const f32x16 factor = lanes_of(alpha);
    f32x16 dalpha[TOGETHER] = {{0}, {0}};
    for (int64_t i = 0; i < n; i += LANES_PUT) backward_put_some(&own, dtype, factor, i, stream, dalpha);
    return lanes_sum(dalpha[0] + dalpha[1]);
}

static float backward_put(const row_pair *pair, trine_dtype dtype, float alpha, int64_t n, bool stream)
{
    return dtype == TRINE_F32    ? backward_put_as(pair, TRINE_F32, alpha, n, stream)
           : dtype == TRINE_BF16 ? backward_put_as(pair, TRINE_BF16, alpha, n, stream)
                                 : backward_put_as(pair, TRINE_F16, alpha, n, stream);
}

/* dx of a span; adds to the columns' sums; returns the span's part of dalpha. */
static float backward_span(float alpha, float *restrict dx, const float *x, const float *dy, const float *gamma,
                           float *restrict dgamma, float *restrict dbeta, int64_t n)
{
    float dalpha = 0;
#pragma omp simd reduction(+ : dalpha)
    for (int64_t i = 0; i < n; i++) {
        const float v = alpha * x[i], z = vm_exp_minus_abs(2.0f * v), d = 1.0f + z, slope = 4.0f * z / (d * d);
        const float inner = dy[i] * gamma[i] * slope;
        const float none = dy[i] == dy[i] ? 0.0f : dy[i];
        dgamma[i] += dy[i] * vm_tanh(v);
        dbeta[i] += dy[i];
        dalpha += slope == 0.0f ? none : inner * x[i]; /* the limit, where x is inf; with && it would be no vector loop */
        dx[i] = inner * alpha;
    }
    return dalpha;
}

static void flush(tile_sums *sums, double *dgamma, double *dbeta, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dgamma[i] += (double)sums->dgamma[i];
        dbeta[i] += (double)sums->dbeta[i];
        sums->dgamma[i] = sums->dbeta[i] = 0;
    }
}

/* Columns [from, from + n) of a row, n at most a span. */
static float backward_row(const backward_job *j, char *const *at, int64_t from, int64_t n, const float *gamma, tile_sums *sums)
{
    const trine_dtype dtype = j->a->x.dtype;
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(dy_buffer);
    SPAN_BUFFER(dx);
    const float *x = cpu_load(x_buffer, at[1] + from * j->step[1] * j->size, dtype, n, j->step[1]);
    const float *dy = cpu_load(dy_buffer, at[2] + from * j->step[2] * j->size, dtype, n, j->step[2]);
    const float dalpha = backward_span(j->alpha, dx, x, dy, gamma + from, sums->dgamma + from, sums->dbeta + from, n);
    cpu_store(at[0] + from * j->step[0] * j->size, dtype, dx, n, j->step[0], j->stream);
    return dalpha;
}

/* Two rows: lines of dx from registers where both have them at the same columns, what is left by spans. */
static double backward_pair(const backward_job *j, char *at[TOGETHER][3], int64_t n, const float *gamma, tile_sums *sums)
{
    double dalpha = 0;
    const bool dense = j->step[0] == 1 && j->step[1] == 1 && j->step[2] == 1;
    const uintptr_t off = (uintptr_t)at[0][0] % 64;
    const bool put = LANES_PUTS && dense && (!j->stream || (off == (uintptr_t)at[1][0] % 64 && off % (uintptr_t)j->size == 0));
    int64_t i = 0;
    if (put) {
        const int64_t first = j->stream && off ? (int64_t)(64 - off) / j->size : 0, head = first < n ? first : n;
        const int64_t lines = (n - head) / LANES_PUT * LANES_PUT, bytes = head * j->size;
        for (int r = 0; r < TOGETHER && head; r++) dalpha += (double)backward_row(j, at[r], 0, head, gamma, sums);
        const row_pair pair = {{at[0][0] + bytes, at[1][0] + bytes},
                               {at[0][1] + bytes, at[1][1] + bytes},
                               {at[0][2] + bytes, at[1][2] + bytes},
                               gamma + head,
                               sums->dgamma + head,
                               sums->dbeta + head};
        dalpha += (double)backward_put(&pair, j->a->x.dtype, j->alpha, lines, j->stream);
        i = head + lines;
    }
    for (int64_t m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        for (int r = 0; r < TOGETHER; r++) dalpha += (double)backward_row(j, at[r], i, m, gamma, sums);
    }
    return dalpha;
}

static void backward_at(const backward_job *j, int64_t row, int64_t column, char **at)
{
    const trine_dyt_backward_args *a = j->a;
    char *const data[] = {a->dx.data, a->x.data, a->dy.data};
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&j->rows, row, offset);
    for (int k = 0; k < 3; k++) at[k] = data[k] + (offset[k] + column * j->step[k]) * j->size;
}

/* gamma's columns as f32. */
static const float *backward_factors(const trine_tensor *gamma, int64_t column, int64_t n, float *to)
{
    const bool given = trine_is_given(gamma);
    const int64_t size = given ? trine_dtype_bits(gamma->dtype) / 8 : 0;
    if (given && gamma->dtype == TRINE_F32) return (const float *)gamma->data + column;
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        for (int64_t k = 0; k < m && !given; k++) to[i + k] = 1;
        const float *from = given ? span_load(to + i, (const char *)gamma->data + (column + i) * size, gamma->dtype, m) : to + i;
        if (from != to + i) memcpy(to + i, from, (size_t)m * sizeof *to);
    }
    return to;
}

static void backward_tile(const backward_job *j, int64_t slice, int64_t tile)
{
    const int64_t column = tile * TILE, n = j->n - column < TILE ? j->n - column : TILE;
    const int64_t begin = slice * j->slice, end = begin + j->slice < j->rows.numel ? begin + j->slice : j->rows.numel;
    double *dgamma = j->dgamma + slice * j->n + column, *dbeta = j->dbeta + slice * j->n + column, dalpha = 0;
    _Alignas(64) float buffer[TILE];
    tile_sums sums;
    const float *gamma = backward_factors(&j->a->gamma, column, n, buffer);
    for (int64_t i = 0; i < n; i++) sums.dgamma[i] = sums.dbeta[i] = 0;
    for (int64_t i = 0; i < n; i++) dgamma[i] = dbeta[i] = 0;
    for (int64_t row = begin, some; row < end; row += some) {
        char *at[TOGETHER][3];
        some = end - row < TOGETHER ? end - row : TOGETHER;
        for (int64_t r = 0; r < some; r++) backward_at(j, row + r, column, at[r]);
        if (some == TOGETHER)
            dalpha += backward_pair(j, at, n, gamma, &sums);
        else
            for (int64_t i = 0; i < n; i += SPAN_MAX)
                dalpha += (double)backward_row(j, at[0], i, n - i < SPAN_MAX ? n - i : SPAN_MAX, gamma, &sums);
        if ((row - begin) % F32_ROWS == F32_ROWS - TOGETHER) flush(&sums, dgamma, dbeta, n);
    }
    flush(&sums, dgamma, dbeta, n);
    j->dalpha[slice * j->tiles + tile] = dalpha;
}

static void put_columns(const backward_job *j, const trine_tensor *to, const double *sums)
{
    if (!trine_is_given(to)) return;
    SPAN_BUFFER(out);
    for (int64_t i = 0, m; i < j->n; i += m) {
        m = j->n - i < SPAN_MAX ? j->n - i : SPAN_MAX;
        for (int64_t k = 0; k < m; k++) {
            double sum = 0;
            for (int64_t s = 0; s < j->slices; s++) sum += sums[s * j->n + i + k];
            out[k] = (float)sum;
        }
        span_store((char *)to->data + i * (trine_dtype_bits(to->dtype) / 8), to->dtype, out, m, false);
    }
}

trine_status TRINE_CPU(dyt_backward)(trine_call *call, const trine_dyt_backward_args *a)
{
    backward_job j = {.a = a, .size = trine_dtype_bits(a->x.dtype) / 8};
    const trine_tensor *tensors[] = {&a->dx, &a->x, &a->dy};
    j.rows = trine_iter_rows(tensors, 3, &j.n);
    for (int k = 0; k < 3; k++) j.step[k] = tensors[k]->stride[tensors[k]->ndim - 1];
    j.tiles = (j.n + TILE - 1) / TILE;
    j.slices = j.rows.numel / SLICE_ROWS < SLICES ? j.rows.numel / SLICE_ROWS : SLICES;
    if (j.slices < 1) j.slices = 1;
    j.slice = (j.rows.numel + j.slices - 1) / j.slices;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, (size_t)(j.slices * (2 * j.n + j.tiles)) * sizeof(double));
    j.dgamma = call->workspace;
    j.dbeta = j.dgamma + j.slices * j.n;
    j.dalpha = j.dbeta + j.slices * j.n;
    j.alpha = *(const float *)a->alpha.data;
    j.stream = span_should_stream(j.rows.numel * j.n * j.size);
    CPU_PARALLEL_FOR(range, j.slices * j.tiles, 1)
    {
        for (int64_t task = range.begin; task < range.end; task++) backward_tile(&j, task / j.tiles, task % j.tiles);
        span_fence();
    }
    put_columns(&j, &a->dgamma, j.dgamma);
    put_columns(&j, &a->dbeta, j.dbeta);
    double dalpha = 0;
    for (int64_t i = 0; i < j.slices * j.tiles; i++) dalpha += j.dalpha[i];
    if (trine_is_given(&a->dalpha)) *(float *)a->dalpha.data = (float)dalpha;
    return TRINE_OK;
}
