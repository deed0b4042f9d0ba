/* Dynamic tanh on the CPU. Bound by the tanh, about 25 vector instructions an element, or by bytes in f32. */
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

/* Operands: y, x, gamma, beta. */
static void forward_run(const void *user, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const forward_context *c = user;
    const int64_t size = trine_dtype_bits(c->dtype) / 8, gamma_size = trine_dtype_bits(c->gamma) / 8,
                  beta_size = trine_dtype_bits(c->beta) / 8;
    const float alpha = c->alpha;
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(gamma_buffer);
    SPAN_BUFFER(beta_buffer);
    SPAN_BUFFER(y);
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        m = span_length(to, c->dtype, n - i);
        const float *x = cpu_load(x_buffer, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *gamma = cpu_load(gamma_buffer, p[2] + i * step[2] * gamma_size, c->gamma, m, step[2]);
        const float *beta = cpu_load(beta_buffer, p[3] + i * step[3] * beta_size, c->beta, m, step[3]);
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

/* ---- Backward: rows are cut into slices and columns into tiles of a span. A tile of a slice sums its columns, in f32 over a few
 * rows and in f64 above; the slices' sums are added in their order, whoever made them. ---- */

enum { SLICES = 16, SLICE_ROWS = 64, F32_ROWS = 32 };

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
    _Alignas(64) float dgamma[SPAN_MAX], dbeta[SPAN_MAX];
} tile_sums;

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

static void backward_tile(const backward_job *j, int64_t slice, int64_t tile)
{
    static const float one = 1;
    const trine_dyt_backward_args *a = j->a;
    const trine_dtype dtype = a->x.dtype;
    const int64_t column = tile * SPAN_MAX, n = j->n - column < SPAN_MAX ? j->n - column : SPAN_MAX;
    const int64_t begin = slice * j->slice, end = begin + j->slice < j->rows.numel ? begin + j->slice : j->rows.numel;
    const trine_tensor gamma = parameter_or(&a->gamma, &one);
    const int64_t gamma_step = gamma.ndim ? 1 : 0;
    double *dgamma = j->dgamma + slice * j->n + column, *dbeta = j->dbeta + slice * j->n + column, dalpha = 0;
    SPAN_BUFFER(x_buffer);
    SPAN_BUFFER(dy_buffer);
    SPAN_BUFFER(gamma_buffer);
    SPAN_BUFFER(dx);
    tile_sums sums;
    const float *g = cpu_load(gamma_buffer, (const char *)gamma.data + column * gamma_step * (trine_dtype_bits(gamma.dtype) / 8),
                              gamma.dtype, n, gamma_step);
    for (int64_t i = 0; i < n; i++) sums.dgamma[i] = sums.dbeta[i] = 0;
    for (int64_t i = 0; i < n; i++) dgamma[i] = dbeta[i] = 0;
    for (int64_t row = begin; row < end; row++) {
        int64_t offset[TRINE_ITER_OPERANDS];
        trine_iter_offsets(&j->rows, row, offset);
        const float *x =
            cpu_load(x_buffer, (const char *)a->x.data + (offset[1] + column * j->step[1]) * j->size, dtype, n, j->step[1]);
        const float *dy =
            cpu_load(dy_buffer, (const char *)a->dy.data + (offset[2] + column * j->step[2]) * j->size, dtype, n, j->step[2]);
        dalpha += (double)backward_span(j->alpha, dx, x, dy, g, sums.dgamma, sums.dbeta, n);
        cpu_store((char *)a->dx.data + (offset[0] + column * j->step[0]) * j->size, dtype, dx, n, j->step[0], j->stream);
        if ((row - begin) % F32_ROWS == F32_ROWS - 1) flush(&sums, dgamma, dbeta, n);
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
    j.tiles = (j.n + SPAN_MAX - 1) / SPAN_MAX;
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
