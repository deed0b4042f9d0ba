#include "tests/driver/verdict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What rounds to inf: halfway between the largest finite value and the next power of two. */
static double overflow_of(trine_dtype dtype)
{
    switch (dtype) {
    case TRINE_F16: return 65520;
    case TRINE_BF16: return 0x1.ffp127;
    case TRINE_F32: return 0x1.ffffffp127;
    default: return INFINITY;
    }
}

bool verdict_value(double got, double want, trine_dtype dtype, double rtol, double atol, double *part)
{
    *part = 0;
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got);
    if (got == want) return true;
    if (isinf(got))
        return isfinite(want) && fabs(want) * (1 + rtol) + atol >= overflow_of(dtype) && signbit(got) == signbit(want);
    if (isinf(want)) return false;
    *part = fabs(got - want) / (atol + rtol * fabs(want));
    return *part <= 1;
}

typedef struct output {
    const case_tensor *t;
    double rtol, atol;
    int64_t slice; /* elements of a unit */
    int64_t size;  /* bytes of an element */
} output;

static bool own_bound(const case_tensor *t) { return t->rtol != 0 || t->atol != 0; }

static int outputs_of(const test_case *c, output out[CASE_OUT_MAX])
{
    int n = 0;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        const case_tensor *t = &c->tensor[k];
        if (t->output && n < CASE_OUT_MAX)
            out[n++] = (output){.t = t,
                                .rtol = own_bound(t) ? t->rtol : c->rtol,
                                .atol = own_bound(t) ? t->atol : c->atol,
                                .slice = c->units ? t->numel / c->units : 0,
                                .size = trine_dtype_bits(t->dtype) / 8};
    }
    return n;
}

static void blame(verdict *v, const test_case *c, const output *o, int64_t element, double got, double want)
{
    char name[CASE_TEXT];
    if (v->passed)
        snprintf(v->text, sizeof v->text, "%s element %lld is %.9g and should be %.9g (rtol %.2g, atol %.2g)",
                 case_tensor_name(c, o->t, name), (long long)element, got, want, o->rtol, o->atol);
    v->passed = false;
}

enum { BLOCK = 512, LANES = 4 };

/* Most blocks hold numbers alone, all of them near enough or exact, and the compiler makes vectors of these loops. False where an
 * element is another or too far off: *worst is as it was then. */
static bool all_right(const output *o, const double got[BLOCK], const double *want, int64_t n, double *worst)
{
    double part[BLOCK + LANES], most[LANES] = {0}, sum[LANES] = {0}; /* a NaN stays in the sum */
    bool right = true;
    if (o->rtol == 0 && o->atol == 0) {
        int others = 0;
        for (int64_t i = 0; i < n; i++) others += got[i] != want[i];
        return others == 0;
    }
    for (int64_t i = 0; i < n; i++) part[i] = fabs(got[i] - want[i]) / (o->atol + o->rtol * fabs(want[i]));
    for (int64_t i = n; i < n + LANES; i++) part[i] = 0;
    for (int64_t i = 0; i < n; i += LANES)
        for (int64_t j = 0; j < LANES; j++) {
            most[j] = part[i + j] > most[j] ? part[i + j] : most[j];
            sum[j] += part[i + j];
        }
    for (int64_t j = 0; j < LANES; j++) right &= most[j] <= 1 && !isnan(sum[j]);
    for (int64_t j = 0; right && j < LANES; j++) *worst = most[j] > *worst ? most[j] : *worst;
    return right;
}

/* `got` as f64, in blocks. */
static void judge_values(verdict *v, const test_case *c, const output *o, int64_t unit, const unsigned char *got,
                         const double *want)
{
    double value[BLOCK];
    for (int64_t first = 0, n; first < o->slice; first += n) {
        n = o->slice - first < BLOCK ? o->slice - first : BLOCK;
        trine_convert(got + first * o->size, o->t->dtype, value, TRINE_F64, n);
        if (all_right(o, value, want + first, n, &v->worst)) continue;
        for (int64_t i = 0; i < n; i++) {
            double part, w = want[first + i];
            const bool right = verdict_value(value[i], w, o->t->dtype, o->rtol, o->atol, &part);
            if (part > v->worst) v->worst = part;
            if (!right) blame(v, c, o, unit * o->slice + first + i, value[i], w);
        }
    }
}

