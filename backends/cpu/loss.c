/* Losses on the CPU; cross_entropy.h has that one. Those that go element by element are bound by bytes: spans are computed in L1;
 * sums are made chunk by chunk and added up in the order of the chunks, whoever made them. */
#include <math.h>

#include "backends/cpu/cross_entropy.h"
#include "backends/cpu/lanes_log.h"
#include "backends/cpu/vmath.h"
#include "backends/cpu/walk.h"

/* ---- Element by element ---- */

enum { PAIR_CHUNK = 32768 };

/* y = losses, or slopes, of n <= SPAN_MAX pairs; `own` is the op's attribute. y may be x or t. */
typedef void (*pair_fn)(float *y, const float *x, const float *t, float own, int64_t n);

#define PAIR(name, expression) \
    static void name(float *y, const float *x, const float *t, float own, int64_t n) \
    { \
        (void)own, (void)x, (void)t; \
        for (int64_t i = 0; i < n; i++) y[i] = (expression); \
    }
static inline float huber_of(float d, float delta)
{
    const float a = fabsf(d), square = 0.5f * a * a, line = delta * (a - 0.5f * delta);
    return a <= delta ? square : line;
}
static inline float huber_slope(float d, float delta)
{
    const float low = d < -delta ? -delta : d; /* NaN stays */
    return low > delta ? delta : low;
}
static inline float kl_of(float x, float t)
{
    const float y = t * (vm_log(t) - x);
    return t == 0 ? 0 : y;
}
static inline float kl_log_of(float x, float t)
{
    const float y = vm_exp(t) * (t - x);
    return t == -INFINITY ? 0 : y;
}
PAIR(mse_loss, (x[i] - t[i]) * (x[i] - t[i]))
PAIR(mse_slope, 2.0f * (x[i] - t[i]))
PAIR(huber_loss, huber_of(x[i] - t[i], own))
PAIR(huber_slopes, huber_slope(x[i] - t[i], own))
PAIR(kl_loss, kl_of(x[i], t[i]))
PAIR(kl_slope, -t[i])
PAIR(kl_log_loss, kl_log_of(x[i], t[i]))
PAIR(kl_log_slope, -vm_exp(t[i]))

typedef struct pair {
    pair_fn f;
    float own;   /* the op's attribute */
    float scale; /* of slopes */
    bool backward;
    trine_dtype dtype;
} pair;

/* What a sum is divided by. */
static double loss_divisor(const trine_tensor *x, trine_loss_reduction reduction)
{
    return reduction == TRINE_LOSS_MEAN         ? (double)trine_tensor_numel(x)
           : reduction == TRINE_LOSS_BATCH_MEAN ? (double)x->shape[0]
                                                : 1;
}

/* p: the losses (f32), x, target; or dx, x, target, dloss (f32). */
static void pair_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    SPAN_BUFFER(buffer_x);
    SPAN_BUFFER(buffer_t);
    SPAN_BUFFER(buffer_g);
    SPAN_BUFFER(out);
    const pair *c = context;
    const trine_dtype out_dtype = c->backward ? c->dtype : TRINE_F32;
    const int64_t size = trine_dtype_bits(c->dtype) / 8, out_size = trine_dtype_bits(out_dtype) / 8;
    const bool target_alone = c->f == kl_slope || c->f == kl_log_slope;
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < SPAN_MAX ? n - i : SPAN_MAX;
        const float *x = target_alone ? buffer_x : cpu_load(buffer_x, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *t = cpu_load(buffer_t, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        c->f(out, x, t, c->own, m);
        if (c->backward) {
            const float *g = cpu_load(buffer_g, p[3] + i * step[3] * 4, TRINE_F32, m, step[3]);
            for (int64_t j = 0; j < m; j++) out[j] *= g[j] * c->scale;
        }
        cpu_store(p[0] + i * step[0] * out_size, out_dtype, out, m, step[0], stream);
    }
}

