/* What a program may ask the stand-in beyond HIP. Look the function up with dlsym: the vendor's library has none. */
#ifndef AMDSIM_H
#define AMDSIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In the order of the arrays below: scalar, branch, scalar memory, vector, transcendental, matrix, load, store, atomic, LDS,
 * wait, barrier. And the parts of a compute unit that the modelled time is made of: vector with transcendental, matrix, LDS,
 * memory, scalar. */
enum { AMDSIM_UNITS = 12, AMDSIM_PARTS = 5 };

/* Sums over the launches of a kernel. Cycles are modelled issue cycles of the unit, over all waves; bytes are those that lanes
 * asked for. */
typedef struct amdsim_counts {
    uint64_t launches, blocks, waves;
    uint64_t instructions[AMDSIM_UNITS], cycles[AMDSIM_UNITS];
    uint64_t bytes_read, bytes_written, lines; /* lines: of 128 bytes, an instruction */
    uint64_t lds_bytes, lds_conflicts;         /* cycles beyond the fewest possible */
    uint64_t scratch_bytes;
    uint64_t part_cycles[AMDSIM_PARTS]; /* modelled cycles that a compute unit alone would be busy */
    double seconds;                     /* modelled: the busiest part of a compute unit, all compute units filled */
} amdsim_counts;

typedef struct amdsim_kernel {
    const char *name;
    uint32_t vgprs, agprs, sgprs, vgpr_spills, sgpr_spills, scratch; /* vgprs: agprs included */
    uint32_t lds, waves_per_simd; /* of the blocks last launched; occupancy by registers and LDS */
    amdsim_counts counts;
} amdsim_kernel;

/* Fills up to `room` kernels, those that ran; gives how many there are. */
int amdsim_counters(amdsim_kernel *kernels, int room);
/* The chip's published memory bandwidth, in bytes a clock of one compute unit. No part of the modelled time. */
double amdsim_memory_bytes_per_clock(void);
extern const char *const amdsim_unit_names[AMDSIM_UNITS];

#ifdef __cplusplus
}
#endif
#endif
