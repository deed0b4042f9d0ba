/* Hopper's instructions that C++ has no words for, one function each: barriers in shared memory, the tensor memory accelerator
 * (TMA), clusters. Source: the PTX ISA. Shared memory is addressed by 32-bit numbers, as the instructions take it.
 *
 * Only for code that is compiled for sm_90a. */
#ifndef TRINE_CUDA_MMA_PTX_H
#define TRINE_CUDA_MMA_PTX_H

#include <cuda.h>

namespace ptx {

TRINE_DEVICE uint32_t shared_address(const void *p) { return uint32_t(__cvta_generic_to_shared(p)); }

/* ---- Barriers in shared memory ----
 *
 * A barrier's phase ends when as many threads have arrived as it was made for, and all bytes that were announced have come.
 * Phases are told apart by their parity: waiting for parity 1 on a new barrier returns at once. */

TRINE_DEVICE void barrier_init(uint32_t barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/* After the inits: TMA and the other blocks of the cluster see them, once a cluster barrier has passed. */
TRINE_DEVICE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/* Arrives, and announces bytes that TMA will bring. */
TRINE_DEVICE void barrier_expect(uint32_t barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/* Arrives at the barrier that lies at the same address in block `rank` of the cluster. The scope is the default, the block: what
 * is handed over here are stages that only wgmma and TMA touch, and a release at the cluster's scope would wait for all memory
 * accesses of the thread (MEMBAR.ALL.GPU, about 1000 cycles). */
TRINE_DEVICE void barrier_arrive(uint32_t barrier, uint32_t rank)
{
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}
TRINE_DEVICE void barrier_wait(uint32_t barrier, uint32_t parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}
/* `threads` threads of a block meet at barrier `id`, 1 to 15; 0 is the whole block's. */
TRINE_DEVICE void meet(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

/* This thread's warp, as a number that the compiler knows to be the warp's: what depends on it alone takes uniform registers, which
 * TMA's instructions want; others it has to collect lane by lane. */
TRINE_DEVICE int warp_index() { return __shfl_sync(0xffffffffu, int(threadIdx.x) / 32, 0); }
/* True in one thread of the warp. */
TRINE_DEVICE bool elected()
{
    uint32_t is;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "elect.sync _|p, 0xffffffff;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}"
                 : "=r"(is));
    return is != 0;
}

/* ---- Registers: by all warps of a warpgroup; together they have no more than the launch gave them ---- */

template <int registers> TRINE_DEVICE void take_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers> TRINE_DEVICE void leave_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

/* ---- The grid: read where they are asked for ---- */

TRINE_DEVICE unsigned block_index()
{
    unsigned index;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(index));
    return index;
}
TRINE_DEVICE unsigned grid_blocks()
{
    unsigned blocks;
    asm volatile("mov.u32 %0, %%nctaid.x;" : "=r"(blocks));
    return blocks;
}

/* ---- Clusters ---- */

TRINE_DEVICE uint32_t cluster_rank()
{
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
/* This cluster among the grid's, and their number: read where they are asked for, not held. */
TRINE_DEVICE unsigned cluster_index()
{
    unsigned index;
    asm volatile("mov.u32 %0, %%clusterid.x;" : "=r"(index));
    return index;
}
TRINE_DEVICE unsigned cluster_count()
{
    unsigned count;
    asm volatile("mov.u32 %0, %%nclusterid.x;" : "=r"(count));
    return count;
}
/* All threads of all blocks of the cluster meet; what they wrote before is seen after. */
TRINE_DEVICE void cluster_barrier()
{
    asm volatile("barrier.cluster.arrive.release;\n"
                 "barrier.cluster.wait.acquire;" ::
                     : "memory");
}
/* They meet, and nothing is said of memory: enough after barrier_init_fence. In two halves: between them there is time. */
TRINE_DEVICE void cluster_arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory"); }
TRINE_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
TRINE_DEVICE void cluster_barrier_relaxed()
{
    cluster_arrive_relaxed();
    cluster_wait();
}
/* 16 bytes of the shared memory of block `rank`. */
TRINE_DEVICE float4 cluster_load(uint32_t address, uint32_t rank)
{
    float4 v;
    asm volatile("{\n"
                 ".reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %4, %5;\n"
                 "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n"
                 "}"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address), "r"(rank)
                 : "memory");
    return v;
}

/* ---- TMA ----
 *
 * One thread starts the copy of a box of a tensor; the map (tensor_map.h) has the box's size, the strides and the swizzle. What
 * lies outside of the tensor is read as 0 and is not written. */

TRINE_DEVICE void prefetch_map(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<uint64_t>(map)) : "memory");
}

/* A place in a tensor: along its dense axis, along the other one, and in up to three batch axes. */
struct coordinates {
    int32_t inner, outer, batch[3];
};

