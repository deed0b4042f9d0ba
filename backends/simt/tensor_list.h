/* Kernels over lists of tensors: many of them in one launch, their addresses in the kernel's arguments. Bound by bytes: each
 * tensor is moved in packs, every operand at 16 bytes or what as many elements take.
 *
 * A launch takes the places of a list one after the other; a block has one chunk of one place's elements, which it finds by
 * bisection. Tensors of one place (a parameter, its gradient, ...) are operands of one shape. Where their addresses are all so
 * many elements from a multiple of a pack, packs begin there, and single threads take what is before and behind; where they are
 * not, all elements go one by one. */
#ifndef TRINE_SIMT_TENSOR_LIST_H
#define TRINE_SIMT_TENSOR_LIST_H

#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "core/shape.h"

namespace simt {

enum { list_threads = 256 };

/* P operands of one shape. */
template <int P> struct list_place {
    enum { scattered = 255 };
    void *at[P];         /* the element where packs begin */
    uint64_t n : 56;     /* elements from there on */
    uint64_t before : 8; /* elements before there, or `scattered`: none, and there are no packs in memory */
};

/* As many places as fit into the 4 KiB of arguments that every device takes, less what goes with them; or one, of which nothing is
 * searched and few arguments passed (docs/small-tensors.md). What a block reads of them lies together: each line of arguments costs
 * it 90 ns (H100). */
template <int P> constexpr int list_most = (4096 - 160) / (8 * P + 8 + 4);
template <int P, int capacity_ = list_most<P>> struct list_table {
    enum { capacity = capacity_ };
    int32_t count;
    uint32_t first[capacity]; /* block */
    list_place<P> places[capacity];
};

/* A block's part of the list. */
struct list_part {
    int32_t place;
    int64_t chunk;
};

template <int P, int capacity> TRINE_DEVICE list_part list_find(const list_table<P, capacity> &table)
{
    const uint32_t block = target::block_x();
    if constexpr (capacity == 1) return {0, int64_t(block)};
    int32_t low = 0, high = table.count;
    while (high - low > 1) {
        const int32_t middle = (low + high) / 2;
        if (table.first[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    return {low, int64_t(block - table.first[low])};
}

/* Rule: what is done with the elements.
 *   tensors        operands of a place
 *   V, U           elements of a pack, packs a thread has in flight
 *   held<V>        the values of a pack of all operands: load(rule, operands, i), store(the same); held<1> of an element
 *   operands       their addresses, made from a list_place
 *   idle()         true: nothing is to be done
 *   factor()       a number that all threads need
 *   apply(held, factor)  the work */
template <class Rule, int capacity> TRINE_KERNEL(list_threads)
list_kernel(const Rule rule, const list_table<Rule::tensors, capacity> table)
{
    constexpr int V = Rule::V, U = Rule::U;
    target::let_next_start();
    if (rule.idle()) return;
    const list_part part = list_find(table);
    const list_place<Rule::tensors> &place = table.places[part.place];
    const typename Rule::operands at(place);
    const int thread = target::thread_x(), before = int(place.before);
    const int64_t n = int64_t(place.n), packs = n / V, begin = part.chunk * (list_threads * U) + thread;
    const bool whole = before != place.scattered;
    const float factor = rule.factor();
    if (whole) {
        typename Rule::template held<V> x[U];
#pragma unroll
        for (int k = 0; k < U; k++)
            if (begin + k * list_threads < packs) x[k].load(rule, at, (begin + k * list_threads) * V);
#pragma unroll
        for (int k = 0; k < U; k++)
            if (begin + k * list_threads < packs) {
                rule.apply(x[k], factor);
                x[k].store(rule, at, (begin + k * list_threads) * V);
            }
    }
    /* One by one: what is in no pack; or all of it, neighbours by neighbouring threads. In one loop, for apply() is long. */
    const int64_t first = part.chunk * (list_threads * U * V) + thread,
                  single = thread < before ? thread - before : packs * V + thread - before;
    const int count = whole ? part.chunk == 0 && thread < before + int(n - packs * V) : U * V;
#pragma unroll 1
    for (int k = 0; k < count; k++) {
        const int64_t i = whole ? single : first + k * list_threads;
        if (i >= n) break;
        typename Rule::template held<1> one;
        one.load(rule, at, i);
        rule.apply(one, factor);
        one.store(rule, at, i);
    }
    target::wait_for_previous(); /* so that what follows this launch follows those before it, too */
}

/* ---- Host ---- */

/* Collects places and launches when the table is full. `launch_full(table, blocks)` is called for each table. */
template <int P, int V, int U, class F> struct list_launcher {
    static constexpr int64_t chunk = int64_t(list_threads) * V * U;
    F launch_full;
    int64_t blocks = 0;
    list_table<P> table;

    explicit list_launcher(F f) : launch_full(f) { table.count = 0; }

    /* A tensor that is not given counts for nothing. */
    trine_status add(const trine_tensor *const (&operand)[P])
    {
        const int64_t n = trine_tensor_numel(operand[0]), added = ceil_div(n, chunk);
        trine_status status = TRINE_OK;
        if (n == 0) return status;
        if (table.count == list_table<P>::capacity || blocks + added > 0x7fffffff) status = flush();
        const int32_t k = table.count++;
        const int head = head_of(operand);
        const int64_t skipped = head < 0 ? 0 : head < n ? head : n;
        for (int o = 0; o < P; o++) {
            const bool given = operand[o] && trine_is_given(operand[o]);
            table.places[k].at[o] =
                given ? static_cast<char *>(operand[o]->data) + skipped * (trine_dtype_bits(operand[o]->dtype) / 8) : nullptr;
        }
        table.places[k].n = uint64_t(n - skipped);
        table.first[k] = uint32_t(blocks);
        table.places[k].before = uint8_t(head < 0 ? int(list_place<P>::scattered) : int(skipped));
        blocks += added;
        return status;
    }

    trine_status flush()
    {
        const trine_status status = table.count ? launch_full(table, blocks) : TRINE_OK;
        table.count = 0;
        blocks = 0;
        return status;
    }

  private:
    /* Elements before the first that begins a pack in all operands; -1 if there is none. */
    static int head_of(const trine_tensor *const (&operand)[P])
    {
        for (int head = 0; head < V; head++) {
            bool fits = true;
            for (int o = 0; o < P; o++) {
                if (!operand[o] || !trine_is_given(operand[o])) continue;
                const unsigned size = unsigned(trine_dtype_bits(operand[o]->dtype) / 8), bytes = size * V > 16 ? 16 : size * V;
                /* a power of two: a division for each tensor would be a good part of the call's time */
                fits = fits && ((reinterpret_cast<uintptr_t>(operand[o]->data) + head * size) & (bytes - 1)) == 0;
            }
            if (fits) return head;
        }
        return -1;
    }
};

template <class Rule, int capacity> inline trine_status
list_launch(trine_call *call, bool later, const Rule &rule, const list_table<Rule::tensors, capacity> &table, int64_t blocks)
{
    const auto kernel = list_kernel<Rule, capacity>;
    return later ? launch_next(call, kernel, blocks, list_threads, rule, table)
                 : launch(call, kernel, grid(blocks), list_threads, 0, rule, table);
}

/* rule on the places of `count` that add(launcher, i) adds. Launches after the first one begin beside the end of the one before: their
 * tensors are others. */
template <class Rule, class Add> inline trine_status list_run(trine_call *call, const Rule &rule, int32_t count, Add add)
{
    static_assert(sizeof(Rule) + sizeof(list_table<Rule::tensors>) <= 4096, "the arguments of a kernel");
    const int64_t few = int64_t(call->device->props.compute_units) * 8; /* blocks that work at a time */
    bool later = false;
    const auto run = [&](const list_table<Rule::tensors> &table, int64_t blocks) {
        const bool first = !later;
        later = true;
        if (!first || table.count > 1 || blocks > few) return list_launch(call, !first, rule, table, blocks);
        return list_launch(call, false, rule, list_table<Rule::tensors, 1>{1, {0}, {table.places[0]}}, blocks);
    };
    list_launcher<Rule::tensors, Rule::V, Rule::U, decltype(run)> launcher(run);
    trine_status status = TRINE_OK;
    for (int32_t i = 0; i < count && status == TRINE_OK; i++) status = add(launcher, i);
    return status == TRINE_OK ? launcher.flush() : status;
}

} // namespace simt

#endif
