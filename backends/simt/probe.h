/* Probes: what the roofline of a device is measured with (trine_probe in trine/stream.h). */
#ifndef TRINE_SIMT_PROBE_H
#define TRINE_SIMT_PROBE_H

#include "backends/simt/launch.h"

namespace simt {

/* 4 blocks of 256 threads a compute unit, 16 chains a thread: more independent work than a multiply-add's latency needs.
 * About half a millisecond on a large device. */
enum { probe_threads = 256, probe_blocks = 4, probe_groups = 2, probe_chains = 8, probe_steps = 8192 };

TRINE_KERNEL(probe_threads) probe_empty_kernel() {}

/* Sums of products. All chains of a group have the same factors, which spares NVIDIA's register ports; there are two groups
 * because RDNA issues two multiply-adds at once only if their factors lie in different banks; CDNA packs two chains in one
 * instruction. `stop` is NaN, so that nothing is ever stored; the compiler can't know. */
TRINE_KERNEL(probe_threads) probe_fma_kernel(float a, float b, float stop, float *never)
{
    float left[probe_groups], right[probe_groups], x[probe_groups][probe_chains] = {};
    for (int i = 0; i < probe_groups; i++) {
        left[i] = a * float(target::thread_x() + i);
        right[i] = b * float(target::thread_x() - i);
    }
#pragma unroll 16
    for (int step = 0; step < probe_steps; step++)
        for (int i = 0; i < probe_groups; i++)
            for (int j = 0; j < probe_chains; j++) x[i][j] = target::fma_rn(left[i], right[i], x[i][j]);
    float sum = 0;
    for (int i = 0; i < probe_groups; i++)
        for (int j = 0; j < probe_chains; j++) sum += x[i][j];
    if (sum == stop) *never = sum;
}

inline trine_status run_probe(trine_call *call, trine_probe_kind probe, double *flops)
{
    int64_t blocks = int64_t(call->device->props.compute_units) * probe_blocks;
    *flops = 0;
    if (probe == TRINE_PROBE_EMPTY) return launch(call, probe_empty_kernel, grid(1), probe_threads, 0);
    TRINE_REQUIRE_THAT(call, probe == TRINE_PROBE_FMA_F32, "there is no such probe");
    *flops = 2.0 * double(blocks) * probe_threads * probe_groups * probe_chains * probe_steps;
    return launch(call, probe_fma_kernel, grid(blocks), probe_threads, 0, 0.999f, 0.5f, __builtin_nanf(""), nullptr);
}

} // namespace simt

extern "C" trine_status TRINE_BACKEND_FN(run_probe)(trine_call *call, trine_probe_kind probe, double *flops)
{
    return simt::run_probe(call, probe, flops);
}

#endif
