/* What the families add to the sweep over sizes: the cases of an op whose main tensor is [rows, n], or has as many elements. */
#ifndef TRINE_TESTS_CASES_SIZES_H
#define TRINE_TESTS_CASES_SIZES_H

#include "tests/cases/cases.h"

/* All of an op; none of an op that is not swept. */
void cases_of_sizes(trine_op op, case_list *list);

#define SIZES_OF(op) void sizes_##op(case_list *list, trine_dtype dtype, int64_t rows, int64_t n)
SIZES_OF(copy);
SIZES_OF(add); /* and a row to all rows */
SIZES_OF(activation);
SIZES_OF(gated);
SIZES_OF(softmax);
SIZES_OF(softmax_backward);
SIZES_OF(layernorm);
SIZES_OF(rmsnorm); /* and with a residual */
SIZES_OF(layernorm_backward);
SIZES_OF(sum);
SIZES_OF(cross_entropy);
SIZES_OF(cross_entropy_backward);
SIZES_OF(transpose);
SIZES_OF(embedding);
SIZES_OF(dropout);
SIZES_OF(rope);
SIZES_OF(fp8_quantize);
SIZES_OF(adamw);

#endif
