/* A ring of tiles in shared memory that bulk copies fill, on Hopper: for kernels whose blocks stay, bound by bytes, where a tile waits
 * for something from other blocks before it is stored. Nearly all of a multiprocessor's shared memory is tiles on their way or
 * waiting, so that the memory never does.
 *
 * Barriers of a stage: full (the tile has come), ready (what it waited for is there) and empty (it may be overwritten). A barrier tells
 * a use of the stage from the next, not from the one after that: who waits for one must have waited for the one before. Hands that take
 * tiles in turn, n of them, must so meet each of their stages at every use: the stages are a multiple of n.
 * Sources: PTX ISA, "cp.async.bulk", "mbarrier". */
#ifndef TRINE_CUDA_TILE_RING_SM90_H
#define TRINE_CUDA_TILE_RING_SM90_H

#include "backends/cuda/mma/mma_sync.h"
#include "backends/cuda/mma/ptx.h"
#include "backends/simt/types.h"

namespace tile_ring {

/* Shared memory: tiles of `bytes`, and notes that go with each. */
template <class Notes, int count, int bytes> struct memory {
    enum { stages = count, tile_bytes = bytes };
    using notes_type = Notes;
    alignas(128) unsigned char tiles[count][bytes];
    Notes notes[count];
    alignas(8) uint64_t full[count], ready[count], empty[count];
};

/* A kernel's dynamic shared memory as that; one thread makes the barriers. */
template <class Memory> constexpr size_t bytes_of = sizeof(Memory) + 128;
template <class Memory> TRINE_DEVICE Memory &make(int full, int ready, int empty)
{
    auto &m = *reinterpret_cast<Memory *>((reinterpret_cast<uintptr_t>(target::dynamic_shared()) + 127) & ~uintptr_t(127));
    if (threadIdx.x == 0) {
        for (int s = 0; s < Memory::stages; s++) {
            ptx::barrier_init(ptx::shared_address(&m.full[s]), full);
            ptx::barrier_init(ptx::shared_address(&m.ready[s]), ready);
            ptx::barrier_init(ptx::shared_address(&m.empty[s]), empty);
        }
        ptx::barrier_init_fence();
    }
    __syncthreads();
    return m;
}

/* A place in the ring. */
template <class Memory> struct place {
    Memory &memory;
    int stage = 0;
    uint32_t parity = 0;
    TRINE_DEVICE_METHOD explicit place(Memory &m) : memory(m) {}
    TRINE_DEVICE_METHOD void next()
    {
        if (++stage == Memory::stages) stage = 0, parity ^= 1;
    }
    TRINE_DEVICE_METHOD void next(int steps)
    {
        for (int i = 0; i < steps; i++) next();
    }
    TRINE_DEVICE_METHOD typename Memory::notes_type &notes() const { return memory.notes[stage]; }
    TRINE_DEVICE_METHOD unsigned char *data() const { return memory.tiles[stage]; }
    TRINE_DEVICE_METHOD uint32_t full() const { return ptx::shared_address(&memory.full[stage]); }
    TRINE_DEVICE_METHOD uint32_t ready() const { return ptx::shared_address(&memory.ready[stage]); }
    TRINE_DEVICE_METHOD uint32_t empty() const { return ptx::shared_address(&memory.empty[stage]); }
    TRINE_DEVICE_METHOD void wait_full() const { ptx::barrier_wait(full(), parity); }
    TRINE_DEVICE_METHOD void wait_ready() const { ptx::barrier_wait(ready(), parity); }
    TRINE_DEVICE_METHOD void wait_empty() const { ptx::barrier_wait(empty(), parity ^ 1); }
    /* The tile's 16 bytes number i. */
    template <class T> TRINE_DEVICE_METHOD simt::pack<T, 16 / int(sizeof(T))> pack_at(int i) const
    {
        const int4 words = ptx::load_shared_words(ptx::shared_address(data()) + 16 * i);
        return reinterpret_cast<const simt::pack<T, 16 / int(sizeof(T))> &>(words);
    }
};

/* Starts the copy of multiples of 16 bytes, aligned to as many. */
TRINE_DEVICE void copy_bulk(void *to, const void *from, uint32_t bytes, uint32_t barrier)
{
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(ptx::shared_address(to)),
        "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
        : "memory");
}

/* The next of `all` tiles that no block has taken yet, or `all`: in every lane of a warp. */
TRINE_DEVICE int64_t take(uint32_t *tickets, int64_t all)
{
    uint32_t ticket = 0;
    if (threadIdx.x % 32 == 0) ticket = target::atomic_add(tickets, 1u);
    ticket = target::shuffle(ticket, 0);
    return ticket < all ? ticket : all;
}

} // namespace tile_ring

#endif
