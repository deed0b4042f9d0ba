/* What launching a case's grids costs by itself: kernels that do nothing, and kernels whose threads load and store a word each, with
 * the grids, blocks, clusters and shared memory that the op's run was seen to have. On NVIDIA's devices; elsewhere there are none. */
#ifndef TRINE_BENCH_BARE_H
#define TRINE_BENCH_BARE_H

#include "bench/bench.h"

typedef struct bench_bare bench_bare;

/* Records a run of the entry and readies its likeness; NULL where that can't be done. */
bench_bare *bench_bare_create(const bench_entry *entry, const target *t);
void bench_bare_destroy(bench_bare *b);
/* Writes the entries, the empty launch and the one with a load and a store, and returns how many: 0 for NULL. */
int bench_bare_add(bench_bare *b, trine_stream *stream, bench_entry *entries);
/* Kernels that a run launches, and blocks of the largest. */
int bench_bare_launches(const bench_bare *b);

#endif
