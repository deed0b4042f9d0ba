/* NVIDIA's side of simt/row.h: how much a thread holds, and clusters of blocks (compute capability 9.0 on) for rows that one
 * block can't hold. Sources: PTX ISA, "barrier.cluster", "mapa", "st.async", "mbarrier"; CUDA programming guide, "Thread block
 * clusters". Included after target.h and before the family's header. */
#ifndef TRINE_CUDA_ROW_H
#define TRINE_CUDA_ROW_H

#include <pthread.h>
#include <stdlib.h>

#if defined TRINE_CODE_SM80
#error clusters: name the family in uses_sm90 of backends/cuda/meson.build
#endif

namespace target {

/* Packs of 16 bytes that a thread holds, all operands together: half of the 64 registers of a thread in a block of 1024. */
constexpr int row_packs = 8;
/* Where threads that go through many rows keep their columns' sums (norm_backward.h), how many work in a multiprocessor, and the block
 * beyond which two are better. */
constexpr bool columns_in_registers = false;
constexpr int columns_threads = 512, columns_team_block = 256;
/* Whether kernels have more code so that a block by itself ends sooner, which is all that counts for small tensors. */
constexpr bool row_hurries = true;
/* Where there are clusters, a block larger than this is better made two: then two rows are on their way in a multiprocessor. */
constexpr int row_team_block = 512;

/* The same bits, of which the compiler knows nothing. `zero` is 0 and only known at run time: the assembler sees through less
 * than an instruction. */
TRINE_DEVICE void opaque(uint32_t &word, uint32_t zero) { asm volatile("add.u32 %0, %0, %1;" : "+r"(word) : "r"(zero)); }

/* The same word, of which the compiler makes nothing before this. */
TRINE_DEVICE void not_before(uint32_t &word) { asm volatile("" : "+r"(word)); }
/* Packs whose 16-bit elements come one by one that are on their way before any is put together; 1: as the compiler does it. */
constexpr int row_halves_packs = 4;

/* The same address in global memory, of which the compiler knows nothing more: else it keeps an index, of which it makes one for every
 * access, in four instructions for one. */
template <class T> TRINE_DEVICE T *settled(T *p)
{
    asm("" : "+l"(p));
    __builtin_assume(__isGlobal(p));
    return p;
}

/* Shared memory of the same variable in another block of the cluster. */
TRINE_DEVICE uint32_t cluster_address(const void *shared, int block)
{
    uint32_t there = 0;
#if !defined __CUDA_ARCH__ || __CUDA_ARCH__ >= 900
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(uint32_t(__cvta_generic_to_shared(shared))), "r"(block));
#endif
    return there;
}

/* The interface of simt::lone_block. Blocks meet at a barrier each in its own shared memory, which counts the bytes that arrive:
 * a barrier of the cluster would have to wait until all memory accesses of its threads are over, and empties the L1 cache. `meetings`:
 * barriers, which turns take one after the other. */
template <int meetings_> struct row_cluster_of {
    enum { most_blocks = 16, meetings = meetings_ };
#if !defined __CUDA_ARCH__ || __CUDA_ARCH__ >= 900
    static constexpr bool absent = false;
    static TRINE_DEVICE_METHOD int rank()
    {
        uint32_t r;
        asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
        return int(r);
    }
    static TRINE_DEVICE_METHOD int blocks()
    {
        uint32_t n;
        asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(n));
        return int(n);
    }
    static TRINE_DEVICE_METHOD void begin(int bytes, int barriers = 1)
    {
        if (thread_x() == 0) {
            for (int k = 0; k < barriers; k++)
                asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(own_address(k)) : "memory");
            asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
            for (int k = 0; k < barriers; k++) again(k, bytes);
        }
        asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
    }
    static TRINE_DEVICE_METHOD void started() { asm volatile("barrier.cluster.wait;" ::: "memory"); }
    template <class T> static TRINE_DEVICE_METHOD void put(T *slot, int to, T value, int turn = 0)
    {
        static_assert(sizeof(T) % 4 == 0, "moved by words");
        const uint32_t there = cluster_address(slot, to), barrier = cluster_address(arrived(turn), to);
        uint32_t words[sizeof(T) / 4];
        memcpy(words, &value, sizeof value);
#pragma unroll
        for (unsigned i = 0; i < sizeof(T) / 4; i++)
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(there + 4 * i),
                         "r"(words[i]), "r"(barrier)
                         : "memory");
    }
    static TRINE_DEVICE_METHOD void meet(int turn = 0)
    {
        uint32_t done;
        do
            asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                         : "=r"(done)
                         : "r"(own_address(turn)), "r"(turn / meetings & 1)
                         : "memory");
        while (!done);
    }
    /* The barrier that has been met at is next used `meetings` turns later. By then every block has met in the turn between, so
     * that nobody puts into a turn before its barrier has done with the last one. */
    static TRINE_DEVICE_METHOD void again(int turn, int bytes)
    {
        if (thread_x() == 0)
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(own_address(turn)), "r"(bytes)
                         : "memory");
    }

  private:
    static TRINE_DEVICE_METHOD uint64_t *arrived(int turn)
    {
        TRINE_SHARED uint64_t barrier[meetings];
        return &barrier[turn % meetings];
    }
    static TRINE_DEVICE_METHOD uint32_t own_address(int turn) { return uint32_t(__cvta_generic_to_shared(arrived(turn))); }
