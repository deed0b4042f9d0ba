/* concat and split in one launch, where the whole and its pieces are rows of 16-byte words: pieces one after the other would each end
 * with few blocks on the device. Bound by bytes.
 *
 * Every piece has blocks of its own; a thread moves a few words that lie a block's width apart. */
#ifndef TRINE_SIMT_LAYOUT_PIECES_H
#define TRINE_SIMT_LAYOUT_PIECES_H

#include "backends/simt/map.h"

namespace simt {

enum { piece_unroll = 8 };

/* A piece: words of a row, of all its rows, and from row to row on either side. */
struct layout_piece {
    char *to;
    const char *from;
    divider32 row;
    uint32_t words;
    int64_t to_step, from_step; /* bytes */
};

struct layout_pieces {
    int32_t count;
    uint32_t begin[TRINE_CONCAT_MAX + 1]; /* blocks */
    layout_piece at[TRINE_CONCAT_MAX];
};

TRINE_KERNEL(map_threads) pieces_kernel(layout_pieces pieces)
{
    const uint32_t block = target::block_x();
    int i = 0;
    while (i + 1 < pieces.count && block >= pieces.begin[i + 1]) i++;
    const layout_piece p = pieces.at[i];
    const uint32_t first = (block - pieces.begin[i]) * uint32_t(map_threads * piece_unroll) + uint32_t(target::thread_x());
    uint4 word[piece_unroll];
#pragma unroll
    for (int u = 0; u < piece_unroll; u++) {
        const uint32_t w = first + uint32_t(u * map_threads), row = uint32_t(p.row.divide(w));
        if (w < p.words) word[u] = target::load16(p.from + row * p.from_step + int64_t(w - row * p.row.d) * 16);
    }
#pragma unroll
    for (int u = 0; u < piece_unroll; u++) {
        const uint32_t w = first + uint32_t(u * map_threads), row = uint32_t(p.row.divide(w));
        if (w < p.words) target::store16(p.to + row * p.to_step + int64_t(w - row * p.row.d) * 16, word[u]);
    }
}

/* Adds a piece: false if it is no rows of words. */
inline bool add_piece(layout_pieces *pieces, const trine_tensor &to, const trine_tensor &from)
{
    const trine_tensor *both[] = {&to, &from};
    const trine_iter it = trine_iter_make(both, 2, 0);
    if (it.numel == 0) return true;
    const int last = it.ndim - 1;
    const int64_t size = int64_t(trine_dtype_bits(to.dtype)) / 8, rows = last == 1 ? it.size[0] : 1;
    if (last > 1 || it.stride[0][last] != 1 || it.stride[1][last] != 1 || !aligned16(to.data) || !aligned16(from.data))
        return false;
    const int64_t bytes = it.size[last] * size, to_step = last == 1 ? it.stride[0][0] * size : 0,
                  from_step = last == 1 ? it.stride[1][0] * size : 0, words = rows * (bytes / 16);
    if (bytes % 16 || to_step % 16 || from_step % 16 || words >= 0x7fffffff - map_threads * piece_unroll) return false;
    layout_piece &p = pieces->at[pieces->count];
    p = layout_piece{static_cast<char *>(to.data),
                     static_cast<const char *>(from.data),
                     divider32(bytes / 16),
                     uint32_t(words),
                     to_step,
                     from_step};
    const int64_t end = pieces->begin[pieces->count] + ceil_div(words, map_threads * piece_unroll);
    pieces->begin[++pieces->count] = uint32_t(end);
    return end <= 0x7fffffff;
}

} // namespace simt

#endif
