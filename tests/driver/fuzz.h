/* Cases changed: at random, to sizes that nobody thought of and every tensor laid out on its own, or to more elements than 32 bits
 * count. What the op then finds wrong or refuses is left out; what it runs must be as right as ever. */
#ifndef TRINE_TESTS_FUZZ_H
#define TRINE_TESTS_FUZZ_H

#include "tests/cases/cases.h"

/* Changes a case before it is prepared. The same seed makes the same case. */
void fuzz_case(test_case *c, uint64_t seed);
/* After it is prepared: inputs that repeat along an axis (stride 0) are made to hold the same elements there. */
void fuzz_repeat(test_case *c);
/* Lengthens the first axis of the output, and what is as long as it elsewhere, until some tensor has more than 2^31 elements; false
 * if that can't be, or takes more than `room` bytes. */
bool fuzz_grow(test_case *c, double room);

#endif
