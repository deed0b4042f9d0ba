/* Calls between the run loop and the instructions that steer it. */
#ifndef AMDSIM_RUN_H
#define AMDSIM_RUN_H

#include "sim.h"

/* All blocks, in g's place one after another; returns early on a fault, whose text is then in l->error. */
void run_blocks(launch *l, block *g);
/* Why waves can't run with that mode register; NULL if they can. */
const char *run_mode_problem(uint32_t mode);
/* An acquire and a release of everything the block did before: atomics, and accesses that bypass the caches. */
void run_synchronise(wave *w);

#endif
