/* Vector instructions: operands to rows of lanes, a lane function, and the result back. */
#ifndef AMDSIM_VALU_H
#define AMDSIM_VALU_H

#include "sim.h"

typedef union row {
    uint32_t u[LANES];
    float f[LANES];
    uint64_t q[LANES];
    double d[LANES];
} row;

/* The run_fn of all rows of the vector tables that have none of their own. */
void valu_run(wave *w, const inst *i);
void valu_run_packed(wave *w, const inst *i);
void valu_run_pair(wave *w, const inst *i);

/* Writes a result of one dword a lane, in the lanes of exec. */
void valu_write(wave *w, unsigned reg, const uint32_t *values, uint64_t lanes, uint64_t undefined);
/* The lanes of a 32-bit source, and which are undefined. */
const uint32_t *valu_read(wave *w, const inst *i, const operand *o, row *room, uint64_t *undefined);
void valu_check(wave *w, const operand *o); /* faults if a load into it is under way */

/* Scalars: with their pending loads checked; undefined bits are of the whole. */
uint32_t scalar_read(wave *w, const operand *o, uint32_t *undefined);
uint64_t scalar_read64(wave *w, const operand *o, uint64_t *undefined);
void scalar_write(wave *w, const operand *o, uint32_t value, uint32_t undefined);
void scalar_write64(wave *w, const operand *o, uint64_t value, uint64_t undefined);
/* The value, or a fault: what it decides must be defined. */
uint32_t scalar_need(wave *w, const operand *o, const char *use);
uint64_t scalar_need64(wave *w, const operand *o, const char *use);

#endif
