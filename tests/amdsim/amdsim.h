/* What a program may ask the stand-in beyond HIP. Look the function up with dlsym: the vendor's library has none. */
#ifndef AMDSIM_H
#define AMDSIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In the order of the arrays below: scalar, branch, scalar memory, vector, transcendental, matrix, load, store, atomic, LDS,
 * wait, barrier. */
enum { AMDSIM_UNITS = 12 };

/* Sums over the launches of a kernel. Cycles are modelled issue cycles of the unit, over all waves; bytes are those that lanes
 * asked for. */
typedef struct amdsim_counts {
    uint64_t launches, blocks, waves;
    uint64_t instructions[AMDSIM_UNITS], cycles[AMDSIM_UNITS];
    uint64_t bytes_read, bytes_written, lines; /* lines: of 128 bytes, an instruction */
    uint64_t lds_bytes, lds_conflicts;         /* cycles beyond the fewest possible */
    uint64_t scratch_bytes;
    double seconds; /* modelled: the busiest unit of a compute unit, all compute units filled */
} amdsim_counts;

typedef struct amdsim_kernel {
    const char *name;
    uint32_t vgprs, agprs, sgprs, vgpr_spills, sgpr_spills, lds, scratch;
    uint32_t waves_per_simd; /* occupancy by registers and LDS, for the blocks last launched */
    amdsim_counts counts;
} amdsim_kernel;

/* Fills up to `room` kernels, those that ran; gives how many there are. */
int amdsim_counters(amdsim_kernel *kernels, int room);
extern const char *const amdsim_unit_names[AMDSIM_UNITS];

#ifdef __cplusplus
}
#endif
#endif
