/* Host side of scaled.h. */
#ifndef TRINE_SIMT_SCALED_RUN_H
#define TRINE_SIMT_SCALED_RUN_H

#include "backends/simt/scaled.h"

namespace simt {

enum { scaled_blocks_a_unit = 4 }; /* that look for the largest magnitude of all: enough to keep memory busy, few for a list */

template <class T>
inline scaled_operands<T> scaled_operands_of(const trine_tensor &codes, const trine_tensor &reals, const trine_tensor &scales)
{
    return {data_of<uint8_t>(codes), data_of<T>(reals), data_of<float>(scales)};
}

/* How rows are cut into packs. */
struct scaled_grid {
    int64_t a_row, packs, blocks;
    scaled_grid(const trine_scaled_shape &s, int V, int unroll)
        : a_row(ceil_div(s.k, V)), packs(s.outer.numel * s.m * a_row), blocks(ceil_div(packs, scaled_threads * unroll))
    {
    }
};

template <bool yes> struct scaled_choice {
    static constexpr bool value = yes;
};

/* f(scaled_choice<packed>{}): whether packs lie on their boundaries and can be counted. */
template <class T, class F>
inline trine_status choose_packed(const trine_scaled_shape &s, int64_t packs, const scaled_operands<T> &o, F f)
{
    constexpr int V = row_pack<T>;
    bool fit =
        packs < 0x7fffffff && short_walk<1>::fits(s.outer) && aligned16(o.reals) && reinterpret_cast<uintptr_t>(o.codes) % V == 0;
    for (int k = SCALED_CODES; k <= SCALED_REALS; k++) {
        fit = fit && (s.k <= 1 || s.column_step[k] == 1) && (s.m <= 1 || s.row_step[k] % V == 0);
        for (int d = 0; d < s.outer.ndim; d++) fit = fit && (s.outer.size[d] == 1 || s.outer.stride[k][d] % V == 0);
    }
    return fit ? f(scaled_choice<true>{}) : f(scaled_choice<false>{});
}

/* With the scales that are there, or `by_one`, from a list. */
template <bool by_one = false, class T, class Coder>
inline trine_status run_scaled_codes(trine_call *call, const Coder &coder, const trine_scaled_shape &s,
                                     const scaled_operands<T> &o, scaled_list list = {})
{
    const scaled_grid g(s, row_pack<T>, scaled_codes_unroll);
    if (g.packs == 0) return TRINE_OK;
    return choose_packed(s, g.packs, o, [&](auto packed) {
        constexpr bool P = decltype(packed)::value;
        const auto kernel = scaled_codes_kernel<T, Coder, P, by_one>;
        const scaled_divider<P> a_row(g.a_row);
        if (by_one) return launch_next(call, kernel, g.blocks, scaled_threads, scaled_walk<P>(s), a_row, g.packs, coder, o, list);
        return launch(call, kernel, grid(g.blocks), scaled_threads, 0, scaled_walk<P>(s), a_row, g.packs, coder, o, list);
    });
}

/* With fresh ones of 128 columns. */
template <class T, class Coder> inline trine_status run_scaled_fresh(trine_call *call, const Coder &coder,
                                                                     const trine_scaled_shape &s, const scaled_operands<T> &o)
{
    const int64_t a_row = ceil_div(s.k, scaled_block), blocks = s.outer.numel * s.m * a_row;
    if (blocks == 0) return TRINE_OK;
    return choose_packed(s, blocks * (scaled_block / row_pack<T>), o, [&](auto packed) {
        constexpr bool P = decltype(packed)::value;
        return launch(call, scaled_fresh_kernel<T, Coder, P>, grid(ceil_div(blocks, scaled_threads / scaled_lanes<T>)),
                      scaled_threads, 0, scaled_walk<P>(s), scaled_divider<P>(a_row), blocks, coder, o);
    });
}

template <class T, class Coder> inline trine_status run_scaled_values(trine_call *call, const Coder &coder,
                                                                      const trine_scaled_shape &s, const scaled_operands<T> &o)
{
    const scaled_grid g(s, row_pack<T>, scaled_unroll);
    if (g.packs == 0) return TRINE_OK;
    return choose_packed(s, g.packs, o, [&](auto packed) {
        constexpr bool P = decltype(packed)::value;
        return launch(call, scaled_values_kernel<T, Coder, P>, grid(g.blocks), scaled_threads, 0, scaled_walk<P>(s),
                      scaled_divider<P>(g.a_row), g.packs, coder, o);
    });
}

template <class T, class Coder> inline trine_status run_scaled_tiles(trine_call *call, const Coder &coder,
                                                                     const trine_scaled_shape &s, const scaled_operands<T> &o)
{
    const int64_t across = ceil_div(s.k, scaled_block), down = ceil_div(s.m, scaled_block);
    return choose_packed(s, scaled_grid(s, row_pack<T>, 1).packs, o, [&](auto packed) {
        constexpr bool P = decltype(packed)::value;
        return launch(call, scaled_tile_kernel<T, Coder, P>, grid(across * down * s.outer.numel), scaled_tile_threads<T>, 0,
                      scaled_walk<P>(s), across, down, coder, o);
    });
}

/* ---- These two state the workspace ---- */

/* One scale for all. */
template <class T, class Coder> inline trine_status run_scaled_by_one(trine_call *call, const Coder &coder,
                                                                      const trine_scaled_shape &s, const scaled_operands<T> &o)
{
    const scaled_grid g(s, row_pack<T>, scaled_unroll);
    const int64_t most_blocks = int64_t(call->device->props.compute_units) * scaled_blocks_a_unit,
                  blocks = g.blocks < most_blocks ? g.blocks : most_blocks;
    TRINE_END_OF_QUERY(call, size_t(blocks) * sizeof(float));
    if (blocks == 0) return launch(call, scaled_nothing_kernel<Coder>, grid(1), 1, 0, coder, o.scales);
    float *list = static_cast<float *>(call->workspace);
    const trine_status status = choose_packed(s, g.packs, o, [&](auto packed) {
        constexpr bool P = decltype(packed)::value;
        return launch(call, scaled_most_kernel<T, P>, grid(blocks), scaled_threads, 0, scaled_walk<P>(s),
                      scaled_divider<P>(g.a_row), g.packs, o, list);
    });
    return status == TRINE_OK ? run_scaled_codes<true>(call, coder, s, o, {list, int(blocks)}) : status;
}

/* A scale a row: with one read where rows have no gaps and the scales lie one distance apart. */
template <class T, class Coder> inline trine_status run_scaled_rows(trine_call *call, const Coder &coder,
                                                                    const trine_scaled_shape &s, const scaled_operands<T> &o,
                                                                    const trine_tensor &codes, const trine_tensor &reals)
{
    trine_iter places = s.outer;
    places.operands = 1;
    for (int d = 0; d < places.ndim; d++) places.stride[0][d] = s.outer.stride[SCALED_SCALES][d];
    trine_iter_merge(&places);
    if (trine_last_axis_dense(&codes) && trine_last_axis_dense(&reals) && places.ndim == 1) {
        const trine_tensor *const tensors[] = {&codes, &reals};
        return run_rows(call, scaled_rows<T, Coder>{{}, {o.reals}, o.codes, coder, o.scales, places.stride[0][0]}, tensors);
    }
    TRINE_END_OF_QUERY(call, 0);
    const trine_status status =
        launch(call, scaled_gapped_kernel<T, Coder>, grid(s.outer.numel), scaled_threads, 0, scaled_walk<false>(s), coder, o);
    return status == TRINE_OK ? run_scaled_codes(call, coder, s, o) : status;
}

} // namespace simt

#endif