#else /* never launched there */
    static constexpr bool absent = true;
    static TRINE_DEVICE_METHOD int rank() { return 0; }
    static TRINE_DEVICE_METHOD int blocks() { return 1; }
    static TRINE_DEVICE_METHOD void begin(int, int = 1) {}
    static TRINE_DEVICE_METHOD void started() {}
    static TRINE_DEVICE_METHOD void meet(int = 0) { target::barrier(); }
    static TRINE_DEVICE_METHOD void again(int, int) {}
    template <class T> static TRINE_DEVICE_METHOD void put(T *slot, int, T value, int = 0) { *slot = value; }
#endif
};
using row_cluster = row_cluster_of<2>;
using row_wide_team = row_cluster;

/* For simt/row_stream.h: a block that has put its own goes on and meets a turn later. Then a block may be two turns ahead of
 * another, so that there are four barriers; and copies to shared memory are closed in groups, of which the last may be on their
 * way when the others are waited for (PTX ISA, "cp.async.wait_group"). */
constexpr int stream_shared = 228 * 1024,
              stream_reserved = 1024; /* of a multiprocessor, and by the system of each of its blocks */
struct row_stream_team : row_cluster_of<4> {
    static TRINE_DEVICE_METHOD void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
    template <int last> static TRINE_DEVICE_METHOD void wait_for_copies_but()
    {
        asm volatile("cp.async.wait_group %0;" ::"n"(last) : "memory");
    }
};

/* Blocks that may work on one row, on any device of the architecture. */
inline int row_most_blocks(const trine_call *call) { return atoi(call->device->props.arch + sizeof "sm_" - 1) >= 90 ? 8 : 1; }

/* A launch with the grid in clusters of `blocks`. */
struct wide_launch {
    cudaLaunchAttribute cluster;
    cudaLaunchConfig_t config = {};
    wide_launch(trine_call *call, int64_t grid, int blocks, int threads, size_t shared = 0)
    {
        config.dynamicSmemBytes = shared;
        cluster.id = cudaLaunchAttributeClusterDimension;
        cluster.val.clusterDim.x = unsigned(blocks);
        cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
        config.gridDim = dim3(unsigned(grid));
        config.blockDim = dim3(unsigned(threads));
        config.stream = static_cast<stream>(call->native);
        config.attrs = &cluster;
        config.numAttrs = 1;
    }
};

/* What a device answered about clusters of a kernel. To ask takes the host 10 to 20 us, in which a stream may run empty. */
struct wide_answer {
    const void *kernel;
    int device, blocks, threads;
    size_t shared;
    int clusters;
};

/* Clusters of `blocks` blocks that the device can have at work together; 0: it can't run such ones. */
inline int clusters_at_once(trine_call *call, const void *kernel, int blocks, int threads, size_t shared)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static wide_answer known[256]; /* of kernels, shapes and devices by hash; a collision only asks again */
    wide_answer asked = {kernel, 0, blocks, threads, shared, 0};
    if (cudaGetDevice(&asked.device) != cudaSuccess) asked.device = -1;
    uint64_t hash = reinterpret_cast<uintptr_t>(kernel) >> 4;
    for (uint64_t part : {uint64_t(asked.device), uint64_t(blocks), uint64_t(threads), uint64_t(shared)})
        hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
    wide_answer &slot = known[hash >> 56];
    pthread_mutex_lock(&lock);
    const bool same = slot.kernel == kernel && slot.device == asked.device && slot.blocks == blocks && slot.threads == threads &&
                      slot.shared == shared;
    if (same) asked.clusters = slot.clusters;
    pthread_mutex_unlock(&lock);
    if (same) return asked.clusters;
    const wide_launch wide(call, blocks, blocks, threads, shared);
    cudaFuncAttributes own = {}; /* all that there is is allowed, whatever shape the next launch has */
    if (shared > 48 * 1024 && cudaFuncGetAttributes(&own, kernel) == cudaSuccess)
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             int(call->device->props.shared_bytes - int64_t(own.sharedSizeBytes)));
    if (blocks > 8) cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (cudaOccupancyMaxActiveClusters(&asked.clusters, kernel, &wide.config) != cudaSuccess) asked.clusters = 0;
    cudaGetLastError(); /* not an error of the launch that follows */
    pthread_mutex_lock(&lock);
    slot = asked;
    pthread_mutex_unlock(&lock);
    return asked.clusters;
}
template <class... P> inline int row_wide_teams(trine_call *call, void (*kernel)(P...), int blocks, int threads, size_t shared)
{
    return clusters_at_once(call, reinterpret_cast<const void *>(kernel), blocks, threads, shared);
}

/* The largest clusters of such blocks that this device can run: 16, which needs a permission and as many multiprocessors side by
 * side, or what all have. */
template <class... P> inline int row_most_blocks_here(trine_call *call, void (*kernel)(P...), int threads)
{
    const int most = row_most_blocks(call), all = row_cluster::most_blocks;
    return most > 1 && row_wide_teams(call, kernel, all, threads, 0) > 0 ? all : most;
}

/* simt::launch with the grid in clusters of `blocks`. */
template <class... P, class... A> inline trine_status launch_wide(trine_call *call, void (*kernel)(P...), int64_t grid,
                                                                  int blocks, int threads, size_t shared, A... args)
{
    const wide_launch wide(call, grid, blocks, threads, shared);
    cudaLaunchKernelEx(&wide.config, kernel, static_cast<P>(args)...);
    return launched(call);
}

} // namespace target

#endif
