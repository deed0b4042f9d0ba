/* Sorts ids stably and remembers where each stood: what a deterministic scatter needs, so that it adds in the order of the list.
 *
 * Algorithm: radix sort from the lowest digit on (at most 8 bits a pass, as few passes as the largest key allows). A pass counts the
 * digits of every block of keys and puts each key at its place: behind the keys of smaller digits, those of blocks before it, and
 * those before it in its block. In a block, a wave takes its keys one row of lanes after the other; lanes of equal digits find each
 * other by a ballot a bit, so that a key's rank among them, and the wave's count of the digit so far, are its place in the wave: no
 * atomics, and equal keys keep their order. The block's keys are put in order in shared memory, so that those of a digit are written
 * side by side. What precedes a block is added up by each block where blocks are few, else by a kernel between. Bound by latency:
 * a few small launches; the rows that the ids stand for are far more bytes.
 *
 * Keys are ids as i32; one outside [0, rows) becomes `rows`, which sorts behind all others. */
#ifndef TRINE_SIMT_SORT_IDS_H
#define TRINE_SIMT_SORT_IDS_H

#include "backends/simt/block.h"
#include "backends/simt/divider.h"
#include "backends/simt/ids.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"

namespace simt {

enum {
    sort_threads = 256,
    sort_keys = 8, /* of a thread */
    sort_block = sort_threads * sort_keys,
    sort_bits = 8,
    sort_digits = 1 << sort_bits, /* at most; a thread has one each */
    sort_few = 64                 /* blocks whose counts each block adds up itself */
};

struct sort_plan {
    int64_t n, rows, blocks;
    int passes, bits; /* of a pass */
    sort_plan(int64_t ids, int64_t rows_) : n(ids), rows(rows_), blocks(ceil_div(ids, sort_block))
    {
        int all = 1;
        while (rows >> all) all++;
        passes = int(ceil_div(all, sort_bits));
        bits = int(ceil_div(all, passes));
    }
    size_t list_bytes() const { return (size_t(n) * 4 + 15) / 16 * 16; }
    size_t table_bytes() const { return size_t((blocks + 1) * sort_digits) * 4; }
    /* Two lists of keys and two of places, the counts, and their sums. */
    size_t bytes() const { return 4 * list_bytes() + table_bytes(); }
};

/* A pass, as its kernels see it. table: [block][digit], and behind it every digit's sum where blocks are many. */
struct sort_pass {
    int64_t n, blocks;
    int shift, bits;
    TRINE_DEVICE_METHOD int digit(int32_t key) const { return key >> shift & ((1 << bits) - 1); }
};

/* Where a thread's keys lie: one in every row of lanes of its wave. */
TRINE_DEVICE int64_t sort_first()
{
    const int t = target::thread_x(), wave_size = target::wave_size();
    return int64_t(target::block_x()) * sort_block + t / wave_size * (wave_size * sort_keys) + t % wave_size;
}
/* Elements from there on, as far as they matter. */
TRINE_DEVICE int sort_left(int64_t first, int64_t n) { return n - first < sort_block ? int(n - first) : int(sort_block); }
TRINE_DEVICE bool sort_has(int left, int i) { return i * target::wave_size() < left; }
TRINE_DEVICE void sort_load(int32_t (&to)[sort_keys], const int32_t *from, int64_t first, int left)
{
    from += first;
#pragma unroll
    for (int i = 0; i < sort_keys; i++) to[i] = sort_has(left, i) ? from[i * target::wave_size()] : 0;
}

/* How often each wave of a block has each digit. */
struct sort_counts {
    uint32_t at[sort_threads / target::wave_size()][sort_digits];

