/* The sm80 matmul's tiles of an operand in shared memory: rows (columns of b) by 64 bytes of K, copied 16 bytes at a time as they
 * lie in memory, and how a warp's fragments are read from them. Pieces of 16 bytes are swizzled so that eight lanes that read or
 * write together meet all banks. */
#ifndef TRINE_CUDA_MATMUL_SM80_TILE_H
#define TRINE_CUDA_MATMUL_SM80_TILE_H

#include "backends/cuda/matmul_sm80_plan.h"
#include "backends/cuda/mma/mma_sync.h"
#include "backends/simt/matmul_product.h"
#include "backends/simt/matmul_tile.h"

namespace sm80 {

using simt::tile_along_k;
using simt::tile_along_rows;
using simt::tile_axis;

/* Terms of K that a stage holds; elements in 16 bytes. */
template <class T> constexpr int step_terms = step_bytes / int(sizeof(T));
template <class T> constexpr int piece = 16 / int(sizeof(T));

/* Along K: a line is 64 bytes of one row; piece p of line l lies at place p ^ l / 2 % 4.
 * Along rows: a line is one term of all rows. 16 bits: piece p of line l lies at p ^ l % 8; f32, whose fragments are read word by
 * word: pairs of pieces lie at pair ^ l % 4. */
template <class T, tile_axis A, int ROWS> struct tile {
    enum { along_k = A == tile_along_k, wide = sizeof(T) == 4 };
    enum { pieces = along_k ? step_bytes / 16 : ROWS / piece<T>, line_bytes = pieces * 16 };

    static TRINE_DEVICE_METHOD uint32_t place(int line, int p)
    {
        const int at = along_k ? p ^ (line >> 1 & 3) : wide ? p ^ (line & 3) << 1 : p ^ (line & 7);
        return uint32_t(line * line_bytes + at * 16);
    }
};

/* A thread's copies of an operand's tiles, one stage after the other. The first stage has the last terms, 1 to step_terms of them,
 * and counts bytes; the others are whole, so that their copies cost an address and a condition each. Lines that a thread copies lie
 * a multiple of the swizzle's period apart. */
template <class T, tile_axis A, int ROWS, int THREADS> struct copier {
    using lines = tile<T, A, ROWS>;
    enum { copies = ROWS * step_bytes / 16 / THREADS, lines_apart = THREADS / lines::pieces };
    static_assert(copies * lines_apart * lines::pieces == copies * THREADS && copies <= 32, "every thread has the same copies");
    const T *from; /* of the next stage's first copy */
    int64_t apart, step;
    uint32_t inside; /* bit i: the operand has some of what copy i brings */
    uint32_t to;

    /* `rows` of the tile are the operand's. */
    TRINE_DEVICE_METHOD copier(const T *x, int64_t x_row, int64_t x_k, int64_t first_row, int rows, int64_t first_k,
                               uint32_t tile_at)
    {
        const int row = first_row_of(), term = first_term_of();
        inside = 0;
#pragma unroll
        for (int i = 0; i < copies; i++) inside |= uint32_t(row + (lines::along_k ? i * lines_apart : 0) < rows) << i;
        apart = lines_apart * (lines::along_k ? x_row : x_k);
        step = step_terms<T> * (lines::along_k ? 1 : x_k);
        from = x + (first_row + row) * x_row + (first_k + term) * x_k;
        to = tile_at + lines::place(int(threadIdx.x) / lines::pieces, int(threadIdx.x) % lines::pieces);
    }
    static TRINE_DEVICE_METHOD int first_row_of()
    {
        return lines::along_k ? int(threadIdx.x) / lines::pieces : int(threadIdx.x) % lines::pieces * piece<T>;
    }
    static TRINE_DEVICE_METHOD int first_term_of()
    {
        return lines::along_k ? int(threadIdx.x) % lines::pieces * piece<T> : int(threadIdx.x) / lines::pieces;
    }
    /* Stage `steps` - 1 of K, which has `terms`, to the first slot; what there is not is 0. */
    TRINE_DEVICE_METHOD void copy_last(int rows, int steps, int terms) const
    {
        const T *p = from + (steps - 1) * step;
#pragma unroll
        for (int i = 0; i < copies; i++) {
            const int k = first_term_of() + (lines::along_k ? 0 : i * lines_apart);
            const int more = lines::along_k ? terms - k : k < terms ? rows - first_row_of() : 0;
            const int some = (inside >> i & 1) == 0 || more < 0 ? 0 : more > piece<T> ? piece<T> : more;
            mma_sync::copy16(to + uint32_t(i * lines_apart * lines::line_bytes), p + i * apart, some * int(sizeof(T)));
        }
    }
    /* Of a stage before the last one. Rows end within a piece: what follows them is read, too, for in all lines but the last the
     * operand goes on behind it; nothing that is stored depends on it. */
    TRINE_DEVICE_METHOD void copy(uint32_t slot, int i, bool some) const
    {
        mma_sync::copy16_if(to + slot + uint32_t(i * lines_apart * lines::line_bytes), from + i * apart,
                            some && (inside >> i & 1));
    }
    TRINE_DEVICE_METHOD void next() { from += step; }
};

/* What a lane reads of a tile for an instruction: 16 rows from row `first` + 16 i on, 32 bytes of K, the half `k` of the stage:
 * of the rows l / 4 + 8 h the 4 bytes at l % 4 * 4 + 16 q. FIRST: as a, whose order is x[h + 2 q]; otherwise as two of b, x[q + 2 h],
 * for an instruction takes its b from two registers that follow each other. */
template <class T, tile_axis A, int ROWS, bool FIRST> struct reader {
    using lines = tile<T, A, ROWS>;
    uint32_t at;

    TRINE_DEVICE_METHOD reader(int first, uint32_t tile_at)
    {
        const int lane = int(threadIdx.x) % 32, eight = lane % 8, outer = FIRST ? lane / 8 % 2 : lane / 16,
                  inner = FIRST ? lane / 16 : lane / 8 % 2;
        at = tile_at;
        if constexpr (lines::along_k)
            at += lines::place(first + outer * 8 + eight, inner);
        else if constexpr (lines::wide)
            at += uint32_t(lane % 4 * lines::line_bytes + (first / 8 ^ lane % 4) * 32 + lane / 4 * 4);
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
            x[FIRST ? 1 : 2] = mma_sync::load_word(from ^ uint32_t(i * 64 + 32));
            x[FIRST ? 2 : 1] = mma_sync::load_word((from ^ uint32_t(i * 64)) + 4 * line);
            x[3] = mma_sync::load_word((from ^ uint32_t(i * 64 + 32)) + 4 * line);
        } else {
            mma_sync::load_matrices<true>(x, ((at + slot) ^ uint32_t(i * 32)) + uint32_t(k * 16 * lines::line_bytes));
        }
    }
};

} // namespace sm80

#endif