/* Sums of dense pairs straight from memory, of whole vectors; about: huber's delta. */
LANES_INLINE f32x16 huber_lanes(f32x16 d, f32x16 delta)
{
    const f32x16 a = (f32x16)((i32x16)d & 0x7fffffff), square = 0.5f * a * a, line = delta * (a - 0.5f * delta);
    const i32x16 near = a <= delta;
    return (f32x16)(((i32x16)square & near) | ((i32x16)line & ~near));
}
LANES_SUM(mse_lanes, 2, s + (a - b) * (a - b))
LANES_SUM(huber_sum, 2, s + huber_lanes(a - b, about))
#if LANES_LOG
/* target (log target - x), 0 where target is. */
LANES_INLINE f32x16 kl_lanes(f32x16 x, f32x16 t)
{
    const __mmask16 some = _mm512_cmp_ps_mask((__m512)t, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    return (f32x16)_mm512_maskz_mov_ps(some, (__m512)(t * (lanes_log(t) - x)));
}
LANES_SUM(kl_sum, 2, s + kl_lanes(a, b))
#endif
typedef float (*pair_sum_fn)(const lanes_input *in, float about);

/* NULL: the op has none. */
static pair_sum_fn pair_sum_of(const pair *c)
{
#if LANES_LOG
    if (c->f == kl_loss) return kl_sum;
#endif
    return c->f == mse_loss ? mse_lanes : c->f == huber_loss ? huber_sum : NULL;
}

/* Pairs [begin, end) of dense arrays, at most PAIR_CHUNK; a multiple of LANES. */
static double dense_sum(const pair *c, pair_sum_fn sum_of, const char *x, const char *t, int64_t n)
{
    enum { PART = 4096, AHEAD = 8192 };
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    double sum = 0;
    for (int64_t i = 0, m; i < n; i += m) {
        const char *const at[] = {x + i * size, t + i * size};
        m = n - i < PART ? n - i : PART;
        const lanes_input in = {
            .x = {at[0], at[1]}, .dtype = c->dtype, .n = m, .ahead = {at[0] + AHEAD, at[1] + AHEAD}, .lines = (int)size};
        sum += (double)sum_of(&in, c->own);
    }
    return sum;
}

/* The sum of chunk `index` of the walk over x and target. */
static double chunk_sum(const pair *c, const trine_iter *runs, const int64_t *step, int64_t n, int64_t chunks, int64_t index,
                        const char *x, const char *t)
{
    SPAN_BUFFER(out);
    int64_t offset[TRINE_ITER_OPERANDS];
    const int64_t size = trine_dtype_bits(c->dtype) / 8, begin = index % chunks * PAIR_CHUNK,
                  end = begin + PAIR_CHUNK < n ? begin + PAIR_CHUNK : n;
    double sum = 0;
    trine_iter_offsets(runs, index / chunks, offset);
    const int64_t whole = pair_sum_of(c) && step[0] == 1 && step[1] == 1 ? (end - begin) / LANES * LANES : 0;
    if (whole > 0) sum = dense_sum(c, pair_sum_of(c), x + (offset[0] + begin) * size, t + (offset[1] + begin) * size, whole);
    for (int64_t i = begin + whole, m; i < end; i += m) {
        m = end - i < SPAN_MAX ? end - i : SPAN_MAX;
        char *const p[] = {(char *)out, (char *)(uintptr_t)(x + (offset[0] + i * step[0]) * size),
                           (char *)(uintptr_t)(t + (offset[1] + i * step[1]) * size)};
        pair_run(c, p, (const int64_t[]){1, step[0], step[1]}, m, false);
        sum += (double)entropy_sum(&(lanes_input){.x = {out}, .dtype = TRINE_F32, .n = m}, 0);
    }
    return sum;
}

static trine_status pair_forward(trine_call *call, pair c, const trine_tensor *x, const trine_tensor *target,
                                 const trine_tensor *loss, trine_loss_reduction reduction)
{
    const trine_tensor *all[] = {loss, x, target}, *inputs[] = {x, target};
    c.dtype = x->dtype;
    call->variant = TRINE_CPU_VARIANT;
    if (reduction == TRINE_LOSS_NONE) {
        TRINE_END_OF_QUERY(call, 0);
        if (trine_tensor_numel(x) == 0) return TRINE_OK;
        const cpu_walk w = cpu_walk_make(all, 3);
        cpu_walk_run(&w, pair_run, &c);
        return TRINE_OK;
    }
    trine_iter runs = trine_iter_make(inputs, 2, 0);
    int64_t step[TRINE_ITER_OPERANDS];
    const int64_t n = trine_iter_pop_inner(&runs, step), chunks = (n + PAIR_CHUNK - 1) / PAIR_CHUNK,
                  tasks = n ? runs.numel * chunks : 0;
    TRINE_END_OF_QUERY(call, (size_t)tasks * sizeof(double));
    double *sums = call->workspace, sum = 0;
    CPU_PARALLEL_FOR(range, tasks, 1 + CPU_GRAIN / (n < PAIR_CHUNK ? n + 1 : PAIR_CHUNK))
    {
        for (int64_t i = range.begin; i < range.end; i++)
            sums[i] = chunk_sum(&c, &runs, step, n, chunks, i, x->data, target->data);
    }
    for (int64_t i = 0; i < tasks; i++) sum += sums[i];
    *(float *)loss->data = (float)(sum / loss_divisor(x, reduction));
    return TRINE_OK;
}

static trine_status pair_backward(trine_call *call, pair c, const trine_tensor *x, const trine_tensor *target,
                                  const trine_tensor *dloss, const trine_tensor *dx, trine_loss_reduction reduction)
{
    const trine_tensor one = {.data = dloss->data, .dtype = TRINE_F32};
    const trine_tensor *all[] = {dx, x, target, reduction == TRINE_LOSS_NONE ? dloss : &one};
    c.dtype = x->dtype;
    c.backward = true;
    c.scale = (float)(1 / loss_divisor(x, reduction));
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (trine_tensor_numel(x) == 0) return TRINE_OK;
    const cpu_walk w = cpu_walk_make(all, 4);
    cpu_walk_run(&w, pair_run, &c);
    return TRINE_OK;
}

#define PAIR_OP(name, loss_, slope_, own_) \
    trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        return pair_forward(call, (pair){.f = (loss_), .own = (own_)}, &a->x, &a->target, &a->loss, a->reduction); \
    } \
    trine_status TRINE_CPU(name##_backward)(trine_call * call, const trine_##name##_backward_args *a) \
    { \
        return pair_backward(call, (pair){.f = (slope_), .own = (own_)}, &a->x, &a->target, &a->dloss, &a->dx, a->reduction); \
    }
PAIR_OP(mse, mse_loss, mse_slope, 0)
PAIR_OP(huber, huber_loss, huber_slopes, a->delta)
PAIR_OP(kl_div, a->log_target ? kl_log_loss : kl_loss, a->log_target ? kl_log_slope : kl_slope, 0)
