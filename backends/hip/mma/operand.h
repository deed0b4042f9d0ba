/* An operand's way into LDS: from global memory through registers into tiles of rows of 64 bytes of K, one for each half of a
 * step of 128 bytes.
 *
 * Swizzle: two rows make a line of 128 bytes, all banks. The eight pieces of 16 bytes of a line change places by an exclusive or
 * with a number of the line, so chosen that none of these meets a bank twice:
 *   reading fragments   eight neighbouring rows, the same piece
 *   storing along K     a line, piece by piece
 *   storing along rows  the same row of eight packs of eight rows, four neighbouring words */
#ifndef TRINE_HIP_MMA_OPERAND_H
#define TRINE_HIP_MMA_OPERAND_H

#include "backends/hip/mma/unit.h"

namespace mma {

enum { row_bytes = 64, halves = 2 };

template <class E> constexpr int half_terms = row_bytes / int(sizeof(E));
template <class E> constexpr int step_terms = halves *half_terms<E>;

/* What is derived from x is computed again in every turn of a loop, not held in registers that sums need. */
template <class T> TRINE_DEVICE T derive_again(T x)
{
#if defined __AMDGCN__
    __asm__ volatile("" : "+v"(x));
#endif
    return x;
}

/* The same value in all threads, and in scalar registers; the compiler can't see that past a division. */
TRINE_DEVICE unsigned uniform(unsigned x) { return unsigned(__builtin_amdgcn_readfirstlane(int(x))); }
TRINE_DEVICE const char *uniform(const void *p)
{
    const uint64_t x = reinterpret_cast<uint64_t>(p);
    return reinterpret_cast<const char *>(uint64_t(uniform(unsigned(x >> 32))) << 32 | uniform(unsigned(x)));
}

/* Where piece 0 to 3 of a row lies, in bytes. */
TRINE_DEVICE int place(int row, int piece)
{
    const int turn = ((row / 2 ^ row / 8) & 3) | (row / 32 & 1) << 2;
    return row / 2 * 128 + (((row & 1) << 2 | piece) ^ turn) * 16;
}
/* The same of row + 16 i, from that of a row whose number's bits 4 and 5 are 0 (or 4 alone and i is 0 or 1). */
TRINE_DEVICE int place_below(int at, int i) { return (at ^ ((i & 1) << 5 | (i >> 1 & 1) << 6)) + i * 16 * row_bytes; }

/* Two elements of 16 bits from each of two words. */
template <class E> TRINE_DEVICE void transpose(const vector16 &x, const vector16 &y, uint32_t (&row)[8])
{
#pragma unroll
    for (int r = 0; r < 8; r++) {
        if constexpr (sizeof(E) == 4)
            row[r] = r < 4 ? x[r % 4] : y[r % 4];
        else
            row[r] = r % 2 ? target::byte_permute<0x7632>(x[r / 2], y[r / 2]) : target::byte_permute<0x5410>(x[r / 2], y[r / 2]);
    }
}

/* An operand: rows of terms, of which one axis is dense. */
template <class E> struct operand {
    const E *x;
    int64_t row, k; /* strides */
    int64_t rows, terms;
    TRINE_DEVICE_METHOD bool along_k() const { return k == 1; }
};

/* A thread's part of the tiles. Along K it has pieces of 16 bytes of rows; along rows packs of eight rows, of which it makes
 * words along K. Loads need no alignment beyond the element's. */
template <class E, int ROWS, int THREADS> struct loader {
    enum { pieces = ROWS * 4 / THREADS, tile_bytes = ROWS * row_bytes, packs = pieces / 2 };
    static_assert(pieces % 2 == 0 && ROWS * 4 % THREADS == 0, "every thread has whole packs");
    typedef vector16 unaligned16 __attribute__((aligned(2)));

    const char *from;    /* the next step's first element; the same in all threads */
    int64_t half, next;  /* bytes to the other half, to the next step */
    uint32_t at[pieces]; /* bytes from there */
    int to;              /* of the thread's first piece or word in LDS */
    bool along_k;
    vector16 held[halves][pieces];

    static TRINE_DEVICE_METHOD int pack_of(int j)
    {
        return target::thread_x() % 8 + (target::thread_x() + j * THREADS) / 128 * 8;
    }
    static TRINE_DEVICE_METHOD int word() { return target::thread_x() / 8 % 16; }

    TRINE_DEVICE_METHOD loader(const operand<E> &o, int64_t first_row, int64_t first_k) : along_k(o.along_k())
    {
        const int t = target::thread_x(), last = int(o.rows - first_row < ROWS ? o.rows - first_row : ROWS) - 1;
        const uint32_t row = uint32_t(o.row) * sizeof(E), k = uint32_t(o.k) * sizeof(E);
        from = uniform(o.x + first_row * o.row + first_k * o.k);
        half = half_terms<E> * o.k * int(sizeof(E));
        next = halves * half;
        if (along_k) {
            to = place(t / 4, t % 4);
#pragma unroll
            for (int i = 0; i < pieces; i++) {
                const int mine = t / 4 + i * (THREADS / 4);
                at[i] = uint32_t(mine < last ? mine : last) * row + t % 4 * 16; /* rows that are not there: any that is */
            }
        } else {
            to = pack_of(0) * 8 * row_bytes + (word() / 4 ^ (pack_of(0) & 7)) * 16 + word() % 4 * 4;
#pragma unroll
            for (int i = 0; i < pieces; i++) {
                const int pack = pack_of(i / 2) < last / 8 ? pack_of(i / 2) : last / 8;
                const int term = sizeof(E) == 2 ? 2 * word() + i % 2 : word(), piece = sizeof(E) == 2 ? pack : 2 * pack + i % 2;
                at[i] = uint32_t(term) * k + piece * 16;
            }
        }
    }
    TRINE_DEVICE_METHOD void load()
    {
#pragma unroll
        for (int h = 0; h < halves; h++)
#pragma unroll
            for (int i = 0; i < pieces; i++)
                held[h][i] = *reinterpret_cast<const __attribute__((address_space(1))) unaligned16 *>(
                    (__attribute__((address_space(1))) const char *)(from + h * half) + derive_again(at[i]));
        from += next;
    }
    /* To that many steps before. */
    TRINE_DEVICE_METHOD void go_back(int64_t steps) { from -= steps * next; }
    TRINE_DEVICE_METHOD void store(unsigned char *tile, int h) const
    {
        if (along_k) {
#pragma unroll
            for (int i = 0; i < pieces; i++) {
                /* 32 rows on, the swizzle has another bit */
                const int turned = THREADS / 4 % 64 && i % 2 ? to ^ 64 : to;
                *reinterpret_cast<vector16 *>(tile + turned + i * (THREADS / 4) * row_bytes) = held[h][i];
            }
        } else {
            const int first = derive_again(to);
#pragma unroll
            for (int j = 0; j < packs; j++) {
                uint32_t row[8];
                transpose<E>(held[h][2 * j], held[h][2 * j + 1], row);
#pragma unroll
                for (int r = 0; r < 8; r++)
                    *reinterpret_cast<uint32_t *>(tile + (first ^ ((r & 1) << 6 | r / 2 << 4)) + r / 2 * 128 +
                                                  j * (THREADS / 128 * 64 * row_bytes)) = row[r];
            }
        }
    }
};

template <int bytes> struct bits;
template <> struct bits<2> {
    using type = uint16_t;
};
template <> struct bits<4> {
    using type = uint32_t;
};

/* A step that the operand does not fill, or where packs of rows would go past its end: element by element, what is missing as 0.
 * The tiles of both halves, `apart` bytes from each other. */
template <int ROWS, int THREADS, class E>
TRINE_DEVICE void fill(unsigned char *tile, int apart, const operand<E> &o, int64_t first_row, int64_t first_k, int terms)
{
    constexpr int flight = 8, each = ROWS * step_terms<E> / THREADS;
    static_assert(each % flight == 0, "whole flights");
    const int rows = int(o.rows - first_row < ROWS ? o.rows - first_row : ROWS);
    using word = typename bits<sizeof(E)>::type;
    const auto *x = (__attribute__((address_space(1))) const word *)(o.x + first_row * o.row + first_k * o.k);
#pragma unroll 1
    for (int i = target::thread_x(); i < each * THREADS; i += flight * THREADS) {
        word element[flight];
        int to[flight];
        bool inside[flight];
#pragma unroll
        for (int u = 0; u < flight; u++) {
            const int e = i + u * THREADS;
            const int row = o.along_k() ? e / step_terms<E> : e % ROWS, k = o.along_k() ? e % step_terms<E> : e / ROWS;
            const int byte = k % half_terms<E> * int(sizeof(E));
            to[u] = k / half_terms<E> * apart + place(row, byte / 16) + byte % 16;
            inside[u] = row < rows && k < terms;
            element[u] = x[inside[u] ? row * o.row + k * o.k : 0]; /* no branch, so that all are under way together */
        }
#pragma unroll
        for (int u = 0; u < flight; u++) *reinterpret_cast<word *>(tile + to[u]) = inside[u] ? element[u] : 0;
    }
}

/* Whether the first step can be loaded like the others. */
template <int ROWS, class E> TRINE_DEVICE bool is_whole(const operand<E> &o, int64_t first_row, int terms)
{
    return terms == step_terms<E> && (o.along_k() || o.rows - first_row >= ROWS || o.rows % 8 == 0);
}

} // namespace mma

#endif
