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

/* From two vectors of what lies along rows to a word along K for each of eight rows. Of 8 bits, a vector has two terms of all
 * rows, of 16 one, of 32 bits one term of four rows. */
template <class E> TRINE_DEVICE void transpose(const vector16 &x, const vector16 &y, uint32_t (&row)[8])
{
#pragma unroll
    for (int r = 0; r < 8; r++) {
        if constexpr (sizeof(E) == 4) {
            row[r] = r < 4 ? x[r % 4] : y[r % 4];
        } else if constexpr (sizeof(E) == 2) {
            row[r] = r % 2 ? target::byte_permute<0x7632>(x[r / 2], y[r / 2]) : target::byte_permute<0x5410>(x[r / 2], y[r / 2]);
        } else {
            const int w = r / 4;
            const uint32_t low =
                r % 4 < 2 ? target::byte_permute<0x5140>(x[w], x[2 + w]) : target::byte_permute<0x7362>(x[w], x[2 + w]);
            const uint32_t high =
                r % 4 < 2 ? target::byte_permute<0x5140>(y[w], y[2 + w]) : target::byte_permute<0x7362>(y[w], y[2 + w]);
            row[r] = r % 2 ? target::byte_permute<0x7632>(low, high) : target::byte_permute<0x5410>(low, high);
        }
    }
}

/* Codes of e4m3fn as the codes of e4m3fnuz that are worth half: but for -0 and NaN they are the same. NaN is rare: what all words
 * have of it is looked for together, and made good behind one branch, which saves four of ten instructions a word. */
template <int count> TRINE_DEVICE void relabel(uint32_t (&codes)[count])
{
    constexpr uint32_t signs = 0x80808080u, rest = 0x7f7f7f7fu, ones = 0x01010101u;
    uint32_t nans = 0;
#pragma unroll
    for (int i = 0; i < count; i++) {
        const uint32_t magnitude = codes[i] & rest;
        nans |= (magnitude + ones) & signs;
        codes[i] = magnitude | (codes[i] & (magnitude + rest) & signs);
    }
    if (nans)
#pragma unroll
        for (int i = 0; i < count; i++) {
            const uint32_t nan = ((codes[i] & rest) + ones) & signs;
            codes[i] = (codes[i] & ~(nan - (nan >> 7))) | nan;
        }
}

/* An operand: rows of terms, of which one axis is dense. */
template <class E> struct operand {
    const E *x;
    int64_t row, k; /* strides */
    int64_t rows, terms;
    bool relabels; /* codes of e4m3fn */
    TRINE_DEVICE_METHOD bool along_k() const { return k == 1; }
};

/* A thread's part of the tiles. Along K it has pieces of 16 bytes of rows; along rows packs of eight rows, of which it makes
 * words along K, in both halves or, where threads are many, in one. Loads need no alignment beyond the element's. */
