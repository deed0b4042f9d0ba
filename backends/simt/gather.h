/* gather and embedding: y's slices are copies of those of x that ids name. Bound by bytes: y is written and as much of x read.
 *
 * A thread moves packs of 16 bytes along the innermost axis, where x and y are dense along it and it is none of ids' axes; else
 * single elements. The ids of its packs are read first, then the packs, so that all of them are in flight together; threads of a
 * row read the same id from the cache, and the test of its range stands in the shadow of that load. */
#ifndef TRINE_SIMT_GATHER_H
#define TRINE_SIMT_GATHER_H

#include "backends/simt/divider.h"
#include "backends/simt/ids.h"
#include "backends/simt/map.h"
#include "core/taken.h"

namespace simt {

struct gather_table {
    int64_t rows, step; /* slices of x, elements from one to the next */
};

template <class T, int V, int U> TRINE_KERNEL(map_threads)
gather_kernel(strided_walk<V, 3, divider_any> outer, divider_any packs_a_row, inner_steps<3> inner, int64_t packs,
              gather_table table, id_list ids, T *y, const T *x)
{
    const strided_packs<V, U, 3, divider_any> at(outer, packs_a_row, inner, packs);
    if (!at.valid[0]) return;
    int64_t id[U];
    pack<T, V> out[U];
#pragma unroll
    for (int u = 0; u < U; u++) id[u] = ids.at(at.offset[u][2]);
#pragma unroll
    for (int u = 0; u < U; u++)
        out[u] =
            uint64_t(id[u]) < uint64_t(table.rows) ? load_pack<T, V>(x + at.offset[u][1] + id[u] * table.step) : pack<T, V>{};
#pragma unroll
    for (int u = 0; u < U; u++)
        if (at.valid[u]) store_pack_once<T, V>(y + at.offset[u][0], out[u]);
}

/* The same where rows have one axis, as an embedding's: a tenth of the instructions before the first load. Long rows go in strips
 * of columns, all rows of a strip before the next strip: so slices that are named more than once are still in the cache. */
enum { gather_strip_bytes = 4096 };
struct gather_list {
    divider32 packs_a_row;           /* of a strip */
    uint32_t packs;                  /* of a strip, all rows */
    int64_t y_step, x_step, id_step; /* from row to row */
};

template <class T, int V, int U> TRINE_KERNEL(map_threads)
gather_list_kernel(gather_list list, gather_table table, id_list ids, T *y, const T *x)
{
    const uint32_t first = uint32_t(first_pack<U>()), strip = target::block_y() * list.packs_a_row.d;
    uint32_t row[U], column[U];
    int64_t id[U];
    pack<T, V> out[U];
    if (first >= list.packs) return;
#pragma unroll
    for (int u = 0; u < U; u++) {
        const uint32_t wanted = first + u * target::wave_size(), p = wanted < list.packs ? wanted : first;
        row[u] = uint32_t(list.packs_a_row.divide(p));
        column[u] = (strip + p - row[u] * list.packs_a_row.d) * V;
        id[u] = ids.at(row[u] * list.id_step);
    }
#pragma unroll
    for (int u = 0; u < U; u++)
        out[u] = uint64_t(id[u]) < uint64_t(table.rows)
                     ? load_pack<T, V>(x + id[u] * table.step + row[u] * list.x_step + column[u])
                     : pack<T, V>{};
#pragma unroll
    for (int u = 0; u < U; u++)
        if (first + u * target::wave_size() < list.packs) store_pack_once<T, V>(y + row[u] * list.y_step + column[u], out[u]);
}

template <class T, int V> inline trine_status launch_gather(trine_call *call, const trine_iter &outer, int64_t n,
                                                            const inner_strides &inner, const gather_table &table,
                                                            const id_list &ids, T *y, const T *x)
{
    constexpr int U = 4;
    const int64_t packs = outer.numel * (n / V);
    if constexpr (V > 1) {
        if (outer.ndim <= 1 && packs < 0x7fff0000 && n < 0x7fffffff) { /* columns of 32 bits */
            constexpr int64_t strip = gather_strip_bytes / int64_t(V * sizeof(T));
            const bool rows = outer.ndim == 1, /* strips: of at least eight large blocks each */
                strips = n / V % strip == 0 && outer.numel * strip >= 8 * map_threads * U && n / V / strip <= 65535;
            const int64_t across = strips ? strip : n / V, in_strip = outer.numel * across;
            const gather_list list = {divider32(across), uint32_t(in_strip), rows ? outer.stride[0][0] : 0,
                                      rows ? outer.stride[1][0] : 0, rows ? outer.stride[2][0] : 0};
            map_blocks b(call, packs, U);
            b.blocks = grid(ceil_div(in_strip, int64_t(b.threads) * U), n / V / across);
            return launch(call, gather_list_kernel<T, V, U>, b.blocks, b.threads, 0, list, table, ids, y, x);
        }
    }
    const map_blocks b(call, packs, U);
    return launch(call, gather_kernel<T, V, U>, b.blocks, b.threads, 0, strided_walk<V, 3, divider_any>(outer),
                  divider_any(n / V), inner_steps<3>(inner), packs, table, ids, y, x);
}

/* axis counts from 0. */
inline trine_status gather_rows(trine_call *call, const trine_tensor &x, const trine_tensor &ids, const trine_tensor &y,
                                int32_t axis)
{
    const trine_tensor from = trine_table_along_rows(&x, &ids, &y, axis), which = trine_ids_along_rows(&ids, &y, axis);
    const trine_tensor *operands[] = {&y, &from, &which};
    trine_iter it = trine_iter_make(operands, 3, 0);
    const gather_table table = {x.shape[axis], x.stride[axis]};
    if (it.numel == 0) return TRINE_OK;
    return visit_bits(call, y.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        inner_strides inner;
        const int64_t n = trine_iter_pop_inner(&it, inner.of);
        T *to = data_of<T>(y);
        const T *source = data_of<T>(x);
        const bool packed = inner.of[1] == 1 && inner.of[2] == 0 && table.step % V == 0 &&
                            packs_fit<V>(it, n, inner.of, static_cast<const T *>(to), source);
        return packed ? launch_gather<T, V>(call, it, n, inner, table, id_list(ids), to, source)
                      : launch_gather<T, 1>(call, it, n, inner, table, id_list(ids), to, source);
    });
}

} // namespace simt

#endif
