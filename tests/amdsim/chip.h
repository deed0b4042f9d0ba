/* The chips that are simulated, and what their makers publish of them. */
#ifndef AMDSIM_CHIP_H
#define AMDSIM_CHIP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct chip {
    const char *name; /* gfx942 */
    const char *product;
    int major; /* 9 or 11 */
    int wave_size;
    bool cdna3;               /* gfx940 family: sc0/sc1/nt, FNUZ conversions */
    bool architected_scratch; /* scratch set up by the hardware, scratch_ instructions */
    bool high_half_kept;      /* 16-bit results leave the upper half alone */
    bool store_counter;       /* stores count in vscnt */
    bool mfma_flushes;        /* MFMA and dot products of 16-bit floats flush denormals */
    int simds, waves_per_simd, vgprs_per_simd_lane, vgpr_granule;
    int lds_bytes;
    int clock_khz;
    int l2_bytes;
    int global_bytes_per_clock; /* of one compute unit's L1 */
    int compute_units;          /* of the whole product, and its memory bandwidth */
    double memory_bandwidth;
} chip;

/* The chip of AMDSIM_ARCH; exits with a message if it is unknown. */
const chip *chip_now(void);

#endif
