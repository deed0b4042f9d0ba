/* What all blurs share: how blocks share an image, and the weights of small ones. */
#ifndef TRINE_SIMT_BLUR_BLOCKS_H
#define TRINE_SIMT_BLUR_BLOCKS_H

#include "backends/simt/launch.h"
#include "core/blur_weights.h"

namespace simt {

/* How blocks share an image: strips across a row times chunks of `rows` rows times planes, the strips first. */
struct blur_blocks {
    trine_blur_shape shape;
    int64_t strips, chunks, rows;
    TRINE_METHOD int64_t blocks() const { return shape.planes * chunks * strips; }
    grid all() const { return grid(blocks()); }
};

/* Where a thread works: rows [first, last) of a plane; `across`: its number along the row. */
struct blur_place {
    int64_t plane, first, last, across;
};
TRINE_DEVICE blur_place blur_place_of(const blur_blocks &blocks, unsigned block = target::block_x())
{
    const int64_t outer = int64_t(block) / blocks.strips, strip = int64_t(block) - outer * blocks.strips;
    const int64_t plane = outer / blocks.chunks, first = (outer - plane * blocks.chunks) * blocks.rows,
                  last = first + blocks.rows;
    return blur_place{plane, first, last < blocks.shape.height ? last : blocks.shape.height,
                      strip * target::block_threads() + target::thread_x()};
}

/* Eight rings' worth of rows a block, or fewer until the device has work for four blocks a compute unit. */
inline blur_blocks blur_blocks_of(trine_call *call, const trine_blur_shape &shape, int64_t strips, int32_t radius)
{
    blur_blocks b;
    b.shape = shape;
    b.strips = strips;
    b.rows = 8 * (2 * radius + 1);
    while (b.rows > 8 && b.rows > 2 * radius &&
           ceil_div(shape.height, b.rows) * strips * shape.planes < 4 * int64_t(call->device->props.compute_units))
        b.rows /= 2;
    b.chunks = ceil_div(shape.height, b.rows);
    return b;
}

/* How far a blur reaches if there are so many elements left before the image ends. */
TRINE_DEVICE int32_t blur_reach(int64_t left, int32_t radius) { return left < radius ? int32_t(left) : radius; }

TRINE_DEVICE int32_t as_signed(uint32_t x) { return int32_t(x); }
TRINE_DEVICE int64_t as_signed(uint64_t x) { return int64_t(x); }

/* floor((sum + total / 2) / total), at most 255; the quotient in f32 is at most one off. */
template <class S> TRINE_DEVICE uint32_t blur_quotient(S sum, S total, float reciprocal)
{
    const S n = sum + total / 2;
    const uint32_t q = uint32_t(float(n) * reciprocal);
    const auto rest = as_signed(S(n - q * total));
    return rest < 0 ? q - 1u : rest >= as_signed(total) ? q + 1u : q;
}

/* ---- Small radii ---- */

enum { blur_small_threads = 128, blur_small_radius = 3 };

template <class W> struct blur_small_weights {
    W at[blur_small_radius + 1];
    /* By a distance that is known at run time only: an index would take the weights to memory. */
    TRINE_DEVICE_METHOD W of(int32_t distance) const
    {
        W weight = at[0];
#pragma unroll
        for (int d = 1; d <= blur_small_radius; d++) weight = distance == d || distance == -d ? at[d] : weight;
        return weight;
    }
    /* at[0] and, on either side, those that are reached; as above. */
    template <int radius> TRINE_DEVICE_METHOD W sum(int32_t before, int32_t after) const
    {
        W total = at[0];
#pragma unroll
        for (int d = 1; d <= radius; d++) total += (d <= before ? at[d] : W(0)) + (d <= after ? at[d] : W(0));
        return total;
    }
};

/* The line of a table of kernels for 1, 3 and 4 channels; -1 where rows are not made of whole packs of `bytes` bytes. */
inline int blur_small_row(const trine_blur_shape &shape, const void *y, const void *x, size_t bytes)
{
    const bool whole =
        shape.row % 4 == 0 && reinterpret_cast<uintptr_t>(y) % bytes == 0 && reinterpret_cast<uintptr_t>(x) % bytes == 0;
    if (!whole) return -1;
    return shape.step == 1 ? 0 : shape.step == 3 ? 1 : shape.step == 4 ? 2 : -1;
}

} // namespace simt

#endif
