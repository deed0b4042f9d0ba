/* For oracles of matrix products with batch axes. */
#ifndef TRINE_TESTS_CASES_MATRICES_H
#define TRINE_TESTS_CASES_MATRICES_H

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

#endif