template <class E, int ROWS, int THREADS> struct loader {
    enum { pieces = ROWS * 4 / THREADS, bytes = sizeof(E), one_half = pieces == 1, pack_bytes = 8 * bytes };
    enum { loads = 2 * pieces, load_bytes = bytes == 1 ? 8 : 16, pack_loads = 32 / load_bytes };
    static_assert((pieces == 1 || pieces == 2) && ROWS * 4 % THREADS == 0, "every thread has a pack");
    typedef vector16 unaligned16 __attribute__((aligned(1)));
    typedef uint32_t vector8 __attribute__((ext_vector_type(2)));
    typedef vector8 unaligned8 __attribute__((aligned(1)));
    template <class T> using global = const __attribute__((address_space(1))) T;

    const char *from;        /* the next step's first element; the same in all threads */
    int64_t half, next;      /* bytes to the other half, to the next step */
    uint32_t at[pack_loads]; /* bytes from there */
    int to;                  /* of the thread's first piece or word in LDS */
    bool along_k, relabels;
    vector16 held[halves][pieces];

    static TRINE_DEVICE_METHOD int group() { return one_half ? target::thread_x() % (ROWS * 2) : target::thread_x(); }
    static TRINE_DEVICE_METHOD int pack() { return group() % 8 + group() / 128 * 8; }
    static TRINE_DEVICE_METHOD int word() { return group() / 8 % 16; }
    /* The half that a thread has which has one; the same in all threads of a wave. */
    static TRINE_DEVICE_METHOD int own_half() { return int(uniform(unsigned(target::thread_x()) / (ROWS * 2))); }

    TRINE_DEVICE_METHOD loader(const operand<E> &o, int64_t first_row, int64_t first_k)
        : along_k(o.along_k()), relabels(o.relabels)
    {
        const int t = target::thread_x(), last = int(o.rows - first_row < ROWS ? o.rows - first_row : ROWS) - 1;
        from = uniform(o.x + first_row * o.row + first_k * o.k);
        half = half_terms<E> * o.k * bytes;
        next = halves * half;
        if (along_k) {
            to = place(t / 4, t % 4);
#pragma unroll
            for (int i = 0; i < pack_loads; i++) {
                const int mine = t / 4 + i * (THREADS / 4);
                at[i] = uint32_t(mine < last ? mine : last) * uint32_t(o.row) * bytes +
                        t % 4 * 16; /* rows that are not there: any that is */
            }
        } else {
            to = pack() * 8 * row_bytes + (word() / 4 ^ (pack() & 7)) * 16 + word() % 4 * 4;
            const int mine = pack() < last / 8 ? pack() : last / 8;
#pragma unroll
            for (int i = 0; i < pack_loads; i++) {
                const int term = bytes == 4 ? word() : word() * (4 / bytes) + i, piece = bytes == 4 ? i : 0;
                at[i] = uint32_t(term) * uint32_t(o.k) * bytes + mine * pack_bytes + piece * load_bytes;
            }
            if (one_half) from += own_half() * half;
        }
    }
    TRINE_DEVICE_METHOD vector16 load16(int h, int i) const
    {
        return *reinterpret_cast<global<unaligned16> *>((global<char> *)(from + h * half) + derive_again(at[i]));
    }
    /* Two terms of eight codes. */
    TRINE_DEVICE_METHOD vector16 load_codes(int h, int i) const
    {
        const vector8 x = *reinterpret_cast<global<unaligned8> *>((global<char> *)(from + h * half) + derive_again(at[2 * i]));
        const vector8 y =
            *reinterpret_cast<global<unaligned8> *>((global<char> *)(from + h * half) + derive_again(at[2 * i + 1]));
        return vector16{x[0], x[1], y[0], y[1]};
    }
    TRINE_DEVICE_METHOD void load()
    {
        if (bytes == 1 && !along_k) {
#pragma unroll
            for (int h = 0; h < halves; h++)
#pragma unroll
                for (int i = 0; i < pieces; i++)
                    if constexpr (bytes == 1) held[h][i] = one_half ? load_codes(0, h) : load_codes(h, i);
        } else {
#pragma unroll
            for (int h = 0; h < halves; h++)
#pragma unroll
                for (int i = 0; i < pieces; i++) held[h][i] = load16(h, i);
        }
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
                vector16 piece = held[h][i];
                if (bytes == 1 && relabels) {
                    uint32_t word[4] = {piece[0], piece[1], piece[2], piece[3]};
                    relabel(word);
                    piece = vector16{word[0], word[1], word[2], word[3]};
                }
                *reinterpret_cast<vector16 *>(tile + turned + i * (THREADS / 4) * row_bytes) = piece;
            }
        } else if (!one_half || h == own_half()) {
            uint32_t row[8];
            if constexpr (one_half)
                transpose<E>(held[0][0], held[1][0], row);
            else
                transpose<E>(held[h][0], held[h][1], row);
            if (bytes == 1 && relabels) relabel(row);
            const int first = derive_again(to);
#pragma unroll
            for (int r = 0; r < 8; r++)
                *reinterpret_cast<uint32_t *>(tile + (first ^ ((r & 1) << 6 | r / 2 << 4)) + r / 2 * 128) = row[r];
        }
    }
};

template <int bytes> struct bits;
template <> struct bits<1> {
    using type = uint8_t;
};
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
        if (sizeof(E) == 1 && o.relabels) {
            uint32_t code[flight];
#pragma unroll
            for (int u = 0; u < flight; u++) code[u] = element[u];
            relabel(code);
#pragma unroll
            for (int u = 0; u < flight; u++) element[u] = word(code[u]);
        }
#pragma unroll
        for (int u = 0; u < flight; u++) {
            *reinterpret_cast<word *>(tile + to[u]) = inside[u] ? element[u] : 0;
        }
    }
}

/* Whether the first step can be loaded like the others. */
template <int ROWS, class E> TRINE_DEVICE bool is_whole(const operand<E> &o, int64_t first_row, int terms)
{
    return terms == step_terms<E> && (o.along_k() || o.rows - first_row >= ROWS || o.rows % 8 == 0);
}

} // namespace mma

#endif
