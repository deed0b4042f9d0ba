/* Sorts ids stably and remembers where each stood: what a deterministic scatter needs, so that it adds in the order of the list.
 *
 * Algorithm: radix sort from the lowest digit on (6 bits a pass, as many passes as the largest key has digits). A pass counts the
 * digits of every block of 2048 keys, turns the counts of all blocks into first places by a scan of each digit's, and puts each key
 * at its place; inside a block each thread has 8 keys that follow each other and its own counter of every digit, so no atomics are
 * needed and equal keys keep their order, and the block's keys are put in order in shared memory, so that those of a digit are written
 * side by side. Bound by latency: a few small launches; the rows that the ids stand for are far more
 * bytes.
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
    sort_bits = 6,
    sort_digits = 1 << sort_bits,
    sort_shares = sort_threads / sort_digits, /* threads that add up the counters of one digit */
    /* counters of a digit: a gap after every share, so that the shares of neighbouring digits lie in different banks */
    sort_part = sort_threads / sort_shares,
    sort_gap = 16,
    sort_row = sort_threads + sort_shares * sort_gap + 2
};

struct sort_plan {
    int64_t n, rows, blocks;
    int passes;
    sort_plan(int64_t ids, int64_t rows_) : n(ids), rows(rows_), blocks(ceil_div(ids, sort_block)), passes(0)
    {
        for (int64_t key = rows; key > 0; key >>= sort_bits) passes++;
    }
    size_t list_bytes() const { return (size_t(n) * 4 + 15) / 16 * 16; }
    size_t table_bytes() const { return size_t((blocks + 1) * sort_digits) * 4; }
    /* Two lists of keys and two of places, the counts, and their sums. */
    size_t bytes() const { return 4 * list_bytes() + table_bytes(); }
};

/* For ids that are sorted, those below 0 become -1 and stay in front. `Walk` is walk<1, divider_any>. */
template <class Walk> TRINE_KERNEL(sort_threads)
sort_keys_kernel(Walk walk_, id_list ids, int64_t n, int64_t rows, int32_t below, int32_t *keys, int32_t *places)
{
    target::let_next_start();
    const int64_t i = int64_t(target::block_x()) * sort_threads + target::thread_x();
    if (i >= n) return;
    int64_t offset[1];
    walk_.offsets(i, offset);
    const int64_t id = ids.at(offset[0]);
    keys[i] = id < 0 ? below : id < rows ? int32_t(id) : int32_t(rows);
    places[i] = int32_t(i);
}

/* A thread's counters are a column: [digit][slot of the thread]. */
struct sort_counters {
    uint16_t at[sort_digits][sort_row];
    uint32_t share[sort_digits][sort_shares];

    static TRINE_DEVICE_METHOD int slot(int thread) { return thread + thread / sort_part * sort_gap; }
    /* Counts the digits of the thread's keys. */
    TRINE_DEVICE_METHOD void count(const int32_t (&key)[sort_keys], int64_t first, int64_t n, int shift)
    {
        const int t = slot(target::thread_x());
        for (int d = 0; d < sort_digits; d++) at[d][t] = 0;
        for (int i = 0; i < sort_keys; i++)
            if (first + i < n) at[key[i] >> shift & (sort_digits - 1)][t]++;
        target::barrier();
    }
    /* Sums of a quarter of each digit's counters; with `places`, the counters become how many stand before them in it. */
    TRINE_DEVICE_METHOD void add_up(bool places)
    {
        const int digit = target::thread_x() / sort_shares, mine = target::thread_x() % sort_shares;
        uint32_t sum = 0;
        for (int i = mine * (sort_part + sort_gap), end = i + sort_part; i < end; i++) {
            const uint32_t count = at[digit][i];
            if (places) at[digit][i] = uint16_t(sum);
            sum += count;
        }
        share[digit][mine] = sum;
        target::barrier();
    }
};

