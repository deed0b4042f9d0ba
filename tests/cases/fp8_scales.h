/* Scales of products of fp8: how operands are scaled, what an element's scale is, and the error that such sums are allowed. */
#ifndef TRINE_TESTS_CASES_FP8_SCALES_H
#define TRINE_TESTS_CASES_FP8_SCALES_H

#include <math.h>

#include "tests/cases/cases.h"

/* How an operand is scaled: elements of the scale along its rows (b: columns) and along K. */
typedef enum extent { ONE, BLOCKS, ALL } extent;
typedef struct product_scaling {
    extent a_rows, a_k, b_rows, b_k;
    const char *name;
} product_scaling;

static const product_scaling product_scalings[] = {
    {ONE, ONE, ONE, ONE, "tensor"},
    {ALL, ONE, ALL, ONE, "row"},
    {ALL, BLOCKS, BLOCKS, BLOCKS, "block"},
    {ALL, BLOCKS, ALL, BLOCKS, "1x128 128x1"},
    {BLOCKS, BLOCKS, BLOCKS, BLOCKS, "128x128"},
    {ALL, BLOCKS, ALL, ONE, "1x128 column"},
    {ALL, ONE, BLOCKS, BLOCKS, "row 128x128"},
    {ONE, ONE, ALL, ONE, "tensor column"},
};
enum { TENSOR, ROW, BLOCK, PRODUCT_SCALINGS = 8 };

static inline int64_t blocks_of_128(int64_t n) { return (n + 127) / 128; }

static inline int64_t extent_of(extent e, int64_t n) { return e == ONE ? 1 : e == ALL ? n : blocks_of_128(n); }

/* The scale of row i of `rows`, term k, of the matrix of scales from element `first` on; from_end: the place of the rows' axis. */
static inline double fp8_scale_at(const case_tensor *t, int64_t first, int32_t from_end, int64_t i, int64_t rows, int64_t k)
{
    if (t->ndim < 2) return case_value(t, 0);
    const int64_t of_rows = t->shape[t->ndim - from_end], of_k = t->shape[t->ndim - 3 + from_end];
    const int64_t row = of_rows == 1 ? 0 : of_rows == rows ? i : i / 128, block = of_k == 1 ? 0 : k / 128;
    return case_value(t, first + (from_end == 2 ? row * of_k + block : block * of_rows + row));
}

/* What the computation may be off by, for elements of variance 1 whose scales are at most s: s^2 times that of elements without
 * scales.
 *
 * Sums in f32: as in matmul.c, (4 K + 40) 2^-24; scaled elements are rounded once each, 2 K roundings of some 2^-24 that are as
 * good as independent, with a standard deviation of 2^-24 sqrt(K), of which ten are allowed.
 *
 * Hopper's matrix unit, which takes the OCP formats, adds 32 products and a sum at a time; it aligns them to the largest, keeps
 * 13 bits after its point and cuts the rest. Up to 128 terms the largest is below 64 (the sum's standard deviation is 11), so
 * that the unit is 2^5 2^-13, and 33 cuts have a standard deviation of sqrt(33/3) 2^-8 = 0.013. K / 32 of them: 0.0023 sqrt(K),
 * of which ten are allowed, and 0.05 where so few terms are added that the largest product counts. With fast_accumulate the sum
 * grows to 4 sqrt(k): steps of sqrt(33/3) 2^-13 4 sqrt(k), added up over k = 32, 64 ... K: 0.0002 K, of which ten are allowed. */
static inline double fp8_product_error(trine_dtype a, trine_dtype b, int64_t terms, double scale, bool fast)
{
    const double k = (double)terms, u = 0x1p-24, f32 = (4 * k + 40 + 10 * sqrt(k)) * u;
    const bool ocp = a < TRINE_F8_E4M3FNUZ && b < TRINE_F8_E4M3FNUZ;
    const double unit = fast ? 0.002 * k + 0.05 : 0.023 * sqrt(k) + 0.05;
    return scale * scale * (f32 + (ocp ? unit : 0));
}

#endif
