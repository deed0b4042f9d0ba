/* How the tables' lane functions are written: an expression of a, b, c (the sources of lane l), io and l.
 *
 * Semantics are those of the instruction chapters of the ISA manuals of MI200, MI300 and RDNA3; a comment says what is not plain
 * there. */
#ifndef AMDSIM_LANES_H
#define AMDSIM_LANES_H

#include "half.h"
#include "sim.h"

#define UNUSED __attribute__((unused))

/* The loop has no branches, so that it becomes vector code. */
#define LANE_FN(name, D, A, B, C, expression) \
    static void name(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io) \
    { \
        D *restrict d = d_; \
        const A *restrict as = a_; \
        const B *restrict bs = b_; \
        const C *restrict cs = c_; \
        (void)as, (void)bs, (void)cs, (void)io; \
        for (int l = 0; l < LANES; l++) d[l] = (expression); \
    }
#define a as[l]
#define b bs[l]
#define c cs[l]
typedef float f32;
typedef double f64;
typedef uint32_t u32;
typedef int32_t i32;
typedef uint64_t u64;
typedef int64_t i64;
#define F1(name, e) LANE_FN(name, f32, f32, f32, f32, e)
#define D1(name, e) LANE_FN(name, f64, f64, f64, f64, e)
#define U1(name, e) LANE_FN(name, u32, u32, u32, u32, e)
#define I1(name, e) LANE_FN(name, i32, i32, i32, i32, e)
#define Q1(name, e) LANE_FN(name, u64, u64, u64, u64, e)

/* A function that gives a bit a lane. */
#define MASK_FN(name, A, B, expression) \
    static void name(void *restrict d_, const void *restrict a_, const void *restrict b_, const void *restrict c_, lane_io *io) \
    { \
        const A *restrict as = a_; \
        const B *restrict bs = b_; \
        uint8_t hit[LANES]; \
        (void)d_, (void)c_, (void)as, (void)bs; \
        for (int l = 0; l < LANES; l++) hit[l] = (expression) ? 1 : 0; \
        io->mask_out = gather_lanes(hit); \
    }

#define BIT(mask) ((mask) >> l & 1)
#define COUNT(table) (sizeof table / sizeof table[0])

/* A table of op_rows, and its end. */
#define TABLE_END \
    { \
        0, 0, 0, 0, 0, 0 \
    }
extern const op_row ops_float[], ops_double[], ops_integer[], ops_convert[], ops_compare[], ops_packed[], ops_special[],
    ops_scalar[], ops_scalar_logic[], ops_branch[];

#endif
