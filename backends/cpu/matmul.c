/* The matmul family on the CPU. matmul_register.h (with matmul_kernel.h and matmul_pack.h) has the kernel that counts,
 * matmul_places.h one that packs half as much, matmul_unpacked.h one that packs nothing, matmul_amx.h the one of the matrix unit,
 * matmul_dots.h, matmul_amx_dots.h and matmul_gemv.h those for vectors, matmul_ladder.h the steps that lead there;
 * docs/matmul-ladder.md walks through them. */
#include "backends/cpu/matmul_amx_dots.h"
#include "backends/cpu/matmul_dots.h"
#include "backends/cpu/matmul_gemv.h"
#include "backends/cpu/matmul_ladder.h"
#include "backends/cpu/matmul_places.h"
#include "backends/cpu/matmul_register.h"
#include "backends/cpu/matmul_unpacked.h"

/* Best first. */
static const trine_variant matmul_variants[] = {
    {"amx_dots", matmul_amx_dots},
    {"amx", matmul_amx},
    {"unpacked", matmul_unpacked},
    {"in_place", matmul_in_place},
    {"dots", matmul_dots},
    {"gemv", matmul_gemv},
    {"register_tiled", matmul_register_tiled},
    {"tiled", matmul_tiled},
    {"coalesced", matmul_coalesced},
    {"naive", matmul_naive},
};

trine_status TRINE_CPU(matmul)(trine_call *call, const trine_matmul_args *args);
trine_status TRINE_CPU(matmul)(trine_call *call, const trine_matmul_args *args)
{
    return trine_run_variants(call, matmul_variants, sizeof matmul_variants / sizeof *matmul_variants, args);
}
