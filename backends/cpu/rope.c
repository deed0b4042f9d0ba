/* Rotary embedding on the CPU. Bound by bytes: sines and cosines are made once a token and serve all of its heads. */
#include "backends/cpu/lanes_store.h"
#include "backends/cpu/vmath.h"
#include "backends/cpu/walk.h"
#include "core/rope_plan.h"

enum { PAIRS = TRINE_ROPE_MAX_DIMS / 2 };

typedef struct job {
    const trine_rope_args *a;
    trine_rope_plan plan;
    trine_rope_steps steps;
    int64_t size;
    bool stream;
} job;

typedef struct angles {
    _Alignas(64) float cosine[PAIRS], sine[PAIRS];
} angles;

static int64_t position_of(const job *j, int64_t token, int64_t offset)
{
    const trine_tensor *p = &j->a->positions;
    if (p->dtype == TRINE_I32) return ((const int32_t *)p->data)[offset];
    if (p->dtype == TRINE_I64) return ((const int64_t *)p->data)[offset];
    return j->a->offset + token % j->plan.turns;
}

static void angles_of_table(const job *j, angles *w, int64_t position)
{
    const trine_tensor *cosine = &j->a->cos, *sine = &j->a->sin;
    const int64_t pairs = j->plan.rotary / 2, size = trine_dtype_bits(cosine->dtype) / 8;
    if (position < 0 || position >= cosine->shape[0]) {
        for (int64_t i = 0; i < pairs; i++) w->cosine[i] = w->sine[i] = NAN;
        return;
    }
    const float *c = span_load(w->cosine, (const char *)cosine->data + position * cosine->stride[0] * size, cosine->dtype, pairs);
    const float *s = span_load(w->sine, (const char *)sine->data + position * sine->stride[0] * size, sine->dtype, pairs);
    if (c != w->cosine) memcpy(w->cosine, c, (size_t)pairs * sizeof *c);
    if (s != w->sine) memcpy(w->sine, s, (size_t)pairs * sizeof *s);
}

static void angles_make(const job *j, angles *w, int64_t position)
{
    const int64_t pairs = j->plan.rotary / 2;
    if (trine_is_given(&j->a->cos))
        angles_of_table(j, w, position);
    else
        for (int64_t i = 0; i < pairs; i++) {
            const uint64_t turn = (uint64_t)position * j->steps.at[i];
            vm_sincos2pi((float)(int32_t)(turn >> 32) * 0x1p-32f, &w->sine[i], &w->cosine[i]);
        }
    for (int64_t i = 0; i < pairs && j->a->inverse; i++) w->sine[i] = -w->sine[i];
}

/* y may be x. */
static void rotate(const job *j, float *y, const float *x, const angles *w)
{
    const int64_t pairs = j->plan.rotary / 2;
    if (j->a->interleaved) {
        for (int64_t i = 0; i < pairs; i++) {
            const float u = x[2 * i], v = x[2 * i + 1], c = w->cosine[i], s = w->sine[i];
            y[2 * i] = TRINE_FMA(u, c, -(v * s));
            y[2 * i + 1] = TRINE_FMA(u, s, v * c);
        }
        return;
    }
    const float *second = x + pairs;
    float *second_y = y + pairs;
#pragma GCC ivdep
    for (int64_t i = 0; i < pairs; i++) {
        const float u = x[i], v = second[i], c = w->cosine[i], s = w->sine[i];
        y[i] = TRINE_FMA(u, c, -(v * s));
        second_y[i] = TRINE_FMA(u, s, v * c);
    }
}

/* Rows follow each other: bytes from what is read to what is asked for meanwhile. */
enum { ROPE_AHEAD = 4096 };

/* A row straight from registers to lines, y on a line: the two halves 32 pairs at a time, interleaved pairs 16 at a time. */
LANES_INLINE void rotate_lines_as(const job *j, char *to, const char *from, const angles *w, trine_dtype dtype, bool interleaved)
{
    const i32x16 even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}, odd = even + 1,
                 low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, high = low + 8;
    const int64_t pairs = j->plan.rotary / 2, size = lanes_size(dtype);
    for (int64_t i = 0; i < pairs; i += interleaved ? LANES : LANES_PUT) {
        f32x16 first[2], second[2];
        const char *ahead = from + ROPE_AHEAD + (interleaved ? 2 : 1) * i * size;
        span_prefetch(ahead, LANES_PUT * size);
        if (!interleaved) span_prefetch(ahead + pairs * size, LANES_PUT * size);
        for (int k = 0; k < (interleaved ? 1 : 2); k++) {
            const int64_t at = interleaved ? 2 * i : i + LANES * k;
            const f32x16 x = lanes_load(from, dtype, at), y = lanes_load(from, dtype, interleaved ? at + LANES : pairs + at),
                         u = interleaved ? __builtin_shuffle(x, y, even) : x, v = interleaved ? __builtin_shuffle(x, y, odd) : y,
                         c = lanes_load(w->cosine, TRINE_F32, i + LANES * k), s = lanes_load(w->sine, TRINE_F32, i + LANES * k);
            first[k] = lanes_fma(u, c, -(v * s));
            second[k] = lanes_fma(u, s, v * c);
        }
        if (interleaved) {
            lanes_put(to + 2 * i * size, dtype, __builtin_shuffle(first[0], second[0], low),
                      __builtin_shuffle(first[0], second[0], high), j->stream);
        } else {
            lanes_put(to + i * size, dtype, first[0], first[1], j->stream);
            lanes_put(to + (pairs + i) * size, dtype, second[0], second[1], j->stream);
        }
    }
}

