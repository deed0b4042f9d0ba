/* Cases of the pool family. The oracle pools one plane of doubles; its gradients are compared with differences (check_gradients).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cases/cases.h"

typedef struct axis {
    int64_t in, out, kernel, stride, padding, dilation;
} axis;

typedef struct plane {
    axis h, w;
    bool average, include_pad;
} plane;

/* Taps of a window that count in an average. */
static int64_t counted(const axis *a, int64_t o, bool include_pad)
{
    int64_t count = 0;
    for (int64_t j = 0; j < a->kernel; j++) {
        const int64_t at = o * a->stride - a->padding + j * a->dilation;
        count += include_pad ? at < a->in + a->padding : at >= 0 && at < a->in;
    }
    return count;
}

static double pooled(const plane *p, const double *x, int64_t oh, int64_t ow, int64_t *index)
{
    double result = p->average ? 0 : -INFINITY;
    *index = -1;
    for (int64_t i = 0; i < p->h.kernel; i++)
        for (int64_t j = 0; j < p->w.kernel; j++) {
            const int64_t h = oh * p->h.stride - p->h.padding + i * p->h.dilation,
                          w = ow * p->w.stride - p->w.padding + j * p->w.dilation;
            if (h < 0 || h >= p->h.in || w < 0 || w >= p->w.in) continue;
            const double v = x[h * p->w.in + w];
            if (p->average) {
                result += v;
            } else if (*index < 0 || v > result || (isnan(v) && !isnan(result))) {
                result = v;
                *index = h * p->w.in + w;
            }
        }
    if (!p->average) return result;
    return result / (double)(counted(&p->h, oh, p->include_pad) * counted(&p->w, ow, p->include_pad));
}

/* dx += what the window (oh, ow) gives. */
static void give(const plane *p, double *dx, int64_t oh, int64_t ow, double dy, int64_t index)
{
    for (int64_t i = 0; i < p->h.kernel; i++)
        for (int64_t j = 0; j < p->w.kernel; j++) {
            const int64_t h = oh * p->h.stride - p->h.padding + i * p->h.dilation,
                          w = ow * p->w.stride - p->w.padding + j * p->w.dilation;
            if (h < 0 || h >= p->h.in || w < 0 || w >= p->w.in) continue;
            if (p->average)
                dx[h * p->w.in + w] += dy / (double)(counted(&p->h, oh, p->include_pad) * counted(&p->w, ow, p->include_pad));
            else if (index == h * p->w.in + w)
                dx[index] += dy;
        }
}

static void check_gradients(void)
{
    enum { H = 5, W = 6, OH = 3, OW = 4 };
    for (int form = 0; form < 3; form++) {
        const plane p = {{H, OH, 3, 2, 1, 1}, {W, OW, 2, 1, 0, 2}, form > 0, form > 1};
        double x[H * W], dx[H * W] = {0};
        int64_t index;
        for (int i = 0; i < H * W; i++) x[i] = (i * 17 % 31) / 7.0;
        for (int64_t o = 0; o < OH * OW; o++) {
            (void)pooled(&p, x, o / OW, o % OW, &index);
            give(&p, dx, o / OW, o % OW, 1 + (double)o, index);
        }
        for (int i = 0; i < H * W; i++) {
            double difference = 0;
            for (int side = -1; side <= 1; side += 2) {
                const double kept = x[i];
                x[i] += side * 0x1p-10;
                for (int64_t o = 0; o < OH * OW; o++)
                    difference += side * (1 + (double)o) * pooled(&p, x, o / OW, o % OW, &index) / 0x1p-9;
                x[i] = kept;
            }
            if (fabs(difference - dx[i]) <= 1e-9) continue;
            fprintf(stderr, "trine: pool's oracle: a gradient is %g, but differences give %g\n", dx[i], difference);
            exit(3);
        }
    }
}

/* ---- Oracles: a unit is an image ---- */

typedef struct image {
    plane p;
    int64_t channels;
    bool last;
} image;

static axis axis_of(const trine_pool_window *w, int32_t i, int64_t in, int64_t out)
{
    return (axis){in, out, w->kernel[i], w->stride[i] ? w->stride[i] : 1, w->padding[i], w->dilation[i] ? w->dilation[i] : 1};
}

