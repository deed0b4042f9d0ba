/* What the tests of matrix instructions share: small whole numbers as elements, so that results are exact. */
#ifndef AMDSIM_TEST_MATRIX_H
#define AMDSIM_TEST_MATRIX_H

#include "test.h"

typedef enum type { T_F32, T_F64, T_F16, T_BF16, T_FP8, T_BF8, T_I8, T_I32, T_IU4 } type;
extern const int type_bits[];

/* The bits of v. */
uint64_t element_code(type t, int v);
/* Puts them at place `item` of a lane's registers. */
void element_put(lanes *registers, int lane, int item, int bits, uint64_t value);

void sparse_tests(void);

#endif
