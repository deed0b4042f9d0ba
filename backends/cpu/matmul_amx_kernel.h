/* The micro-kernel of amx: 32 x 32 sums in four tiles of 16 x 16, from a panel of a and a panel of b, both of bf16.
 *
 * A tile is 16 rows of 64 bytes in one of eight registers. TDPBF16PS takes a tile of a, 16 rows of 32 terms, and one of b, 16 pairs
 * of terms of 16 columns, and adds their 16 x 16 products to sums in f32, in 16 cycles: 1024 operations a cycle, 8 to 16 times
 * what VDPBF16PS does. Four tiles of sums want two of a and two of b for 32 terms: 4 KiB for 64 cycles of arithmetic, so that b's
 * panel should lie in L1 and a's may come from L2.
 *
 * Each of a sum's instructions adds its products of even terms and those of odd ones, rounded to nearest, and then both to the
 * sum. Subnormal numbers are taken for 0, as VDPBF16PS does: panels that hold such terms are multiplied in f32. Intel,
 * "Architecture Instruction Set Extensions Programming Reference", AMX. */
#ifndef TRINE_CPU_MATMUL_AMX_KERNEL_H
#define TRINE_CPU_MATMUL_AMX_KERNEL_H

#include <string.h>

#include "backends/cpu/matmul_kernel.h"

/* A panel of a is [terms / 32][32 rows][32 terms], one of b [terms / 2][32 columns][2]; terms are filled up with zeros. */
enum {
    AMX_TILE = 16,
    AMX_ROWS = 2 * AMX_TILE,
    AMX_PAIRS = 16,
    AMX_BLOCK = AMX_ROWS * AMX_PAIRS /* floats of 32 rows or columns */
};

#if defined __AVX512F__

