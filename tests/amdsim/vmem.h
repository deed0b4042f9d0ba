/* Vector memory: what decoding and execution share. */
#ifndef AMDSIM_VMEM_H
#define AMDSIM_VMEM_H

#include "sim.h"

enum { LOAD, STORE, ATOMIC };
enum { GLOBAL, FLAT, SCRATCH, BUFFER, LDS };

/* What an atomic makes of memory, the data and, to compare, the second data. */
typedef uint64_t atomic_fn(uint64_t memory, uint64_t data, uint64_t second);

typedef struct mem_format {
    uint8_t what, space, bytes, half; /* half: 1 the lower, 2 the upper 16 bits of the register */
    bool sign_extend;
    atomic_fn *atomic;
    bool compares; /* two data: the new value, then the one compared with */
} mem_format;

/* Formats by the last part of a mnemonic: "dwordx4", "b128", "ubyte_d16_hi". NULL: no such. */
const mem_format *format_of(const char *name);
/* An atomic's by its name after atomic_ or ds_, without rtn: "add", "add_u32", "cmpswap_x2". */
const mem_format *atomic_of(const char *name);
/* The parts of f put into place as i's own copy. */
mem_format *format_copy(const mem_format *f, int what, int space);

run_fn vmem_run, lds_run;

/* Loads' results and everything else that is not plain, for vmem and LDS. */
void load_result(wave *w, unsigned reg, const mem_format *f, uint32_t values[][LANES], const uint64_t *undefined, uint64_t lanes);
void need_defined(wave *w, uint64_t undefined, const char *use);
void lane_atomic(wave *w, int lane, const mem_format *f, region *r, uint64_t address, const uint32_t *data, uint32_t *old);

#endif
