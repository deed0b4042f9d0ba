/* For oracles of matrix products with batch axes. */
#ifndef TRINE_TESTS_CASES_MATRICES_H
#define TRINE_TESTS_CASES_MATRICES_H

#include <stdlib.h>

#include "tests/cases/cases.h"

/* Index of the first element of t's matrix for the batch that `index` (along d's axes) is in; one serves all along axes of
 * size 1. */
static inline int64_t case_first_of_matrix(const case_tensor *t, const case_tensor *d, const int64_t *index)
{
    int64_t at = 0;
    for (int32_t axis = 0; axis < t->ndim - 2; axis++) {
        int64_t i = index[axis + d->ndim - t->ndim];
        at = at * t->shape[axis] + (t->shape[axis] == 1 ? 0 : i);
    }
    return at * t->shape[t->ndim - 2] * t->shape[t->ndim - 1];
}

/* sum[j] += sum over k < terms of row[k] b[first + k n + j], term by term in f64; four terms for each walk along the sums. */
static inline void case_add_terms(const double *row, int64_t terms, const case_tensor *b, int64_t first, int64_t n, double *sum)
{
    enum { AT_ONCE = 4 };
    double *const room = b->values ? NULL : malloc((size_t)(AT_ONCE * n) * sizeof *room + 1);
    if (!room && !b->values) abort(); /* an oracle without memory can't judge anything */
    for (int64_t k = 0, m; k < terms; k += m) {
        const double *line = b->values ? b->values + first + k * n : room, *x = row + k;
        m = terms - k < AT_ONCE ? 1 : AT_ONCE;
        if (room) case_values(b, first + k * n, m * n, room);
        if (m == 1)
            for (int64_t j = 0; j < n; j++) sum[j] += x[0] * line[j];
        else
            for (int64_t j = 0; j < n; j++)
                sum[j] = sum[j] + x[0] * line[j] + x[1] * line[j + n] + x[2] * line[j + 2 * n] + x[3] * line[j + 3 * n];
    }
    free(room);
}

#endif