    /* Counts the digits of the block's keys; with `rank`, rank[i] becomes how many of key i's digit precede it in its wave. */
    TRINE_DEVICE_METHOD void count(const sort_pass &pass, const int32_t (&key)[sort_keys], int left, uint32_t *rank)
    {
        const int t = target::thread_x(), lane = t % target::wave_size();
        uint32_t *const mine = at[t / target::wave_size()];
        for (int d = lane; d < sort_digits; d += target::wave_size()) mine[d] = 0;
        target::wave_barrier();
#pragma unroll
        for (int i = 0; i < sort_keys; i++) {
            const bool has = sort_has(left, i);
            const int digit = pass.digit(key[i]);
            target::lane_set same = target::ballot(has);
            for (int b = 0; b < pass.bits; b++) {
                const bool one = digit >> b & 1;
                const target::lane_set ones = target::ballot(one);
                same &= one ? ones : ~ones;
            }
            const uint32_t before = mine[digit], ahead = target::count_lanes(same & ((target::lane_set(1) << lane) - 1));
            if (rank) rank[i] = before + ahead;
            target::wave_barrier();
            if (has && ahead == 0) mine[digit] = before + target::count_lanes(same);
            target::wave_barrier();
        }
        target::barrier();
    }
    /* A digit's count in the block; the waves' become what precedes them. */
    TRINE_DEVICE_METHOD uint32_t add_up(int digit)
    {
        uint32_t sum = 0;
        for (int w = 0; w < sort_threads / target::wave_size(); w++) {
            const uint32_t count = at[w][digit];
            at[w][digit] = sum;
            sum += count;
        }
        return sum;
    }
    TRINE_DEVICE_METHOD void raise(int digit, uint32_t by)
    {
        for (int w = 0; w < sort_threads / target::wave_size(); w++) at[w][digit] += by;
    }
};

/* The sum of the values of all threads before this one. list: of a block's waves, free again after the next barrier. */
TRINE_DEVICE uint32_t sort_sum_before(uint32_t value, uint32_t *list)
{
    const int wave_size = target::wave_size(), lane = target::thread_x() % wave_size, wave = target::thread_x() / wave_size;
    uint32_t sum = value;
    for (int apart = 1; apart < wave_size; apart *= 2) {
        const uint32_t other = target::shuffle(sum, lane < apart ? lane : lane - apart);
        sum += lane < apart ? 0 : other;
    }
    if (lane == wave_size - 1) list[wave] = sum;
    target::barrier();
    for (int w = 0; w < wave; w++) sum += list[w];
    return sum - value;
}

/* All of a thread's ids are under way at once. */
template <class Id, class Walk> TRINE_DEVICE void sort_make_keys(int32_t (&key)[sort_keys], const Walk &walk_, const id_list &ids,
                                                                 int64_t first, int left, int64_t rows, int32_t below)
{
    Id id[sort_keys];
#pragma unroll
    for (int i = 0; i < sort_keys; i++) {
        int64_t offset[1];
        walk_.offsets(sort_has(left, i) ? first + i * target::wave_size() : 0, offset);
        id[i] = sort_has(left, i) ? static_cast<const Id *>(ids.data)[offset[0]] : Id(0);
    }
#pragma unroll
    for (int i = 0; i < sort_keys; i++) key[i] = id[i] < 0 ? below : int64_t(id[i]) < rows ? int32_t(id[i]) : int32_t(rows);
}

/* Keys of ids, and the first pass's counts. already: the ids are sorted, so that those below 0 become -1 and stay in front, and
 * nothing is counted, but places are made. `Walk` is walk<1, divider_any>. */
template <class Walk> TRINE_KERNEL(sort_threads)
sort_keys_kernel(Walk walk_, id_list ids, sort_pass pass, int64_t rows, bool already, int32_t *keys, int32_t *places,
                 int32_t *table)
{
    TRINE_SHARED sort_counts counts;
    target::let_next_start();
    const int64_t first = sort_first();
    const int left = sort_left(first, pass.n);
    int32_t key[sort_keys];
    const int32_t below = already ? -1 : int32_t(rows);
    if (ids.wide)
        sort_make_keys<int64_t>(key, walk_, ids, first, left, rows, below);
    else
        sort_make_keys<int32_t>(key, walk_, ids, first, left, rows, below);
#pragma unroll
    for (int i = 0; i < sort_keys; i++) {
        const int64_t at = first + i * target::wave_size();
        if (!sort_has(left, i)) continue;
        keys[at] = key[i];
        if (already) places[at] = int32_t(at);
    }
    if (already) return;
    counts.count(pass, key, left, nullptr);
    const int digit = target::thread_x();
    if (digit < sort_digits) table[int64_t(target::block_x()) * sort_digits + digit] = int32_t(counts.add_up(digit));
}

template <class Key> TRINE_KERNEL(sort_threads) sort_count_kernel(sort_pass pass, const Key *keys, Key *table)
{
    TRINE_SHARED sort_counts counts;
    target::let_next_start();
    target::wait_for_previous();
    int32_t key[sort_keys];
    const int64_t first = sort_first();
    const int left = sort_left(first, pass.n);
    sort_load(key, keys, first, left);
    counts.count(pass, key, left, nullptr);
    const int digit = target::thread_x();
    if (digit < sort_digits) table[int64_t(target::block_x()) * sort_digits + digit] = Key(counts.add_up(digit));
}

/* A digit's counts become the sums of those before them, by a block; behind the table goes the sum of them all. */
template <class Key> TRINE_KERNEL(sort_threads) sort_scan_kernel(int64_t blocks, Key *table)
{
    TRINE_SHARED uint32_t sums[2][target::max_waves];
    TRINE_SHARED uint32_t all[2];
    target::let_next_start();
    target::wait_for_previous();
    const int t = target::thread_x(), digit = int(target::block_x());
    uint32_t before = 0;
    int turn = 0;
    for (int64_t i = t; i - t < blocks; i += sort_threads) {
        const uint32_t count = i < blocks ? uint32_t(table[i * sort_digits + digit]) : 0;
        const uint32_t sum = before + sort_sum_before(count, sums[turn]);
        if (i < blocks) table[i * sort_digits + digit] = Key(sum);
        if (t == sort_threads - 1) all[turn] = sum + count;
        target::barrier();
        before = all[turn];
        turn ^= 1;
    }
    if (t == 0) table[blocks * sort_digits + digit] = Key(before);
}

/* A digit's keys: of all blocks, and of those before this one. */
struct sort_digit_sums {
    uint32_t all = 0, before = 0;
    template <class Key> TRINE_DEVICE_METHOD sort_digit_sums(const Key *table, int64_t blocks, int digit)
    {
        const int64_t block = target::block_x();
        if (blocks > sort_few) {
            all = uint32_t(table[blocks * sort_digits + digit]);
            before = uint32_t(table[block * sort_digits + digit]);
            return;
        }
#pragma unroll 16
        for (int b = 0; b < int(blocks); b++) {
            const uint32_t count = uint32_t(table[b * sort_digits + digit]);
            all += count;
            before += b < int(block) ? count : 0;
        }
    }
};

/* A block's keys and places in the order of their digits, where its counts were. */
struct sort_ordered {
    int32_t key[sort_block], place[sort_block];
};

/* places: NULL in the first pass, where each key still stands in its place. */
template <class Key> TRINE_CROWDED_KERNEL(sort_threads, 4)
sort_place_kernel(sort_pass pass, const Key *table, const Key *keys, const Key *places, Key *keys_to, Key *places_to)
{
    union both {
        sort_counts counts;
        sort_ordered ordered;
    };
    TRINE_SHARED both memory;
    TRINE_SHARED uint32_t begin[sort_digits]; /* where a digit's keys of the block go, less where they lie in it */
    TRINE_SHARED uint32_t lists[2][target::max_waves];
    target::let_next_start();
    target::wait_for_previous();
    const int64_t first = sort_first();
    const int left = sort_left(first, pass.n);
    const int t = target::thread_x(), wave = t / target::wave_size();
    int32_t key[sort_keys], place[sort_keys];
    uint32_t at[sort_keys];
    sort_load(key, keys, first, left);
    const sort_digit_sums sums(table, pass.blocks, t);
    sort_counts &counts = memory.counts;
    counts.count(pass, key, left, at);
    if (places) sort_load(place, places, first, left);
    const uint32_t here = sort_sum_before(counts.add_up(t), lists[0]), before = sort_sum_before(sums.all, lists[1]);
    counts.raise(t, here);
    begin[t] = before + sums.before - here;
    target::barrier();
#pragma unroll
    for (int i = 0; i < sort_keys; i++) at[i] += counts.at[wave][pass.digit(key[i])];
    target::barrier();
#pragma unroll
    for (int i = 0; i < sort_keys; i++) {
        if (!sort_has(left, i)) break;
        memory.ordered.key[at[i]] = key[i];
        memory.ordered.place[at[i]] = places ? place[i] : int32_t(first + i * target::wave_size());
    }
    target::barrier();
    const int here_left = sort_left(int64_t(target::block_x()) * sort_block, pass.n);
#pragma unroll
    for (int i = t; i < sort_block; i += sort_threads) {
        if (i >= here_left) break;
        const int32_t k = memory.ordered.key[i];
        const uint32_t to = begin[pass.digit(k)] + uint32_t(i);
        keys_to[to] = k;
        places_to[to] = memory.ordered.place[i];
    }
}

/* first[v] becomes how many sorted keys are below v, for v from 0 to rows. Seven keys are asked for at once, which leave an
 * eighth. */
TRINE_DEVICE void sort_bounds(int64_t n, int64_t rows, const int32_t *keys, int32_t *first, int64_t v)
{
    if (v > rows) return;
    int32_t low = 0, size = int32_t(n); /* the answer lies in [low, low + size] */
    while (size > 0) {
        const int32_t part = size / 8 + 1;
        int32_t below = 0;
#pragma unroll
        for (int k = 1; k < 8; k++) below += k * part <= size && keys[low + k * part - 1] < v;
        low += below * part;
        size -= below * part;
        if (below < 7 && size >= part) size = part - 1;
    }
    first[v] = low;
}

struct sorted_ids {
    const int32_t *keys, *places;
};

/* Every kernel is launched beside the end of the one before. `memory`: plan.bytes(), aligned to 16. already: the ids are sorted, so
 * that only keys are made. */
inline trine_status sort_ids(trine_call *call, const sort_plan &plan, const trine_tensor &ids, bool already, char *memory,
                             sorted_ids *sorted)
{
    const auto list = [&](int k) { return reinterpret_cast<int32_t *>(memory + size_t(k) * plan.list_bytes()); };
    const trine_tensor *operand[] = {&ids};
    int32_t *keys = list(0), *places = list(1), *other_keys = list(2), *other_places = list(3), *table = list(4);
    sort_pass pass = {plan.n, plan.blocks, 0, plan.bits};
    trine_status status =
        launch(call, sort_keys_kernel<walk<1, divider_any>>, grid(plan.blocks), sort_threads, 0,
               walk<1, divider_any>(trine_iter_make(operand, 1, 1)), id_list(ids), pass, plan.rows, already, keys, places, table);
    for (int k = 0; k < plan.passes && !already && status == TRINE_OK; k++, pass.shift += pass.bits) {
        if (k) status = launch_next(call, sort_count_kernel<int32_t>, plan.blocks, sort_threads, pass, keys, table);
        if (status == TRINE_OK && plan.blocks > sort_few)
            status = launch_next(call, sort_scan_kernel<int32_t>, sort_digits, sort_threads, plan.blocks, table);
        if (status == TRINE_OK)
            status = launch_next(call, sort_place_kernel<int32_t>, plan.blocks, sort_threads, pass, table, keys,
                                 k ? places : nullptr, other_keys, other_places);
        int32_t *const from_keys = keys, *const from_places = places;
        keys = other_keys;
        places = other_places;
        other_keys = from_keys;
        other_places = from_places;
    }
    *sorted = sorted_ids{keys, places};
    return status;
}

} // namespace simt

#endif
