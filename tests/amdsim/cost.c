/* Modelled issue cycles of one wave's instruction. Sources: the CDNA3 and RDNA3 ISA manuals and white papers (rates a compute
 * unit). On CDNA a wave of 64 passes a SIMD of 16 lanes in 4 cycles; on RDNA a wave of 32 in one. Matrix cycles: matrix_layout.c.
 * Memory and LDS cycles depend on the addresses: profile.c. */
#include "cost.h"

#include <string.h>

/* {CDNA, RDNA}, of one wave */
static const uint8_t plain[] = {4, 1}, transcendental[] = {16, 4}, doubles[] = {4, 16}, double_transcendental[] = {32, 32};

static void set_vector(inst *i, int rdna)
{
    bool trans = i->op->flags & OP_TRANS, wide = i->op->flags & OP_DOUBLE;
    i->unit = trans ? UNIT_TRANS : UNIT_VALU;
    i->cycles = (wide ? trans ? double_transcendental : doubles : trans ? transcendental : plain)[rdna];
}

static void set_scalar(inst *i)
{
    static const struct {
        const char *prefix;
        uint8_t unit;
    } units[] = {{"s_branch", UNIT_BRANCH},
                 {"s_cbranch", UNIT_BRANCH},
                 {"s_wait", UNIT_WAIT},
                 {"s_nop", UNIT_WAIT},
                 {"s_barrier", UNIT_BARRIER}};
    i->unit = UNIT_SCALAR;
    i->cycles = 1;
    for (size_t k = 0; k < sizeof units / sizeof units[0]; k++)
        if (strncmp(i->op->name, units[k].prefix, strlen(units[k].prefix)) == 0) i->unit = units[k].unit;
}

void cost_set(inst *i)
{
    if (!i->op) return; /* memory, LDS and matrix instructions: set by their decoders */
    if (i->op->name[0] == 'v')
        set_vector(i, chip_now()->major != 9);
    else
        set_scalar(i);
}
