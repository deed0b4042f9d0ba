/* The matrix instruction of a warp (mma.sync), and what brings it its operands: asynchronous copies to shared memory and matrix
 * loads from there. From compute capability 8.0 on. Source: the PTX ISA.
 *
 * An instruction multiplies 16 rows of a by 8 columns of b over 32 bytes of K: 16 terms of 16 bits, or 8 of tf32. Lane l has
 *     a: rows l / 4 and l / 4 + 8, of each the 4 bytes at l % 4 * 4 and those 16 bytes further along K
 *     b: column l / 4, the same bytes
 *     d[2 h + e]: row l / 4 + 8 h, column l % 4 * 2 + e */
#ifndef TRINE_CUDA_MMA_MMA_SYNC_H
#define TRINE_CUDA_MMA_MMA_SYNC_H

#include "backends/simt/types.h"

namespace mma_sync {

/* 16 bytes to shared memory; those from `bytes` on are 0. Nothing is read if bytes is 0, but p must be an address. */
TRINE_DEVICE void copy16(uint32_t to, const void *p, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(p)), "r"(bytes)
                 : "memory");
}
/* All 16 bytes, or zeros. Without a number of bytes the machine code has no address to mend. */
TRINE_DEVICE void copy16_if(uint32_t to, const void *p, bool some)
{
    asm volatile("{ .reg .pred none; setp.eq.u32 none, %2, 0; cp.async.cg.shared.global [%0], [%1], 16, none; }" ::"r"(to),
                 "l"(__cvta_generic_to_global(p)), "r"(uint32_t(some))
                 : "memory");
}
TRINE_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Until all but the last `pending` groups of this thread's copies have come. */
template <int pending> TRINE_DEVICE void wait_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }

/* Barriers in shared memory, as compute capability 8.0 has them: every `arrivals` of them end a phase; the wait is for the end of the
 * phase with that parity, the first one's being 0. What a warp wrote before its __syncwarp() and an arrival can be seen after it. */
TRINE_DEVICE void barrier_init(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
TRINE_DEVICE void barrier_arrive(uint32_t barrier)
{
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(barrier) : "memory");
}
/* An arrival of this thread when all its copies so far have come. */
TRINE_DEVICE void barrier_arrive_after_copies(uint32_t barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}
TRINE_DEVICE void barrier_wait(uint32_t barrier, uint32_t parity)
{
    uint32_t done;
    do {
        asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    } while (!done);
}

/* Four 8 x 8 matrices of 16 bits: lane l gives the address of line l % 8 of matrix l / 8, and gets of matrix i the elements
 * 2 (l % 4) and the next of line l / 4 as x[i]; turned: of column l / 4. */
template <bool turned> TRINE_DEVICE void load_matrices(uint32_t (&x)[4], uint32_t address)
{
    if constexpr (turned)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address)
                     : "memory");
}
TRINE_DEVICE uint32_t load_word(uint32_t address)
{
    uint32_t x;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
    return x;
}

/* Codes of fp8, a's of format A and b's of format B: 32 terms an instruction, from compute capability 8.9 on. Devices of 9.0 have none for
 * them; there the compiler decodes to f16 and takes two of 16 terms. */
template <class A, class B> struct f8_pair {
    uint8_t bits;
};
using e4m3_e4m3 = f8_pair<simt::f8_e4m3fn, simt::f8_e4m3fn>;
using e4m3_e5m2 = f8_pair<simt::f8_e4m3fn, simt::f8_e5m2>;
using e5m2_e4m3 = f8_pair<simt::f8_e5m2, simt::f8_e4m3fn>;
using e5m2_e5m2 = f8_pair<simt::f8_e5m2, simt::f8_e5m2>;

/* d += a b */
#define TRINE_MMA_SYNC(T, SHAPE) \
    TRINE_DEVICE void multiply(float(&d)[4], const uint32_t(&a)[4], uint32_t b0, uint32_t b1, T) \
    { \
        asm volatile("mma.sync.aligned." SHAPE " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)); \
    }
TRINE_MMA_SYNC(simt::f16, "m16n8k16.row.col.f32.f16.f16.f32")
TRINE_MMA_SYNC(simt::bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
TRINE_MMA_SYNC(float, "m16n8k8.row.col.f32.tf32.tf32.f32")
TRINE_MMA_SYNC(e4m3_e4m3, "m16n8k32.row.col.f32.e4m3.e4m3.f32")
TRINE_MMA_SYNC(e4m3_e5m2, "m16n8k32.row.col.f32.e4m3.e5m2.f32")
TRINE_MMA_SYNC(e5m2_e4m3, "m16n8k32.row.col.f32.e5m2.e4m3.f32")
TRINE_MMA_SYNC(e5m2_e5m2, "m16n8k32.row.col.f32.e5m2.e5m2.f32")
#undef TRINE_MMA_SYNC

} // namespace mma_sync

#endif
