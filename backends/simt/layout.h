/* transpose, permute, concat and split; gather.h and scatter.h have the ops that go by ids. Bound by bytes.
 *
 * A permutation is a copy from a view of x whose axes stand in y's order. Where the innermost axis of y is also x's dense one,
 * rows are copied (map.h). Else tiles of the two dense axes, y's and x's, go through shared memory, so that both sides move whole
 * lines; what is neither is walked outside. Views without a dense axis are copied element by element. concat and split are
 * copies too, of all pieces at once (layout_pieces.h) or one launch a piece. */
#ifndef TRINE_SIMT_LAYOUT_H
#define TRINE_SIMT_LAYOUT_H

#include "backends/simt/await.h"
#include "backends/simt/gather.h"
#include "backends/simt/layout_pieces.h"
#include "backends/simt/scatter.h"

namespace simt {

template <size_t bytes> struct word_for {
    using type = uint32_t;
};
template <> struct word_for<8> {
    using type = uint64_t;
};

enum { tile_threads = 256 };

/* Side of a tile in elements: at least 64 bytes, so that a row of it is whole sectors on both sides. Where such tiles are too few for
 * the device, those of elements of 4 bytes and more are half as wide; narrower elements gain nothing by it (docs/small-tensors.md). */
template <class T, bool small> constexpr int tile_side = sizeof(T) == 1 ? 128 : small ? 32 : 64;
template <class T> constexpr bool has_small_tiles = sizeof(T) >= 4;

/* A tile lies turned in shared memory, as words: narrow elements of as many rows as make a word are put together in registers
 * first, so that shared memory is moved by words both ways. Word w of column c: the odd pitch and a rotation by c let the threads
 * of a wave meet different banks. */
template <class T, bool small> struct turned_tile {
    using word = typename word_for<sizeof(T)>::type;
    enum {
        side = tile_side<T, small>,
        rows_a_word = sizeof(word) / sizeof(T),
        words = side / rows_a_word,
        pitch = words + 1,
        turn_step = sizeof(T) == 1 ? 16 : 32, /* columns after which the rotation grows */
        turn_by = sizeof(T) == 1 || sizeof(T) == 2 ? 4 : 2
    };
    word at[side * pitch];
    TRINE_DEVICE_METHOD word &cell(int c, int w) { return at[c * pitch + (w + c / turn_step * turn_by) % words]; }
};

/* A pack as words. */
template <class T> using word_pack =
    pack<typename word_for<sizeof(T)>::type, 16 / int(sizeof(typename word_for<sizeof(T)>::type))>;

/* One word of each of rows_a_word rows becomes one word of each of as many columns: transposes 1, 2 x 2 or 4 x 4 elements. */
TRINE_DEVICE void turn_words(uint64_t (&)[1]) {}
TRINE_DEVICE void turn_words(uint32_t (&)[1]) {}
TRINE_DEVICE void turn_words(uint32_t (&w)[2])
{
    const uint32_t first = target::byte_permute<0x5410>(w[0], w[1]);
    w[1] = target::byte_permute<0x7632>(w[0], w[1]);
    w[0] = first;
}
TRINE_DEVICE void turn_words(uint32_t (&w)[4])
{
    const uint32_t a = target::byte_permute<0x5140>(w[0], w[1]), b = target::byte_permute<0x7362>(w[0], w[1]);
    const uint32_t c = target::byte_permute<0x5140>(w[2], w[3]), d = target::byte_permute<0x7362>(w[2], w[3]);
    w[0] = target::byte_permute<0x5410>(a, c);
    w[1] = target::byte_permute<0x7632>(a, c);
    w[2] = target::byte_permute<0x5410>(b, d);
    w[3] = target::byte_permute<0x7632>(b, d);
}

/* From x into the turned tile and from there into y, in packs of 16 bytes: R rows a thread and step, so that it holds whole
 * words. zero: 0, which only the launch knows (await.h). */
template <class T, bool small> TRINE_DEVICE void turn_packed(turned_tile<T, small> &turned, T *y, int64_t y_step, const T *x,
                                                             int64_t x_step, int64_t rows, int64_t cols, uint32_t zero)
{
    using tile = turned_tile<T, small>;
    using words = word_pack<T>;
    constexpr int P = 16 / int(sizeof(T)), R = tile::rows_a_word, W = P / R, across = tile::side / P,
                  step = tile_threads / across, steps = tile::side / R / step;
    const int lane = target::thread_x() % across, line = target::thread_x() / across;
    words in[steps][R];
#pragma unroll
    for (int k = 0; k < steps; k++)
#pragma unroll
        for (int r = 0; r < R; r++) {
            const int row = (line + k * step) * R + r;
            in[k][r] = row < rows && lane * P < cols
                           ? load_pack<typename tile::word, W>(reinterpret_cast<const typename tile::word *>(x + row * x_step) +
                                                               lane * W)
                           : words{};
        }
    const uint32_t all = arrival_of(in, zero);
#pragma unroll
    for (int k = 0; k < steps; k++) await(in[k][0], all);
#pragma unroll
    for (int k = 0; k < steps; k++)
#pragma unroll
        for (int w = 0; w < W; w++) {
            typename tile::word square[R];
#pragma unroll
            for (int r = 0; r < R; r++) square[r] = in[k][r].at[w];
            turn_words(square);
#pragma unroll
            for (int r = 0; r < R; r++) turned.cell(lane * P + w * R + r, line + k * step) = square[r];
        }
    target::barrier();
#pragma unroll
    for (int k = 0; k < tile::side / step; k++) {
        const int c = line + k * step;
        words out;
#pragma unroll
        for (int w = 0; w < W; w++) out.at[w] = turned.cell(c, lane * W + w);
        if (c < cols && lane * P < rows)
            store_pack<typename tile::word, W>(reinterpret_cast<typename tile::word *>(y + c * y_step) + lane * W, out);
    }
}

/* The same one element at a time, for what is not whole packs. */
template <class T, bool small> TRINE_DEVICE void turn_single(turned_tile<T, small> &turned, T *y, int64_t y_step, const T *x,
                                                             int64_t x_step, int64_t rows, int64_t cols)
{
    using tile = turned_tile<T, small>;
    constexpr int R = tile::rows_a_word, step = tile_threads / tile::side;
    const int lane = target::thread_x() % tile::side, line = target::thread_x() / tile::side;
#pragma unroll 4
    for (int k = line; k < tile::words; k += step) {
        typename tile::word word = 0;
#pragma unroll
        for (int r = 0; r < R; r++)
            if (k * R + r < rows && lane < cols)
                word |= typename tile::word(x[(k * R + r) * x_step + lane]) << (8 * sizeof(T) * r);
        turned.cell(lane, k) = word;
    }
    target::barrier();
#pragma unroll 4
    for (int c = line; c < tile::side; c += step)
        if (c < cols && lane < rows) y[c * y_step + lane] = T(turned.cell(c, lane / R) >> (8 * sizeof(T) * (lane % R)));
}

/* x: `rows` at x_step elements, each of `cols` dense ones; y: `cols` rows at y_step, each of `rows` dense ones. One tile a block;
 * there are fewer than 2^31 of them, so none of a block's first steps is a long division. */
struct tile_shape {
    int64_t rows, cols, x_step, y_step;
    divider32 tiles, tiles_across; /* tiles: of a matrix */
};

template <class T, bool packed, bool small, class Walk> TRINE_KERNEL(tile_threads)
tile_kernel(tile_shape s, T *y, const T *x, Walk batch)
{
    using tile = turned_tile<T, small>;
    TRINE_SHARED tile turned;
    const int64_t b = s.tiles.divide(target::block_x()), t = target::block_x() - b * s.tiles.d;
    const int64_t down = s.tiles_across.divide(t), row = down * tile::side, col = (t - down * s.tiles_across.d) * tile::side;
    int64_t offset[2];
    batch.offsets(b, offset);
    y += offset[0] + col * s.y_step + row;
    x += offset[1] + row * s.x_step + col;
    if (packed)
        turn_packed<T>(turned, y, s.y_step, x, s.x_step, s.rows - row, s.cols - col, uint32_t(s.tiles.d) >> 31);
    else
        turn_single<T>(turned, y, s.y_step, x, s.x_step, s.rows - row, s.cols - col);
}

/* Takes axis d off the walk: returns its size, and its strides. */
inline int64_t take_axis(trine_iter *it, int32_t d, int64_t (&stride)[2])
{
    for (int32_t k = d; k + 1 < it->ndim; k++) trine_iter_swap_axes(it, k, k + 1);
    int64_t inner[TRINE_ITER_OPERANDS];
    const int64_t size = trine_iter_pop_inner(it, inner);
    stride[0] = inner[0];
    stride[1] = inner[1];
    return size;
}

inline int64_t count_tiles(const trine_iter &batch, const tile_shape &s, int side)
{
    return batch.numel * ceil_div(s.rows, int64_t(side)) * ceil_div(s.cols, int64_t(side));
}

template <class T, bool packed, bool small, class Walk>
inline trine_status launch_tile_kernel(trine_call *call, const trine_iter &batch, tile_shape &s, T *y, const T *x)
{
    constexpr int side = tile_side<T, small>;
    const int64_t blocks = count_tiles(batch, s, side);
    TRINE_REQUIRE_THAT(call, blocks <= 0x7fffffff, "the grid is too large");
    s.tiles = divider32(blocks / batch.numel);
    s.tiles_across = divider32(ceil_div(s.cols, int64_t(side)));
    return launch(call, tile_kernel<T, packed, small, Walk>, grid(blocks), tile_threads, 0, s, y, x, Walk(batch));
}

template <class T, bool packed>
inline trine_status launch_tiles(trine_call *call, const trine_iter &batch, tile_shape &s, T *y, const T *x)
{
    if constexpr (packed) {
        if (short_walk<2>::fits(batch)) {
            if constexpr (has_small_tiles<T>) {
                if (count_tiles(batch, s, tile_side<T, false>) < 2 * int64_t(call->device->props.compute_units))
                    return launch_tile_kernel<T, true, true, short_walk<2>>(call, batch, s, y, x);
            }
            return launch_tile_kernel<T, true, false, short_walk<2>>(call, batch, s, y, x);
        }
    }
    return launch_tile_kernel<T, packed, false, walk<2, divider32>>(call, batch, s, y, x);
}

/* Packs on both sides need sizes, steps and addresses in whole packs. */
template <class T> inline bool tiles_packed(const trine_iter &batch, const tile_shape &s, const T *y, const T *x)
{
    constexpr int P = 16 / int(sizeof(T));
    bool fit = aligned16(x) && aligned16(y) && s.rows % P == 0 && s.cols % P == 0 && s.x_step % P == 0 && s.y_step % P == 0;
    for (int d = 0; d < batch.ndim; d++) fit = fit && batch.stride[0][d] % P == 0 && batch.stride[1][d] % P == 0;
    return fit;
}

/* y and x: one shape, one element size. */
template <class T> inline trine_status copy_permuted(trine_call *call, const trine_tensor &y, const trine_tensor &x)
{
    const trine_tensor *both[] = {&y, &x};
    trine_iter it = trine_iter_make(both, 2, 0);
    const int32_t last = it.ndim - 1;
    int32_t dense = -1; /* x's dense axis */
    for (int32_t d = 0; d < last; d++)
        if (it.stride[1][d] == 1) dense = d;
    if (it.numel == 0 || it.stride[0][last] != 1 || it.stride[1][last] == 1 || dense < 0) return map<T, T>(call, f_same{}, y, x);
    int64_t inner[2], across[2];
    tile_shape s;
    s.rows = take_axis(&it, last, inner);
    s.cols = take_axis(&it, dense, across);
    s.x_step = inner[1];
    s.y_step = across[0];
    const T *from = data_of<T>(x);
    return tiles_packed(it, s, static_cast<const T *>(data_of<T>(y)), from)
               ? launch_tiles<T, true>(call, it, s, data_of<T>(y), from)
               : launch_tiles<T, false>(call, it, s, data_of<T>(y), from);
}

inline trine_status permuted(trine_call *call, const trine_tensor &y, const trine_tensor &x)
{
    return visit_bits(call, y.dtype, [&](auto t) { return copy_permuted<typename decltype(t)::type>(call, y, x); });
}

/* x with its axes in the order of y's. */
inline trine_tensor permuted_view(const trine_tensor &x, const int32_t *axes)
{
    trine_tensor v = x;
    for (int32_t d = 0; d < x.ndim; d++) {
        v.shape[d] = x.shape[axes[d]];
        v.stride[d] = x.stride[axes[d]];
    }
    return v;
}

/* f(part of `whole`, piece) for the pieces, one after the other along `axis`. */
template <class F>
inline void each_piece(const trine_tensor &whole, const trine_tensor (&pieces)[TRINE_CONCAT_MAX], int32_t axis, F f)
{
    trine_tensor part = whole;
    if (axis < 0) axis += whole.ndim;
    for (int i = 0; i < TRINE_CONCAT_MAX; i++) {
        if (!trine_is_given(&pieces[i])) continue;
        part.shape[axis] = pieces[i].shape[axis];
        f(part, pieces[i]);
        part.data = static_cast<char *>(part.data) + part.shape[axis] * part.stride[axis] * (trine_dtype_bits(part.dtype) / 8);
    }
}

/* to: the pieces are copied into `whole`, else out of it. */
inline trine_status copy_pieces(trine_call *call, const trine_tensor &whole, const trine_tensor (&pieces)[TRINE_CONCAT_MAX],
                                int32_t axis, bool to)
{
    layout_pieces list = {};
    bool fit = true;
    each_piece(whole, pieces, axis, [&](const trine_tensor &part, const trine_tensor &piece) {
        fit = fit && (to ? add_piece(&list, part, piece) : add_piece(&list, piece, part));
    });
    if (fit) return launch(call, pieces_kernel, grid(list.begin[list.count]), map_threads, 0, list);
    trine_status status = TRINE_OK;
    each_piece(whole, pieces, axis, [&](const trine_tensor &part, const trine_tensor &piece) {
        if (status == TRINE_OK) status = to ? permuted(call, part, piece) : permuted(call, piece, part);
    });
    return status;
}

} // namespace simt

