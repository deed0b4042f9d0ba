/* One case on one stream: it passes if its outputs, poisoned before, are right element by element, nothing else was written, and a
 * second run from another poison gives the same bits. */
#ifndef TRINE_TESTS_RUN_CASE_H
#define TRINE_TESTS_RUN_CASE_H

#include "tests/driver/place.h"
#include "tests/driver/targets.h"
#include "tests/driver/verdict.h"

typedef struct outcome {
    enum { PASSED, FAILED, REFUSED } kind;
    double worst;
    uint64_t digest; /* 0: not asked for */
    char text[512];
} outcome;

outcome outcome_failed(const char *what, const char *why);

/* p: of the case, prepared, attached to no device. `wanted`: what the oracle says of all units, made here if it is still empty.
 * digest: of the outputs, too. */
outcome run_case(trine_stream *stream, placement *p, expectation *wanted, bool digest);
/* Several runs on each of two streams, from two threads at once. */
outcome run_parallel(const target *t, const test_case *c, expectation *wanted);

#endif