static void judge_bits(verdict *v, const test_case *c, const output *o, int64_t unit, const unsigned char *got,
                       const unsigned char *want)
{
    if (memcmp(got, want, (size_t)(o->slice * o->size)) == 0) return;
    for (int64_t i = 0; i < o->slice; i++) {
        const unsigned char *bits = got + i * o->size, *expected = want + i * o->size;
        double g, w;
        if (memcmp(bits, expected, (size_t)o->size) == 0) continue;
        trine_convert(bits, o->t->dtype, &g, TRINE_F64, 1);
        trine_convert(expected, o->t->dtype, &w, TRINE_F64, 1);
        blame(v, c, o, unit * o->slice + i, g, w);
    }
}

/* Of a unit: f64, or elements of the output's dtype. */
static size_t wanted_bytes(const test_case *c, const output *o)
{
    return (size_t)o->slice * (c->oracle_bits ? (size_t)o->size : sizeof(double));
}

void expectation_make(expectation *e, const test_case *c, int64_t begin, int64_t end)
{
    output out[CASE_OUT_MAX];
    void *unit_of[CASE_OUT_MAX];
    *e = (expectation){.begin = begin, .end = end, .count = outputs_of(c, out)};
    e->want = malloc(((size_t)e->count + 1) * sizeof *e->want);
    if (!e->want) abort(); /* a test driver without memory can't judge anything */
    for (int k = 0; k < e->count; k++) {
        e->want[k] = malloc((size_t)(end - begin) * wanted_bytes(c, &out[k]) + 8);
        if (!e->want[k]) abort();
    }
    for (int64_t unit = begin; unit < end; unit++) {
        for (int k = 0; k < e->count; k++) unit_of[k] = e->want[k] + (size_t)(unit - begin) * wanted_bytes(c, &out[k]);
        if (c->oracle_bits)
            c->oracle_bits(c, unit, unit_of);
        else
            c->oracle(c, unit, (double *const *)unit_of);
    }
}

void expectation_free(expectation *e)
{
    for (int k = 0; k < e->count; k++) free(e->want[k]);
    free(e->want);
    *e = (expectation){0};
}

void verdict_expected(verdict *v, const test_case *c, const expectation *e, const void *const *outputs)
{
    output out[CASE_OUT_MAX];
    const int n = outputs_of(c, out);
    for (int64_t unit = e->begin; unit < e->end; unit++)
        for (int k = 0; k < n; k++) {
            const size_t at = (size_t)(unit - e->begin);
            const unsigned char *got = (const unsigned char *)outputs[k] + at * (size_t)(out[k].slice * out[k].size),
                                *want = e->want[k] + at * wanted_bytes(c, &out[k]);
            if (c->oracle_bits)
                judge_bits(v, c, &out[k], unit, got, want);
            else
                judge_values(v, c, &out[k], unit, got, (const double *)(const void *)want);
        }
}

void verdict_units(verdict *v, const test_case *c, int64_t begin, int64_t end, const void *const *outputs)
{
    output out[CASE_OUT_MAX];
    const void *from[CASE_OUT_MAX];
    const int n = outputs_of(c, out);
    *v = (verdict){.passed = true};
    for (int64_t unit = begin; unit < end; unit++) {
        expectation e;
        expectation_make(&e, c, unit, unit + 1);
        for (int k = 0; k < n; k++) from[k] = (const char *)outputs[k] + (unit - begin) * out[k].slice * out[k].size;
        verdict_expected(v, c, &e, from);
        expectation_free(&e);
    }
}