/* Both take any arguments that pass the core's checks, and no workspace. */
extern "C" trine_status TRINE_BACKEND_FN(transpose)(trine_call *call, const trine_transpose_args *a)
{
    int32_t axes[TRINE_MAX_DIMS];
    for (int32_t d = 0; d < a->x.ndim; d++) axes[d] = d;
    axes[a->x.ndim - 1] = a->x.ndim - 2;
    axes[a->x.ndim - 2] = a->x.ndim - 1;
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::permuted(call, a->y, simt::permuted_view(a->x, axes));
}

extern "C" trine_status TRINE_BACKEND_FN(permute)(trine_call *call, const trine_permute_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::permuted(call, a->y, simt::permuted_view(a->x, a->axes));
}

extern "C" trine_status TRINE_BACKEND_FN(concat)(trine_call *call, const trine_concat_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::copy_pieces(call, a->y, a->x, a->axis, true);
}

extern "C" trine_status TRINE_BACKEND_FN(split)(trine_call *call, const trine_split_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::copy_pieces(call, a->x, a->y, a->axis, false);
}

extern "C" trine_status TRINE_BACKEND_FN(gather)(trine_call *call, const trine_gather_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::gather_rows(call, a->x, a->ids, a->y, a->axis < 0 ? a->axis + a->x.ndim : a->axis);
}

extern "C" trine_status TRINE_BACKEND_FN(embedding)(trine_call *call, const trine_embedding_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::gather_rows(call, a->weight, a->ids, a->y, 0);
}

extern "C" trine_status TRINE_BACKEND_FN(scatter_add)(trine_call *call, const trine_scatter_add_args *a)
{
    const int32_t axis = a->axis < 0 ? a->axis + a->y.ndim : a->axis;
    return simt::scatter_rows(call, simt::scatter_call{&a->x, &a->ids, &a->src, &a->y, axis, false});
}

extern "C" trine_status TRINE_BACKEND_FN(embedding_backward)(trine_call *call, const trine_embedding_backward_args *a)
{
    const trine_tensor none = {};
    return simt::scatter_rows(call, simt::scatter_call{&none, &a->ids, &a->dy, &a->dweight, 0, false});
}

/* Of the family reduce: here, so that the kernels of sums by id are compiled once. */
extern "C" trine_status TRINE_BACKEND_FN(segment_sum)(trine_call *call, const trine_segment_sum_args *a)
{
    const trine_tensor none = {};
    return simt::scatter_rows(call, simt::scatter_call{&none, &a->ids, &a->x, &a->y, 0, a->sorted != 0});
}

#endif