TRINE_DEVICE int64_t sort_first() { return (int64_t(target::block_x()) * sort_threads + target::thread_x()) * sort_keys; }
TRINE_DEVICE void sort_load(int32_t (&to)[sort_keys], const int32_t *from, int64_t first, int64_t n)
{
    if (first + sort_keys <= n) {
        const pack<int32_t, sort_keys> all = load_pack<int32_t, sort_keys>(from + first);
#pragma unroll
        for (int i = 0; i < sort_keys; i++) to[i] = all.at[i];
        return;
    }
#pragma unroll
    for (int i = 0; i < sort_keys; i++) to[i] = first + i < n ? from[first + i] : 0;
}

/* table[digit * blocks + block] */
template <class Key> TRINE_KERNEL(sort_threads)
sort_count_kernel(int64_t n, int64_t blocks, int shift, const Key *keys, Key *table)
{
    target::let_next_start();
    target::wait_for_previous();
    TRINE_SHARED sort_counters counters;
    int32_t key[sort_keys];
    sort_load(key, keys, sort_first(), n);
    counters.count(key, sort_first(), n, shift);
    counters.add_up(false);
    const int digit = target::thread_x();
    if (digit >= sort_digits) return;
    uint32_t sum = 0;
    for (int i = 0; i < sort_shares; i++) sum += counters.share[digit][i];
    table[digit * blocks + target::block_x()] = Key(sum);
}

/* Exclusive sums of a digit's counts, by a block; behind the table goes the sum of them all. */
template <class Key> TRINE_KERNEL(sort_threads) sort_scan_kernel(int64_t blocks, Key *table)
{
    target::let_next_start();
    target::wait_for_previous();
    TRINE_SHARED Key sums[sort_threads];
    const int t = target::thread_x(), digit = int(target::block_x());
    Key *const counts = table + digit * blocks;
    Key before = 0;
    for (int64_t i = t; i - t < blocks; i += sort_threads) {
        const Key count = i < blocks ? counts[i] : 0;
        Key sum = count;
        for (int apart = 1; apart < sort_threads; apart *= 2) {
            sums[t] = sum;
            target::barrier();
            if (t >= apart) sum += sums[t - apart];
            target::barrier();
        }
        if (i < blocks) counts[i] = before + sum - count;
        sums[t] = sum;
        target::barrier();
        before += sums[sort_threads - 1];
        target::barrier();
    }
    if (t == 0) table[sort_digits * blocks + digit] = before;
}

/* A block's keys and places in the order of their digits, where its counters were. */
struct sort_ordered {
    int32_t key[sort_block], place[sort_block];
};

