/* Right or wrong, element by element. */
#ifndef TRINE_TESTS_VERDICT_H
#define TRINE_TESTS_VERDICT_H

#include "tests/cases/cases.h"

typedef struct verdict {
    bool passed;
    double worst;   /* largest |d - r| as a part of what is allowed; 0 where exact */
    char text[256]; /* the first element that is wrong */
} verdict;

/* One value against the oracle's: NaN where it has NaN, inf where it has inf or where the dtype can't hold its value. */
bool verdict_value(double got, double want, trine_dtype dtype, double rtol, double atol, double *part);

/* What the oracle says of units [begin, end) of all outputs, to judge several runs by. */
typedef struct expectation {
    int64_t begin, end;
    int count; /* of outputs */
    unsigned char **want;
} expectation;
void expectation_make(expectation *e, const test_case *c, int64_t begin, int64_t end);
void expectation_free(expectation *e);

/* Judges those units into v, which begins as {.passed = true}. outputs[k]: elements of the k-th output, dense, beginning with unit
 * `begin`. */
void verdict_expected(verdict *v, const test_case *c, const expectation *e, const void *const *outputs);
/* The same of units [begin, end), of which no more than one at a time is held. */
void verdict_units(verdict *v, const test_case *c, int64_t begin, int64_t end, const void *const *outputs);

#endif