/* To shared memory at `to`; the bytes count for `barrier`. Every block whose bit is in `blocks` gets the box at the same address,
 * and its own barrier the bytes. A map of a single matrix has two axes, else five. */
TRINE_DEVICE void load_box(uint32_t to, const CUtensorMap *map, const coordinates &at, bool single, uint32_t barrier)
{
    if (single)
        asm volatile(
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                to),
            "l"(map), "r"(barrier), "r"(at.inner), "r"(at.outer)
            : "memory");
    else
        asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
                     "[%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
                     "l"(map), "r"(barrier), "r"(at.inner), "r"(at.outer), "r"(at.batch[0]), "r"(at.batch[1]), "r"(at.batch[2])
                     : "memory");
}
TRINE_DEVICE void load_box_shared(uint32_t to, const CUtensorMap *map, const coordinates &at, bool single, uint32_t barrier,
                                  uint16_t blocks)
{
    if (single)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
                     "[%0], [%1, {%3, %4}], [%2], %5;" ::"r"(to),
                     "l"(map), "r"(barrier), "r"(at.inner), "r"(at.outer), "h"(blocks)
                     : "memory");
    else
        asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
                     "[%0], [%1, {%3, %4, %5, %6, %7}], [%2], %8;" ::"r"(to),
                     "l"(map), "r"(barrier), "r"(at.inner), "r"(at.outer), "r"(at.batch[0]), "r"(at.batch[1]), "r"(at.batch[2]),
                     "h"(blocks)
                     : "memory");
}
TRINE_DEVICE void store_box(const CUtensorMap *map, const coordinates &at, bool single, uint32_t from)
{
    if (single)
        asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(from),
                     "r"(at.inner), "r"(at.outer)
                     : "memory");
    else
        asm volatile("cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(map),
                     "r"(from), "r"(at.inner), "r"(at.outer), "r"(at.batch[0]), "r"(at.batch[1]), "r"(at.batch[2])
                     : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/* The same, added to what is there; the memory's side rounds to nearest. */
TRINE_DEVICE void add_box(const CUtensorMap *map, const coordinates &at, bool single, uint32_t from)
{
    if (single)
        asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
                     "r"(from), "r"(at.inner), "r"(at.outer)
                     : "memory");
    else
        asm volatile(
            "cp.reduce.async.bulk.tensor.5d.global.shared::cta.add.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(map),
            "r"(from), "r"(at.inner), "r"(at.outer), "r"(at.batch[0]), "r"(at.batch[1]), "r"(at.batch[2])
            : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
/* Until all but the last `pending` stores of this thread have read their shared memory. */
template <int pending> TRINE_DEVICE void wait_stores_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}
/* What this thread wrote to shared memory is seen by the copy engine and the tensor cores, after the next barrier. */
TRINE_DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* ---- Words to shared memory, copied while the thread goes on ---- */

/* 4 bytes; 0 instead if not `there`. */
TRINE_DEVICE void copy_word(uint32_t to, const void *from, bool there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(there ? 4 : 0)
                 : "memory");
}
/* Arrives when all copies that this thread started before have come. */
TRINE_DEVICE void barrier_arrive_after_copies(uint32_t barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/* A hint that an address is read soon by this multiprocessor. */
TRINE_DEVICE void prefetch_near(const void *p) { asm volatile("prefetch.global.L1 [%0];" ::"l"(__cvta_generic_to_global(p))); }

/* ---- Shared memory ---- */

TRINE_DEVICE void store_shared(uint32_t address, float x)
{
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(x) : "memory");
}
TRINE_DEVICE void store_shared(uint32_t address, int4 v)
{
    asm volatile("st.shared.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
TRINE_DEVICE int4 load_shared_words(uint32_t address)
{
    int4 v;
    asm volatile("ld.shared.v4.s32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}
TRINE_DEVICE float load_shared_one(uint32_t address)
{
    float x;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(address) : "memory");
    return x;
}
TRINE_DEVICE float2 load_shared_two(uint32_t address)
{
    float2 v;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address) : "memory");
    return v;
}

TRINE_DEVICE void load_shared_four(uint32_t address, float (&v)[4])
{
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
                 : "r"(address)
                 : "memory");
}

TRINE_DEVICE void store_shared(uint32_t address, float x, float y)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x), "f"(y) : "memory");
}
TRINE_DEVICE void store_shared(uint32_t address, float4 v)
{
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w) : "memory");
}
TRINE_DEVICE float4 load_shared(uint32_t address)
{
    float4 v;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}
/* Four 8 x 8 matrices of 16-bit elements, held as by wgmma's sums. Lane l gives the address of row l % 8 of matrix l / 8. */
TRINE_DEVICE void store_matrices(uint32_t address, uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(m0), "r"(m1), "r"(m2),
                 "r"(m3)
                 : "memory");
}

} // namespace ptx

#endif
