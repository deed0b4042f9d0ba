/* Counters of a kernel. All cycles are modelled. */
#ifndef AMDSIM_PROFILE_H
#define AMDSIM_PROFILE_H

#include <stdio.h>

#include "amdsim.h"
#include "sim.h"
#include "vmem.h"

typedef struct profile {
    amdsim_counts counts;
} profile;

/* A wave ran i. */
static inline void profile_count(profile *p, const inst *i)
{
    p->counts.instructions[i->unit]++;
    p->counts.cycles[i->unit] += i->cycles;
}

void profile_memory(wave *w, const inst *i, const mem_format *f, const uint64_t *address, uint64_t lanes, bool scratch);
void profile_permutation(wave *w, const inst *i);
void profile_lds(wave *w, const inst *i, const uint32_t *address, uint32_t bytes, uint64_t lanes);
/* A launch of k has ended; gives its modelled seconds. */
double profile_launch(kernel *k, const launch *l, const amdsim_counts *before);
profile *profile_of(kernel *k);

#endif
