/* The sm80 matmul's tiles of an operand in shared memory: 128 rows (columns of b) by 64 bytes of K, copied 16 bytes at a time as
 * they lie in memory, and how a warp's fragments are read from them. Pieces of 16 bytes are swizzled so that eight lanes that
 * read or write together meet all banks. */
#ifndef TRINE_CUDA_MATMUL_SM80_TILE_H
#define TRINE_CUDA_MATMUL_SM80_TILE_H

#include "backends/cuda/mma/mma_sync.h"
#include "backends/simt/matmul_product.h"
#include "backends/simt/matmul_tile.h"

namespace sm80 {

using simt::tile_along_k;
using simt::tile_along_rows;
using simt::tile_axis;

enum { tile_rows = 128, step_bytes = 64, stages = 3, threads = 128, copies = 4, tile_bytes = tile_rows * step_bytes };

/* Terms of K that a stage holds; elements in 16 bytes. */
template <class T> constexpr int step_terms = step_bytes / int(sizeof(T));
template <class T> constexpr int piece = 16 / int(sizeof(T));

/* Along K: a line is 64 bytes of one row; piece p of line l lies at place p ^ l / 2 % 4.
 * Along rows: a line is one term of 128 rows. 16 bits: piece p of line l lies at p ^ l % 8; f32, whose fragments are read word by
 * word: pairs of pieces lie at pair ^ l % 4. */
template <class T, tile_axis A> struct tile {
    enum { along_k = A == tile_along_k, wide = sizeof(T) == 4 };
    enum { pieces = along_k ? step_bytes / 16 : tile_rows / piece<T>, line_bytes = pieces * 16 };

    static TRINE_DEVICE_METHOD uint32_t place(int line, int p)
    {
        const int at = along_k ? p ^ (line >> 1 & 3) : wide ? p ^ (line & 3) << 1 : p ^ (line & 7);
        return uint32_t(line * line_bytes + at * 16);
    }
};

/* A thread's copies of an operand's tiles, one stage after the other. */
template <class T, tile_axis A> struct copier {
    using lines = tile<T, A>;
    enum { lines_apart = threads / lines::pieces };
    const T *from; /* of the first copy */
    int64_t apart, step;
    int row, term; /* of the first copy; term counts down to the end of K */
    int rows, left;
    uint32_t to;

    TRINE_DEVICE_METHOD copier(const T *x, int64_t x_row, int64_t x_k, int64_t first_row, int64_t all_rows, int64_t first_k,
                               int64_t terms, uint32_t tile_at)
    {
        const int t = int(threadIdx.x), line = t / lines::pieces, p = t % lines::pieces;
        row = lines::along_k ? line : p * piece<T>;
        term = lines::along_k ? p * piece<T> : line;
        rows = int(all_rows - first_row < tile_rows ? all_rows - first_row : int64_t(tile_rows));
        left = int(terms);
        apart = lines_apart * (lines::along_k ? x_row : x_k);
        step = step_terms<T> * (lines::along_k ? 1 : x_k);
        from = x + (first_row + row) * x_row + (first_k + term) * x_k;
        to = tile_at + lines::place(line, p);
    }
    /* To stage `slot`; what the operand does not have is 0. Lines that a thread copies lie a multiple of the swizzle's period
     * apart. */
    TRINE_DEVICE_METHOD void start(uint32_t slot)
    {
#pragma unroll
        for (int i = 0; i < copies; i++) {
            const int r = row + (lines::along_k ? i * lines_apart : 0), k = term + (lines::along_k ? 0 : i * lines_apart);
            const int more = lines::along_k ? (r < rows ? left - k : 0) : (k < left ? rows - r : 0);
            const int bytes = (more < 0 ? 0 : more > piece<T> ? piece<T> : more) * int(sizeof(T));
            mma_sync::copy16(to + slot + uint32_t(i * lines_apart * lines::line_bytes), from + i * apart, bytes);
        }
        from += step;
        left -= step_terms<T>;
    }
};

/* What a lane reads of a tile for an instruction: 16 rows from row `first` + 16 i on, 32 bytes of K, the half `k` of the stage.
 * x[h + 2 q]: row l / 4 + 8 h, the 4 bytes at l % 4 * 4 + 16 q. As a that is the operand; as b, two of 8 columns: x[0], x[2] and
 * x[1], x[3]. */
template <class T, tile_axis A> struct reader {
    using lines = tile<T, A>;
    uint32_t at;

    TRINE_DEVICE_METHOD reader(int first, uint32_t tile_at)
    {
        const int lane = int(threadIdx.x) % 32, eight = lane % 8, outer = lane / 8 % 2, inner = lane / 16;
        at = tile_at;
        if constexpr (lines::along_k)
            at += lines::place(first + outer * 8 + eight, inner);
        else if constexpr (lines::wide)
            at += uint32_t(lane % 4 * lines::line_bytes + (first / 8 + lane % 4) * 32 + lane / 4 * 4);
        else
            at += lines::place(inner * 8 + eight, first / 8 + outer);
    }
    TRINE_DEVICE_METHOD void load(uint32_t (&x)[4], uint32_t slot, int i, int k) const
    {
        if constexpr (lines::along_k) {
            mma_sync::load_matrices<false>(x, ((at + slot) ^ uint32_t(k * 32)) + uint32_t(i * 16 * lines::line_bytes));
        } else if constexpr (lines::wide) {
            const uint32_t line = uint32_t(lines::line_bytes), from = at + slot + uint32_t(k) * 8 * line;
            x[0] = mma_sync::load_word(from ^ uint32_t(i * 64));
            x[1] = mma_sync::load_word(from ^ uint32_t(i * 64 + 32));
            x[2] = mma_sync::load_word((from ^ uint32_t(i * 64)) + 4 * line);
            x[3] = mma_sync::load_word((from ^ uint32_t(i * 64 + 32)) + 4 * line);
        } else {
            mma_sync::load_matrices<true>(x, ((at + slot) ^ uint32_t(i * 32)) + uint32_t(k * 16 * lines::line_bytes));
        }
    }
};

} // namespace sm80

#endif
