/* What grouped products have beside sm80's frame (matmul_sm80.h): a block that finds its group and tile as the portable kernel's do,
 * and the launch of as many blocks as there may be tiles. For grouped_sm80.cu and grouped_sm89.cu. */
#ifndef TRINE_CUDA_GROUPED_SM80_H
#define TRINE_CUDA_GROUPED_SM80_H

#include "backends/cuda/grouped_variants.h"
#include "backends/cuda/matmul_sm80.h"
#include "backends/simt/group_blocks.h"

namespace sm80 {

/* As parts are asked for, though there are none. */
struct one_part : simt::whole_sink {
    static constexpr int64_t apart = 0;
};

template <class Shape> TRINE_DEVICE block_work<Shape> work_of_group(const simt::group_block &b, const void *shared)
{
    return block_work<Shape>(b.group, b.row, b.rows, b.column, b.first_k, b.terms, shared);
}

template <class T>
TRINE_DEVICE simt::group_view<T> view_of_group(const product<T> &p, const simt::group_block &b, int64_t bias_group)
{
    simt::product_offsets at = p.offsets(b.group);
    at.bias = b.group * bias_group;
    return simt::group_view<T>{b.rows, p.n, p.out, at};
}

/* ---- Host ---- */

/* K's axis, or that of rows (columns of b), as 16-byte copies need them. */
inline bool lies_along_k(const trine_grouped &g, int which, int64_t row_stride, int64_t k_stride)
{
    return copies_fit(g.p, which, g.p.k == 1 ? 1 : k_stride, row_stride);
}
inline bool lies_along_rows(const trine_grouped &g, int which, int64_t rows, int64_t row_stride, int64_t k_stride)
{
    return copies_fit(g.p, which, rows == 1 ? 1 : row_stride, k_stride);
}

/* given: what the kernel has between the product and the groups. */
template <class Shape, class T, class... P, class... G>
inline trine_status launch_groups(trine_call *call, void (*kernel)(product<T>, P...), const trine_grouped &g, const G &...given)
{
    const size_t shared = shared_of<Shape>(call, kernel);
    const int64_t tiles_m = simt::ceil_div(g.p.m, int64_t(Shape::rows)), tiles_n = simt::ceil_div(g.p.n, int64_t(Shape::columns));
    return simt::launch(call, kernel, simt::grid(simt::grouped_tiles_m(g, Shape::rows) * tiles_n), Shape::threads, shared,
                        product<T>(g.p), given..., simt::group_list(g), g.bias_group, tiles_m, tiles_n, stages_of<Shape>(call));
}

} // namespace sm80

#endif