static void rotate_lines(const job *j, char *to, const char *from, const angles *w)
{
#define LINES(dtype) \
    (j->a->interleaved ? rotate_lines_as(j, to, from, w, dtype, true) : rotate_lines_as(j, to, from, w, dtype, false))
    if (j->a->x.dtype == TRINE_BF16)
        LINES(TRINE_BF16);
    else if (j->a->x.dtype == TRINE_F32)
        LINES(TRINE_F32);
    else
        LINES(TRINE_F16);
#undef LINES
}

static bool in_lines(const job *j, const char *to)
{
    const int64_t group = j->a->interleaved ? LANES_PUT : 2 * LANES_PUT;
    return LANES_PUTS && j->plan.step[0] == 1 && j->plan.step[1] == 1 && j->plan.rotary % group == 0 && (uintptr_t)to % 64 == 0;
}

static void run_row(const job *j, const angles *w, char *to, const char *from)
{
    const trine_dtype dtype = j->a->x.dtype;
    const int64_t *step = j->plan.step, rotary = j->plan.rotary;
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(y);
    if (in_lines(j, to)) {
        rotate_lines(j, to, from, w);
    } else {
        rotate(j, y, cpu_load(buffer, from, dtype, rotary, step[1]), w);
        cpu_store(to, dtype, y, rotary, step[0], j->stream);
    }
    for (int64_t i = rotary, m; to != from && i < j->plan.dims; i += m) {
        m = j->plan.dims - i < SPAN_MAX ? j->plan.dims - i : SPAN_MAX;
        cpu_store(to + i * step[0] * j->size, dtype, cpu_load(buffer, from + i * step[1] * j->size, dtype, m, step[1]), m,
                  step[0], j->stream);
    }
}

/* Rows [begin, end), a token's heads after each other. */
static void run_range(const job *j, cpu_range range)
{
    const int64_t heads = j->plan.heads.numel;
    angles w;
    for (int64_t i = range.begin; i < range.end;) {
        const int64_t token = i / heads, end = (token + 1) * heads < range.end ? (token + 1) * heads : range.end;
        int64_t at_token[TRINE_ITER_OPERANDS], at_head[TRINE_ITER_OPERANDS];
        trine_iter_offsets(&j->plan.tokens, token, at_token);
        angles_make(j, &w, position_of(j, token, j->plan.tokens.operands > 2 ? at_token[2] : 0));
        for (; i < end; i++) {
            trine_iter_offsets(&j->plan.heads, i - token * heads, at_head);
            run_row(j, &w, (char *)j->a->y.data + (at_token[0] + at_head[0]) * j->size,
                    (const char *)j->a->x.data + (at_token[1] + at_head[1]) * j->size);
        }
    }
    span_fence();
}

/* Of many tokens the angles of some are made at once, so that their chains of instructions overlap; then the heads are walked the
 * way they lie: token by token, or, where the tokens of a head follow each other more closely, head by head. */
enum { TOKENS = 16 };

static bool tokens_are_closer(const job *j)
{
    const trine_iter *t = &j->plan.tokens, *h = &j->plan.heads;
    return h->numel > 1 && t->stride[1][t->ndim - 1] < h->stride[1][h->ndim - 1];
}

/* Of y and x: without a division where the heads have one axis. */
static inline void head_offsets(const job *j, int64_t head, int64_t offset[2])
{
    const trine_iter *h = &j->plan.heads;
    int64_t at[TRINE_ITER_OPERANDS];
    if (h->ndim > 1) trine_iter_offsets(h, head, at);
    for (int k = 0; k < 2; k++) offset[k] = h->ndim > 1 ? at[k] : head * h->stride[k][0];
}

static void run_tokens(const job *j, cpu_range tokens)
{
    const bool closer = tokens_are_closer(j);
    const int64_t heads = j->plan.heads.numel;
    angles w[TOKENS];
    int64_t at[TOKENS][TRINE_ITER_OPERANDS];
    for (int64_t first = tokens.begin, n; first < tokens.end; first += n) {
        n = tokens.end - first < TOKENS ? tokens.end - first : TOKENS;
        for (int64_t i = 0; i < n; i++) {
            trine_iter_offsets(&j->plan.tokens, first + i, at[i]);
            angles_make(j, &w[i], position_of(j, first + i, j->plan.tokens.operands > 2 ? at[i][2] : 0));
        }
        const int64_t outer = closer ? heads : n, inner = closer ? n : heads;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t k = 0; k < inner; k++) {
                const int64_t i = closer ? k : o, head = closer ? o : k;
                int64_t at_head[2];
                head_offsets(j, head, at_head);
                run_row(j, &w[i], (char *)j->a->y.data + (at[i][0] + at_head[0]) * j->size,
                        (const char *)j->a->x.data + (at[i][1] + at_head[1]) * j->size);
            }
    }
    span_fence();
}

trine_status TRINE_CPU(rope)(trine_call *call, const trine_rope_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    job j = {.a = a, .plan = trine_rope_plan_make(a), .size = trine_dtype_bits(a->x.dtype) / 8};
    const int64_t rows = j.plan.tokens.numel * j.plan.heads.numel;
    if (rows == 0 || j.plan.dims == 0) return TRINE_OK;
    if (!trine_is_given(&a->cos)) trine_rope_steps_make(&j.steps, a->base, a->scaling, j.plan.rotary);
    j.stream = span_should_stream(rows * j.plan.dims * j.size);
    const int64_t grain = (CPU_GRAIN + j.plan.dims - 1) / j.plan.dims;
    if (j.plan.tokens.numel >= 4 * TOKENS) {
        CPU_PARALLEL_FOR(range, j.plan.tokens.numel, TOKENS) run_tokens(&j, range);
        return TRINE_OK;
    }
    CPU_PARALLEL_FOR(range, rows, grain) run_range(&j, range);
    return TRINE_OK;
}
