/* What a narrow float must be: tables of values made by ldexp, nearest by comparing with the midpoint,
 * ties to the even code. Shares no arithmetic with core/float_bits.h. Included by one program. */
#ifndef TRINE_TESTS_DTYPE_ORACLE_H
#define TRINE_TESTS_DTYPE_ORACLE_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "core/float_bits.h"
#include "tests/unit/expect.h"
#include "trine/dtype.h"

_Static_assert(LDBL_MANT_DIG >= 64, "the oracle holds an int64 in a long double");

static uint64_t random64(void) /* splitmix64 */
{
    static uint64_t state = 12345;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Equal with the same sign, or both NaN. */
static bool same(double a, double b) { return isnan(a) ? isnan(b) : a == b && !signbit(a) == !signbit(b); }

/* ---- The oracle ---- */

enum { NARROW = 6, MAX_CODES = 0x8000 };
typedef struct narrow {
    trine_dtype dtype;
    int width, mantissa, bias;
    unsigned largest, nan; /* codes: the largest finite value, NaN */
    bool fnuz, infinity;
    bool saturates;                             /* instead of overflowing to inf, and NaN has no sign */
    double value[MAX_CODES], middle[MAX_CODES]; /* of a code without sign, and half way to the next */
} narrow;

static narrow formats[NARROW] = {
    {.dtype = TRINE_F16, .width = 16, .mantissa = 10, .bias = 15, .largest = 0x7bff, .nan = 0x7e00, .infinity = true},
    {.dtype = TRINE_BF16, .width = 16, .mantissa = 7, .bias = 127, .largest = 0x7f7f, .nan = 0x7fc0, .infinity = true},
    {TRINE_F8_E4M3FN, 8, 3, 7, 0x7e, 0x7f, .saturates = true},
    {TRINE_F8_E5M2, 8, 2, 15, 0x7b, 0x7e, .saturates = true, .infinity = true},
    {TRINE_F8_E4M3FNUZ, 8, 3, 8, 0x7f, 0x80, .saturates = true, .fnuz = true},
    {TRINE_F8_E5M2FNUZ, 8, 2, 16, 0x7f, 0x80, .saturates = true, .fnuz = true},
};

static double finite_value(const narrow *f, unsigned magnitude)
{
    int exponent = (int)(magnitude >> f->mantissa), fraction = (int)(magnitude & ((1u << f->mantissa) - 1));
    if (exponent == 0) return ldexp(fraction, 1 - f->bias - f->mantissa);
    return ldexp(fraction + (1 << f->mantissa), exponent - f->bias - f->mantissa);
}

static double decode(const narrow *f, unsigned code)
{
    unsigned sign = code >> (f->width - 1), magnitude = code & ((1u << (f->width - 1)) - 1);
    if (f->fnuz && sign && !magnitude) return NAN;
    double value = magnitude <= f->largest ? f->value[magnitude] : f->infinity && magnitude == f->largest + 1 ? INFINITY : NAN;
    return sign ? -value : value;
}

static void fill_formats(void)
{
    for (narrow *f = formats; f < formats + NARROW; f++) {
        for (unsigned i = 0; i <= f->largest; i++) f->value[i] = finite_value(f, i);
        for (unsigned i = 0; i <= f->largest; i++) f->middle[i] = (f->value[i] + finite_value(f, i + 1)) / 2;
    }
}

/* The code nearest to x >= 0 (not NaN), searched for from *hint, an index that the next call may use. */
static unsigned nearest(const narrow *f, long double x, unsigned *hint)
{
    unsigned i = *hint;
    while (i > 0 && f->value[i] > x) i--;
    while (i < f->largest && f->value[i + 1] <= x) i++;
    *hint = i;
    if (i == f->largest && f->saturates) return i;
    return i + (x > f->middle[i] || (x == f->middle[i] && i % 2 == 1));
}

static unsigned with_sign(const narrow *f, unsigned magnitude, bool negative)
{
    return negative && !(f->fnuz && magnitude == 0) ? magnitude | 1u << (f->width - 1) : magnitude;
}

static unsigned oracle(const narrow *f, long double x)
{
    if (isnan(x)) return f->saturates ? f->nan : with_sign(f, f->nan, signbit(x));
    long double magnitude = fabsl(x);
    unsigned low = 0, high = f->largest;
    while (low < high) {
        unsigned mid = (low + high + 1) / 2;
        if (f->value[mid] <= magnitude)
            low = mid;
        else
            high = mid - 1;
    }
    return with_sign(f, nearest(f, magnitude, &low), signbit(x));
}

#endif