static image image_of(const case_tensor *small, const case_tensor *large, const trine_pool_window *w, trine_pool_kind kind,
                      int32_t channels_last)
{
    const int32_t first = channels_last ? 1 : 2, rank = w->rank;
    image m = {.channels = large->shape[channels_last ? rank + 1 : 1], .last = channels_last != 0};
    m.p.w = axis_of(w, rank - 1, large->shape[first + rank - 1], small->shape[first + rank - 1]);
    m.p.h = rank == 2 ? axis_of(w, 0, large->shape[first], small->shape[first]) : (axis){1, 1, 1, 1, 0, 1};
    m.p.average = kind == TRINE_POOL_AVERAGE;
    m.p.include_pad = w->count_include_pad != 0;
    return m;
}

/* Element i of channel c of a plane of n. */
static int64_t element(const image *m, int64_t n, int64_t c, int64_t i) { return m->last ? i * m->channels + c : c * n + i; }

static double *plane_of(const image *m, const case_tensor *t, int64_t unit, int64_t n, int64_t c)
{
    double *values = malloc((size_t)n * sizeof *values + 1);
    if (!values) abort();
    for (int64_t i = 0; i < n; i++) values[i] = case_value(t, unit * n * m->channels + element(m, n, c, i));
    return values;
}

static void oracle_forward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_pool_args *a = (const trine_pool_args *)(const void *)c->args;
    const image m = image_of(case_find(c, "y"), case_find(c, "x"), &a->window, a->kind, a->channels_last);
    const int64_t outs = m.p.h.out * m.p.w.out;
    for (int64_t k = 0; k < m.channels; k++) {
        double *x = plane_of(&m, case_find(c, "x"), unit, m.p.h.in * m.p.w.in, k);
        for (int64_t o = 0; o < outs; o++) {
            int64_t index;
            out[0][element(&m, outs, k, o)] = pooled(&m.p, x, o / m.p.w.out, o % m.p.w.out, &index);
            if (case_find(c, "indices")) out[1][element(&m, outs, k, o)] = (double)index;
        }
        free(x);
    }
}

static void oracle_backward(const test_case *c, int64_t unit, double *const *out)
{
    const trine_pool_backward_args *a = (const trine_pool_backward_args *)(const void *)c->args;
    const case_tensor *indices = case_find(c, "indices");
    const image m = image_of(case_find(c, "dy"), case_find(c, "dx"), &a->window, a->kind, a->channels_last);
    const int64_t outs = m.p.h.out * m.p.w.out, ins = m.p.h.in * m.p.w.in;
    for (int64_t k = 0; k < m.channels; k++) {
        double *dy = plane_of(&m, case_find(c, "dy"), unit, outs, k),
               *index = indices ? plane_of(&m, indices, unit, outs, k) : NULL;
        double *dx = calloc((size_t)ins + 1, sizeof *dx);
        if (!dx) abort();
        for (int64_t o = 0; o < outs; o++) give(&m.p, dx, o / m.p.w.out, o % m.p.w.out, dy[o], index ? (int64_t)index[o] : -1);
        for (int64_t i = 0; i < ins; i++) out[0][element(&m, ins, k, i)] = dx[i];
        free(dy);
        free(index);
        free(dx);
    }
}

/* ---- Cases ---- */

typedef struct pool_case {
    trine_dtype dtype, indices; /* NONE: none */
    trine_pool_kind kind;
    bool last;
    int64_t n, c, h, w;                                                /* h 0: rank 1 */
    int32_t kernel, stride, padding, dilation, ceil_mode, include_pad; /* the other axis: kernel - 1 where that fits */
} pool_case;

static int64_t out_of(int64_t in, int32_t kernel, const pool_case *p)
{
    const int64_t dilation = p->dilation ? p->dilation : 1, stride = p->stride ? p->stride : 1;
    const double room = (double)(in + 2 * p->padding - dilation * (kernel - 1) - 1);
    if (room < 0) return 0;
    int64_t out = (int64_t)(p->ceil_mode ? ceil(room / (double)stride) : floor(room / (double)stride)) + 1;
    if (p->ceil_mode && (out - 1) * stride >= in + p->padding) out--;
    return out;
}

static void shape_of(const pool_case *p, int64_t h, int64_t w, int64_t shape[4])
{
    int32_t d = 0;
    shape[d++] = p->n;
    if (!p->last) shape[d++] = p->c;
    if (p->h) shape[d++] = h;
    shape[d++] = w;
    if (p->last) shape[d++] = p->c;
}

