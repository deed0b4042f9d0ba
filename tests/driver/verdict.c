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

static void judge_slice(verdict *v, const test_case *c, const output *o, int64_t unit, const unsigned char *got, const void *want)
{
    for (int64_t i = 0; i < o->slice; i++) {
        double g, w, part = 0;
        const unsigned char *bits = got + i * o->size;
        trine_convert(bits, o->t->dtype, &g, TRINE_F64, 1);
        bool right;
        if (c->oracle_bits) {
            const unsigned char *expected = (const unsigned char *)want + i * o->size;
            trine_convert(expected, o->t->dtype, &w, TRINE_F64, 1);
            right = memcmp(bits, expected, (size_t)o->size) == 0;
        } else {
            w = ((const double *)want)[i];
            right = verdict_value(g, w, o->t->dtype, o->rtol, o->atol, &part);
        }
        if (part > v->worst) v->worst = part;
        if (!right) blame(v, c, o, unit * o->slice + i, g, w);
    }
}

void verdict_units(verdict *v, const test_case *c, int64_t begin, int64_t end, const void *const *outputs)
{
    output out[CASE_OUT_MAX];
    void *want[CASE_OUT_MAX];
    int n = outputs_of(c, out);
    *v = (verdict){.passed = true};
    for (int k = 0; k < n; k++) {
        want[k] = malloc((size_t)out[k].slice * 8 + 8);
        if (!want[k]) abort(); /* a test driver without memory can't judge anything */
    }
    for (int64_t unit = begin; unit < end; unit++) {
        if (c->oracle_bits)
            c->oracle_bits(c, unit, want);
        else
            c->oracle(c, unit, (double *const *)want);
        for (int k = 0; k < n; k++)
            judge_slice(v, c, &out[k], unit, (const unsigned char *)outputs[k] + (unit - begin) * out[k].slice * out[k].size,
                        want[k]);
    }
    for (int k = 0; k < n; k++) free(want[k]);
}
