/* Hopper's scans: a file of its own, because its instructions need code for sm_90. */
#include "backends/cuda/target.h"

#include "backends/cuda/scan_variants.h"

#include "backends/cuda/scan_sm90_rows.h"
#include "backends/simt/scan_rows.h"

namespace scan_sm90 {

/* Below that many bytes of x the shared kernels take no longer, for they have fewer places to make. */
enum { least_bytes = 8 << 20 };

template <class Op, class T> static trine_status run(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    constexpr int V = rows_of<T>::V;
    using memory = row_memory<typename Op::value>;
    const bool shared = simt::scan_rows_shared<T>(call, s);
    TRINE_REQUIRE_THAT(call, !s.columns && shared, "needs rows of several tiles, fewer than twice the multiprocessors");
    const int64_t packs = simt::ceil_div(s.n, int64_t(V)), tiles = simt::ceil_div(packs, int64_t(tile)),
                  all = s.rows.numel * tiles;
    TRINE_REQUIRE_THAT(call, all < int64_t(1) << 31, "needs fewer than 2^31 tiles");
    TRINE_END_OF_QUERY(call, size_t(simt::scan_row_words<Op, T>(s)) * sizeof(uint64_t));
    /* a query accepted the strides without the addresses */
    if (!simt::scan_rows_packed<T>(a, s)) return trine_cuda_scan_portable(call, a);
    const rows_of<T> p = {
        simt::walk<2, simt::divider_any>(s.rows), s.rows.numel, tiles, {s.n, packs, 1, 1, a->exclusive != 0, a->reverse != 0}};
    auto *words = static_cast<uint64_t *>(call->workspace);
    const trine_status status = simt::scan_clear(call, 1 + all * simt::scan_note<typename Op::value>::words, words);
    if (status != TRINE_OK) return status;
    const int64_t most = call->device->props.compute_units;
    target::allow_shared(rows_kernel<Op, T>, tile_ring::bytes_of<memory>);
    return simt::launch(call, rows_kernel<Op, T>, simt::grid(all < most ? all : most), row_threads, tile_ring::bytes_of<memory>,
                        p, simt::data_of<T>(a->y), simt::data_of<T>(a->x), words);
}

template <class Op> static trine_status run_floats(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    return simt::visit_floats(call, a->x.dtype, [&](auto t) { return run<Op, typename decltype(t)::type>(call, a, s); });
}

template <bool any_size> trine_status scan(trine_call *call, const void *args)
{
#ifndef TRINE_CODE_SM90A
    return trine_refuse(call, "needs a build with machine code for sm_90a");
#endif
    TRINE_REQUIRE_THAT(call, strcmp(call->device->props.arch, "sm_90") == 0, "needs a GPU of compute capability 9.0");
    const auto *a = static_cast<const trine_scan_args *>(args);
    const trine_scan_shape s = trine_scan_shape_of(a);
    TRINE_REQUIRE_THAT(call, s.n > 0 && s.rows.numel > 0, "needs elements");
    TRINE_REQUIRE_THAT(call, any_size || s.n * s.rows.numel * (trine_dtype_bits(a->x.dtype) / 8) >= least_bytes,
                       "needs 8 MiB of x");
    if (a->x.dtype == TRINE_I32) return run<simt::scan_sum<int32_t>, int32_t>(call, a, s);
    if (a->x.dtype == TRINE_I64) return run<simt::scan_sum<int64_t>, int64_t>(call, a, s);
    switch (a->kind) {
    case TRINE_SCAN_MAX: return run_floats<simt::scan_max>(call, a, s);
    case TRINE_SCAN_MUL: return run_floats<simt::scan_mul>(call, a, s);
    default: return run_floats<simt::scan_sum<float>>(call, a, s);
    }
}
template trine_status scan<false>(trine_call *, const void *);
template trine_status scan<true>(trine_call *, const void *);

} // namespace scan_sm90