static test_case *new_case(case_list *list, pool_case p, bool backward)
{
    const int32_t rank = p.h ? 2 : 1, other = p.kernel - 1 >= 2 * p.padding && p.kernel > 1 ? p.kernel - 1 : p.kernel;
    const trine_pool_window window = {rank,
                                      {rank == 2 ? other : p.kernel, p.kernel},
                                      {p.stride, p.stride},
                                      {p.padding, p.padding},
                                      {p.dilation, p.dilation},
                                      p.ceil_mode,
                                      p.include_pad};
    int64_t in[4], out[4];
    shape_of(&p, p.h, p.w, in);
    shape_of(&p, out_of(p.h, other, &p), out_of(p.w, p.kernel, &p), out);
    test_case *c = case_new(list, backward ? TRINE_OP_pool_backward : TRINE_OP_pool,
                            "%s %s %s%s %lldx%lldx%lldx%lld kernel %d stride %d padding %d dilation %d%s%s",
                            p.kind == TRINE_POOL_MAX ? "max" : "average", trine_dtype_name(p.dtype),
                            p.last ? "channels last " : "", p.indices ? trine_dtype_name(p.indices) : "", (long long)p.n,
                            (long long)p.c, (long long)p.h, (long long)p.w, (int)p.kernel, (int)p.stride, (int)p.padding,
                            (int)p.dilation, p.ceil_mode ? " ceil" : "", p.include_pad ? " with padding" : "");
    case_set_fill(case_in(c, backward ? "dy" : "x", p.dtype, rank + 2, backward ? out : in), FILL_UNIFORM, -2, 2);
    /* any index: those outside of their window must not count */
    if (backward && p.indices)
        case_set_fill(case_in(c, "indices", p.indices, rank + 2, out), FILL_INTEGERS, -1, (double)((p.h ? p.h : 1) * p.w - 1));
    const int64_t numel = case_out(c, backward ? "dx" : "y", p.dtype, rank + 2, backward ? in : out)->numel;
    if (!backward && p.indices) case_out(c, "indices", p.indices, rank + 2, out);
    if (backward) {
        trine_pool_backward_args *a = CASE_ARGS(c, pool_backward);
        a->window = window;
        a->kind = p.kind;
        a->channels_last = p.last;
    } else {
        trine_pool_args *a = CASE_ARGS(c, pool);
        a->window = window;
        a->kind = p.kind;
        a->channels_last = p.last;
    }
    /* sums of at most `taps` terms of at most 2 that may cancel; a maximum is exact */
    const double taps = (double)p.kernel * (rank == 2 ? other : 1);
    if (backward || p.kind == TRINE_POOL_AVERAGE) case_tolerance(c, p.dtype, 0x1p-22, taps * 2 * 0x1p-23);
    c->vendor_exact = !backward && p.kind == TRINE_POOL_MAX;
    c->units = numel ? p.n : 0;
    c->oracle = backward ? oracle_backward : oracle_forward;
    c->work *= taps;
    c->flops = taps * (double)numel;
    case_count_bytes(c);
    return c;
}

static const trine_dtype NONE = TRINE_DTYPE_NONE;
static const pool_case forms[] = {
    {.n = 2, .c = 3, .h = 7, .w = 9, .kernel = 3, .stride = 2, .padding = 1},
    {.n = 1, .c = 5, .h = 8, .w = 8, .kernel = 2, .stride = 2},
    {.n = 2, .c = 16, .h = 6, .w = 5, .kernel = 3, .stride = 1, .padding = 1, .dilation = 1},
    {.n = 1, .c = 24, .h = 5, .w = 7, .kernel = 3, .stride = 2, .padding = 1, .ceil_mode = 1},
    {.n = 1, .c = 8, .h = 9, .w = 11, .kernel = 3, .stride = 1, .padding = 2, .dilation = 2, .include_pad = 1},
    {.n = 2, .c = 2, .h = 4, .w = 6, .kernel = 2, .stride = 3, .padding = 1, .ceil_mode = 1, .include_pad = 1},
    {.n = 1, .c = 1, .h = 1, .w = 1, .kernel = 1},
    {.n = 2, .c = 4, .w = 33, .kernel = 4, .stride = 2, .padding = 2, .include_pad = 1},
    {.n = 3, .c = 8, .w = 17, .kernel = 5, .stride = 3, .padding = 2, .ceil_mode = 1},
    {.n = 1, .c = 2, .w = 2, .kernel = 2, .stride = 1, .padding = 1, .dilation = 3}, /* a window of padding alone */
    {.n = 1, .c = 3, .h = 2, .w = 2, .kernel = 4, .stride = 1},                      /* no window fits */
    {.n = 0, .c = 3, .h = 5, .w = 5, .kernel = 3, .stride = 2},
    {.n = 1, .c = 0, .h = 5, .w = 5, .kernel = 3, .stride = 2},
    {.n = 1, .c = 2, .h = 3, .w = 1100, .kernel = 3, .stride = 1, .padding = 1},
    {.n = 1, .c = 2, .h = 2, .w = 2300, .kernel = 7, .stride = 2, .padding = 3},
    {.n = 1, .c = 1030, .h = 3, .w = 3, .kernel = 2, .stride = 1},
    {.n = 1, .c = 2, .h = 75, .w = 88, .kernel = 3, .stride = 2, .padding = 1}, /* more than a block makes */
    {.n = 1, .c = 1, .h = 37, .w = 136, .kernel = 4, .stride = 1, .padding = 2, .include_pad = 1},
    {.n = 2, .c = 40, .h = 8, .w = 8, .kernel = 3, .stride = 2, .padding = 1},
    {.n = 1, .c = 1, .h = 3, .w = 5000, .kernel = 3, .stride = 2, .padding = 1},
    {.n = 1, .c = 5, .h = 7, .w = 32, .kernel = 2, .stride = 2}, /* rows of whole packs */
    {.n = 1, .c = 16, .h = 6, .w = 32, .kernel = 3, .stride = 2},
    {.n = 2, .c = 2, .h = 33, .w = 16, .kernel = 2, .stride = 2, .padding = 1},
    {.n = 1, .c = 3, .w = 64, .kernel = 3, .stride = 2, .padding = 1, .include_pad = 1},
    {.n = 2, .c = 3, .h = 41, .w = 48, .kernel = 3, .stride = 2, .padding = 1},
};
enum { FORMS = sizeof forms / sizeof forms[0] };