/* Before and after what a thread does with tiles; they cost its switches 8 KiB while they are in use. */
static inline void amx_begin(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = AMX_TILE;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

static inline void amx_end(void) { __asm__ volatile("tilerelease"); }

/* Instructions by number of the register; `bytes` lie between rows. The compilers' flags of a level have no intrinsics for them. */
#define AMX_LOAD(tile, from, bytes) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((int64_t)(bytes)) : "memory")
#define AMX_LOAD_ONCE(tile, from, bytes) \
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #tile : : "r"(from), "r"((int64_t)(bytes)) : "memory")
#define AMX_STORE(tile, to, bytes) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"((int64_t)(bytes)) : "memory")
#define AMX_CLEAR(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define AMX_MULTIPLY(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)

/* Two tiles of rows of a, a block of 32 terms after the other; in bytes. */
typedef struct amx_rows {
    const char *at, *below; /* the first of 16 rows */
    int64_t pitch, step;    /* from row to row, from block to block */
    const int32_t *offset;  /* of blocks, or NULL: they are a step apart */
} amx_rows;

/* Rows of a panel. */
static inline amx_rows rows_of_panel(const float *panel)
{
    return (amx_rows){(const char *)panel, (const char *)(panel + AMX_BLOCK / 2), 64, AMX_BLOCK * (int64_t)sizeof *panel, NULL};
}

/* Tiles 0 to 3 are sums, 4 and 5 of a, 6 and 7 of b. `high`, `wide`: more than 16 rows, columns; `table`: of offsets; constants. a is loaded with the
 * hint that it is not needed again soon, which keeps b in L1. `next`: the sums of the next call, which are asked for. */
static inline __attribute__((always_inline)) void multiply_blocks(const bool high, const bool wide, const bool table, amx_rows a,
                                                                  const float *b, int64_t blocks, float *out, bool add,
                                                                  const float *next)
{
    enum { BYTES = AMX_ROWS * (int)sizeof *out, BELOW = AMX_TILE * AMX_ROWS };
    const float *const last = next + AMX_ROWS * AMX_ROWS;
    AMX_CLEAR(0);
    AMX_CLEAR(1);
    AMX_CLEAR(2);
    AMX_CLEAR(3);
    if (add) {
        AMX_LOAD(0, out, BYTES);
        if (wide) AMX_LOAD(1, out + AMX_TILE, BYTES);
        if (high) AMX_LOAD(2, out + BELOW, BYTES);
        if (high && wide) AMX_LOAD(3, out + BELOW + AMX_TILE, BYTES);
    }
    for (int64_t i = 0; i < blocks; i++, b += AMX_BLOCK) {
        const int64_t to = table ? a.offset[i] : i * a.step;
        AMX_LOAD(6, b, 2 * 64);
        AMX_LOAD_ONCE(4, a.at + to, a.pitch);
        AMX_MULTIPLY(0, 4, 6);
        if (wide) {
            AMX_LOAD(7, b + AMX_TILE, 2 * 64);
            AMX_MULTIPLY(1, 4, 7);
        }
        if (high) {
            AMX_LOAD_ONCE(5, a.below + to, a.pitch);
            AMX_MULTIPLY(2, 5, 6);
            if (wide) AMX_MULTIPLY(3, 5, 7);
        }
        if (next < last)
            for (int j = 0; j < 4; j++, next += 16) __builtin_prefetch(next, 1, 3);
    }
    AMX_STORE(0, out, BYTES);
    if (wide) AMX_STORE(1, out + AMX_TILE, BYTES);
    if (high) AMX_STORE(2, out + BELOW, BYTES);
    if (high && wide) AMX_STORE(3, out + BELOW + AMX_TILE, BYTES);
}

/* The same of panels that hold subnormal terms. */
static __attribute__((noinline)) void multiply_blocks_in_f32(const float *a, const float *b, int64_t blocks, float *out, bool add)
{
    enum { TOGETHER = 4 };
    for (int r = 0; r < AMX_ROWS; r += TOGETHER, out += TOGETHER * AMX_ROWS) {
        vec sum[TOGETHER][NV];
        for (int i = 0; i < TOGETHER; i++)
            for (int j = 0; j < NV; j++) sum[i][j] = add ? vec_load(out + i * AMX_ROWS + j * VEC_LANES) : (vec){0};
        for (int64_t k = 0; k < blocks * AMX_PAIRS; k++) {
            const float *left = a + k / AMX_PAIRS * AMX_BLOCK + r * AMX_PAIRS + k % AMX_PAIRS;
            for (int i = 0; i < TOGETHER; i++)
                for (int j = 0; j < NV; j++)
                    sum[i][j] = add_product(PANEL_PAIRS_IN_F32, vec_all(left[i * AMX_PAIRS]),
                                            vec_load(b + k * NR + j * VEC_LANES), sum[i][j]);
        }
        for (int i = 0; i < TOGETHER; i++)
            for (int j = 0; j < NV; j++) vec_store(out + i * AMX_ROWS + j * VEC_LANES, sum[i][j]);
    }
}

/* out[32][32]: the sum over so many blocks of 32 terms, or that added to what is there. Of tiles beyond the rows and columns that
 * are wanted it makes nothing, or sums of zeros. `next`: where the next call's are. */
static inline void multiply_tiles(amx_rows a, const float *b, int64_t blocks, float *out, bool add, int64_t rows, int64_t columns,
                                  const float *next)
{
#define AMX_KIND(high, wide) \
    if (a.offset) \
        multiply_blocks(high, wide, true, a, b, blocks, out, add, next); \
    else \
        multiply_blocks(high, wide, false, a, b, blocks, out, add, next)
    if (rows > AMX_TILE && columns > AMX_TILE) {
        AMX_KIND(true, true);
    } else if (rows > AMX_TILE) {
        AMX_KIND(true, false);
    } else if (columns > AMX_TILE) {
        AMX_KIND(false, true);
    } else {
        AMX_KIND(false, false);
    }
#undef AMX_KIND
}

#endif

#endif
