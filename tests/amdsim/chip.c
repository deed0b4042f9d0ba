#include "chip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sources: the ISA manuals of MI200, MI300 and RDNA3; the "HIP hardware features" and "GPU architecture" pages of ROCm; the
 * products' data sheets. gfx1100's compute unit is a workgroup processor, as HIP counts them. */
static const chip chips[] = {
    {.name = "gfx90a",
     .product = "simulated MI250X",
     .major = 9,
     .wave_size = 64,
     .mfma_flushes = true,
     .simds = 4,
     .waves_per_simd = 8,
     .vgprs_per_simd_lane = 512,
     .vgpr_granule = 8,
     .lds_bytes = 65536,
     .clock_khz = 1700000,
     .l2_bytes = 8 << 20,
     .global_bytes_per_clock = 64,
     .compute_units = 220,
     .memory_bandwidth = 3.277e12},
    {.name = "gfx942",
     .product = "simulated MI300X",
     .major = 9,
     .wave_size = 64,
     .cdna3 = true,
     .architected_scratch = true,
     .simds = 4,
     .waves_per_simd = 8,
     .vgprs_per_simd_lane = 512,
     .vgpr_granule = 8,
     .lds_bytes = 65536,
     .clock_khz = 2100000,
     .l2_bytes = 4 << 20,
     .global_bytes_per_clock = 64,
     .compute_units = 304,
     .memory_bandwidth = 5.3e12},
    {.name = "gfx1100",
     .product = "simulated RX 7900 XTX",
     .major = 11,
     .wave_size = 32,
     .architected_scratch = true,
     .high_half_kept = true,
     .store_counter = true,
     .simds = 4,
     .waves_per_simd = 16,
     .vgprs_per_simd_lane = 1536,
     .vgpr_granule = 24,
     .lds_bytes = 65536,
     .clock_khz = 2500000,
     .l2_bytes = 6 << 20,
     .global_bytes_per_clock = 128,
     .compute_units = 48,
     .memory_bandwidth = 0.96e12},
};

const chip *chip_now(void)
{
    static const chip *chosen;
    if (chosen) return chosen;
    const char *name = getenv("AMDSIM_ARCH");
    if (!name || !*name) name = "gfx942";
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++)
        if (strcmp(name, chips[i].name) == 0) return chosen = &chips[i];
    fprintf(stderr, "amdsim: AMDSIM_ARCH=%s is not simulated; known:", name);
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) fprintf(stderr, " %s", chips[i].name);
    fprintf(stderr, "\n");
    exit(2);
}