static void check_cases(case_list *list, bool backward)
{
    for (int f = 0; f < FORMS; f++)
        for (int d = 0; d < 3; d++)
            for (int last = 0; last < 2; last++) {
                pool_case p = forms[f];
                p.dtype = case_floats[d];
                p.last = last;
                p.indices = (f + last) % 2 ? TRINE_I64 : TRINE_I32;
                new_case(list, p, backward);
                p.indices = NONE;
                if (!backward) new_case(list, p, backward);
                p.kind = TRINE_POOL_AVERAGE;
                new_case(list, p, backward);
            }
    for (int layout = 1; layout < LAYOUT_COUNT; layout++)
        for (int last = 0; last < 2; last++)
            for (int f = 0; f < 4; f++) {
                pool_case p = forms[f];
                p.dtype = case_floats[(f + layout) % 3];
                p.last = last;
                p.kind = f % 2 ? TRINE_POOL_AVERAGE : TRINE_POOL_MAX;
                p.indices = p.kind == TRINE_POOL_MAX ? TRINE_I32 : NONE;
                case_set_layout(new_case(list, p, backward), (case_layout)layout);
            }
}

static void bench_cases(case_list *list, bool backward)
{
    for (int d = 0; d < 3; d++)
        for (int last = 0; last < 2; last++)
            for (int kind = 0; kind < 2; kind++)
                new_case(list,
                         (pool_case){.dtype = case_floats[d],
                                     .indices = backward && kind == 0 ? TRINE_I32 : NONE,
                                     .kind = (trine_pool_kind)kind,
                                     .last = last,
                                     .n = 128,
                                     .c = 64,
                                     .h = 112,
                                     .w = 112,
                                     .kernel = 3,
                                     .stride = 2,
                                     .padding = 1},
                         backward);
}

static test_case *named(test_case *c, const char *what)
{
    const size_t used = strlen(c->name);
    snprintf(c->name + used, sizeof c->name - used, "%s", what);
    return c;
}

void cases_pool(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, false);
        return;
    }
    check_cases(list, false);
    for (int k = 0; k < 6; k++) { /* ties; NaN and infinities */
        pool_case p = forms[k < 3 ? 2 : FORMS - 1];
        p.dtype = case_floats[k % 3];
        p.indices = TRINE_I32;
        case_set_fill(&named(new_case(list, p, false), " ties")->tensor[0], FILL_INTEGERS, 0, 2);
        case_set_fill(&named(new_case(list, p, false), " special")->tensor[0], FILL_SPECIAL, 0, 0);
        p.last = true;
        case_set_fill(&named(new_case(list, p, false), " special")->tensor[0], FILL_SPECIAL, 0, 0);
    }
}

void cases_pool_backward(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        bench_cases(list, true);
        return;
    }
    check_gradients();
    check_cases(list, true);
}
