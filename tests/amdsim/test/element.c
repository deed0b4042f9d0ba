/* Elements of matrix operands. */
#include <stdlib.h>

#include "matrix.h"

const int type_bits[] = {32, 64, 16, 16, 8, 8, 8, 32, 4};

uint64_t element_code(type t, int v)
{
    double x = v;
    uint64_t wide;
    int mantissa = t == T_FP8 ? 3 : 2, bias = t == T_FP8 ? 8 : 16, e;
    memcpy(&wide, &x, 8);
    switch (t) {
    case T_F32: return as_bits((float)v);
    case T_F64: return wide;
    case T_F16: return half_code(v);
    case T_BF16: return as_bits((float)v) >> 16;
    case T_FP8:
    case T_BF8: /* FNUZ: no negative zero */
        if (v == 0) return 0;
        frexp(abs(v), &e);
        return (uint64_t)(e - 1 + bias) << mantissa | ((uint64_t)ldexp(abs(v), mantissa - (e - 1)) & ((1u << mantissa) - 1)) |
               (v < 0 ? 128 : 0);
    case T_IU4: return (uint64_t)v & 15;
    default: return (uint64_t)v & (type_bits[t] == 8 ? 255 : 0xffffffffu);
    }
}

void element_put(lanes *registers, int lane, int item, int bits, uint64_t value)
{
    int at = item * bits;
    registers[at / 32][lane] |= (uint32_t)value << at % 32;
    if (bits == 64) registers[at / 32 + 1][lane] = (uint32_t)(value >> 32);
}