template <class Key> TRINE_KERNEL(sort_threads)
sort_place_kernel(int64_t n, int64_t blocks, int shift, const Key *table, const Key *keys, const Key *places, Key *keys_to,
                  Key *places_to)
{
    target::let_next_start();
    target::wait_for_previous();
    union both {
        sort_counters counters;
        sort_ordered ordered;
    };
    TRINE_SHARED both memory;
    TRINE_SHARED uint32_t all[sort_digits], here[sort_digits]; /* a digit's keys: how many; of those in the block */
    TRINE_SHARED uint32_t begin[sort_digits];                  /* where those of the block go, less those of the digits before */
    const int64_t first = sort_first();
    const int t = target::thread_x();
    int32_t key[sort_keys], place[sort_keys];
    uint32_t at[sort_keys];
    sort_load(key, keys, first, n);
    sort_load(place, places, first, n);
    sort_counters &counters = memory.counters;
    counters.count(key, first, n, shift);
    counters.add_up(true);
    if (t < sort_digits) {
        uint32_t sum = 0;
        for (int k = 0; k < sort_shares; k++) sum += counters.share[t][k];
        here[t] = sum;
        all[t] = uint32_t(table[sort_digits * blocks + t]);
    }
    target::barrier();
    uint32_t before = 0, local = 0;
    if (t < sort_digits) {
#pragma unroll 8
        for (int digit = 0; digit < sort_digits; digit++) {
            before += digit < t ? all[digit] : 0;
            local += digit < t ? here[digit] : 0;
        }
        begin[t] = uint32_t(table[t * blocks + target::block_x()]) + before - local;
    }
    target::barrier();
    if (t < sort_digits) here[t] = local;
    target::barrier();
#pragma unroll
    for (int i = 0; i < sort_keys; i++) {
        if (first + i >= n) break;
        const int digit = key[i] >> shift & (sort_digits - 1), share = t / sort_part;
        at[i] = here[digit] + counters.at[digit][counters.slot(t)]++;
        for (int k = 0; k < share; k++) at[i] += counters.share[digit][k];
    }
    target::barrier();
#pragma unroll
    for (int i = 0; i < sort_keys; i++) {
        if (first + i >= n) break;
        memory.ordered.key[at[i]] = key[i];
        memory.ordered.place[at[i]] = place[i];
    }
    target::barrier();
    const int64_t left = n - int64_t(target::block_x()) * sort_block;
    for (int i = t; i < sort_block && i < left; i += sort_threads) {
        const int32_t k = memory.ordered.key[i];
        const uint32_t to = begin[k >> shift & (sort_digits - 1)] + uint32_t(i);
        keys_to[to] = k;
        places_to[to] = memory.ordered.place[i];
    }
}

/* first[v]: how many sorted keys are below v, for v = 0 to rows. */
template <class Key> TRINE_KERNEL(sort_threads) sort_bounds_kernel(int64_t n, int64_t rows, const Key *keys, Key *first)
{
    target::let_next_start();
    target::wait_for_previous();
    const int64_t v = int64_t(target::block_x()) * sort_threads + target::thread_x();
    if (v > rows) return;
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (keys[middle] < v)
            low = middle + 1;
        else
            high = middle;
    }
    first[v] = Key(low);
}

struct sorted_ids {
    const int32_t *keys, *places;
};

/* Every kernel is launched beside the end of the one before. `memory`: plan.bytes(), aligned to 16. already: the ids are sorted, so that only keys are made. */
inline trine_status sort_ids(trine_call *call, const sort_plan &plan, const trine_tensor &ids, bool already, char *memory,
                             sorted_ids *sorted)
{
    const auto list = [&](int k) { return reinterpret_cast<int32_t *>(memory + size_t(k) * plan.list_bytes()); };
    const trine_tensor *operand[] = {&ids};
    int32_t *keys = list(0), *places = list(1), *other_keys = list(2), *other_places = list(3), *table = list(4);
    trine_status status = launch(call, sort_keys_kernel<walk<1, divider_any>>, grid(ceil_div(plan.n, sort_threads)), sort_threads,
                                 0, walk<1, divider_any>(trine_iter_make(operand, 1, 1)), id_list(ids), plan.n, plan.rows,
                                 already ? -1 : int32_t(plan.rows), keys, places);
    for (int pass = 0; pass < plan.passes && !already && status == TRINE_OK; pass++) {
        const int shift = pass * sort_bits;
        status =
            launch_next(call, sort_count_kernel<int32_t>, plan.blocks, sort_threads, plan.n, plan.blocks, shift, keys, table);
        if (status == TRINE_OK && plan.n)
            status = launch_next(call, sort_scan_kernel<int32_t>, sort_digits, sort_threads, plan.blocks, table);
        if (status == TRINE_OK)
            status = launch_next(call, sort_place_kernel<int32_t>, plan.blocks, sort_threads, plan.n, plan.blocks, shift, table,
                                 keys, places, other_keys, other_places);
        int32_t *const k = keys, *const p = places;
        keys = other_keys;
        places = other_places;
        other_keys = k;
        other_places = p;
    }
    *sorted = sorted_ids{keys, places};
    return status;
}

} // namespace simt

#endif
