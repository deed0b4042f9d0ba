/* Long rows on devices with clusters of blocks: a cluster goes through row after row and a thread stays with its columns, so that it
 * keeps in registers what all rows share. Rows go through shared memory, each thread's packs in places of its own, three rows deep:
 * while one is stored, the next one's partials are exchanged and the one after it is on its way. Nothing waits for the blocks
 * to meet, and a multiprocessor has at least a row's share (64 KiB) on its way at any time, which makes up for those that clusters
 * leave idle. */
#ifndef TRINE_SIMT_ROW_STREAM_H
#define TRINE_SIMT_ROW_STREAM_H

#include "backends/simt/row_run.h"

namespace simt {

/* stream_slots: rows in shared memory. stream_bytes: of a thread in each of them. */
enum { stream_threads = 512, stream_slots = 3, stream_bytes = 128 };

/* A partial of each turn goes to all blocks; they meet a turn later. */
template <class Team, class Op, class Partial = typename Op::partial> struct stream_exchange {
    using partial = Partial;
    enum { lists = 4 };
    partial (&list)[lists][Team::most_blocks];
    partial (&own)[2][target::max_waves]; /* of the block's waves */

    /* `mine`: of a wave, the same in all its lanes. */
    TRINE_DEVICE_METHOD void offer(const Op &op, const partial &mine, int turn) const
    {
        const int lane = target::thread_x() % target::wave_size(), wave = target::thread_x() / target::wave_size(),
                  waves = target::block_threads() / target::wave_size();
        if (lane == 0) own[turn & 1][wave] = mine;
        target::barrier();
        if (wave != 0) return;
        const partial p = op.combine(lane < waves ? own[turn & 1][lane] : op.identity());
        if (lane < Team::blocks()) Team::put(&list[turn % lists][Team::rank()], lane, p, turn);
    }
    TRINE_DEVICE_METHOD partial collect(const Op &op, int turn) const
    {
        const int lane = target::thread_x() % target::wave_size();
        Team::meet(turn);
        const partial p = op.combine(lane < Team::blocks() ? list[turn % lists][lane] : op.identity());
        Team::again(turn, int(sizeof(partial)) * Team::blocks());
        return p;
    }
};

/* The same address, to which columns are added: not to the offset that it was made from, which takes four instructions a pack. */
template <class T> TRINE_DEVICE T *stream_address(T *p, uint32_t zero)
{
    return reinterpret_cast<T *>(derived_again(reinterpret_cast<int64_t>(p), zero));
}

/* Places of a thread: `packs` of each of its rows. Those of a wave's row lie together, at distances that are known while compiling. */
template <class T, int packs> struct stream_places {
    uint4 *first;
    TRINE_DEVICE_METHOD stream_places()
        : first(reinterpret_cast<uint4 *>(target::dynamic_shared()) +
                target::thread_x() / target::wave_size() * (packs * target::wave_size()) +
                target::thread_x() % target::wave_size())
    {
    }
    TRINE_DEVICE_METHOD uint4 *at(int slot, int i) const
    {
        return first + slot * (packs * target::block_threads()) + i * target::wave_size();
    }
    TRINE_DEVICE_METHOD void send(int slot, int i, const T *from) const { target::copy_to_shared<16>(at(slot, i), from); }
    TRINE_DEVICE_METHOD row_words<T> get(int slot, int i) const
    {
        const uint4 v = *at(slot, i);
        return {{v.x, v.y, v.z, v.w}};
    }
};

/* ---- Host ---- */

/* Blocks of a cluster that rows of so many packs take, `held` of them a thread, and threads of each, at most `most`; threads 0: too
 * long. */
struct stream_team {
    int blocks, threads;
    stream_team(const trine_call *call, int64_t packs, int held, int most) : blocks(1), threads(0)
    {
        while (blocks < target::row_wide_team::most_blocks && packs > int64_t(blocks) * most * held) blocks *= 2;
        const int64_t each = round_up(ceil_div(packs, int64_t(blocks) * held), call->device->props.wave_size);
        if (each <= most) threads = int(each);
    }
};

/* Launches rows in the best way that the device has: two blocks in a multiprocessor, or one; false if it has none. `held` packs a
 * thread, `bytes` of shared memory a thread. */
template <class... P, class... A> inline bool launch_stream(trine_call *call, void (*kernel)(P...), int64_t rows, int64_t packs,
                                                            int held, int bytes, trine_status *status, A... args)
{
    for (int most = stream_threads / 2; most <= stream_threads; most *= 2) {
        const stream_team team(call, packs, held, most);
        if (team.threads == 0) continue;
        const size_t shared = size_t(bytes) * team.threads;
        const int teams = target::row_wide_teams(call, kernel, team.blocks, team.threads, shared);
        if (teams == 0 || rows <= teams) continue;
        *status = target::launch_wide(call, kernel, int64_t(teams) * team.blocks, team.blocks, team.threads, shared, args...);
        return true;
    }
    return false;
}

} // namespace simt

#endif
