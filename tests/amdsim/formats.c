/* Widths and atomics by name, of both generations of names. */
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "vmem.h"

static const struct {
    const char *name;
    uint8_t bytes, half;
    bool sign_extend;
} widths[] = {
    {"ubyte", 1, 0, 0},       {"u8", 1, 0, 0},           {"sbyte", 1, 0, 1},        {"i8", 1, 0, 1},
    {"byte", 1, 0, 0},        {"b8", 1, 0, 0},           {"ushort", 2, 0, 0},       {"u16", 2, 0, 0},
    {"sshort", 2, 0, 1},      {"i16", 2, 0, 1},          {"short", 2, 0, 0},        {"b16", 2, 0, 0},
    {"dword", 4, 0, 0},       {"b32", 4, 0, 0},          {"dwordx2", 8, 0, 0},      {"b64", 8, 0, 0},
    {"dwordx3", 12, 0, 0},    {"b96", 12, 0, 0},         {"dwordx4", 16, 0, 0},     {"b128", 16, 0, 0},
    {"ubyte_d16", 1, 1, 0},   {"d16_u8", 1, 1, 0},       {"u8_d16", 1, 1, 0},       {"sbyte_d16", 1, 1, 1},
    {"d16_i8", 1, 1, 1},      {"i8_d16", 1, 1, 1},       {"ubyte_d16_hi", 1, 2, 0}, {"d16_hi_u8", 1, 2, 0},
    {"u8_d16_hi", 1, 2, 0},   {"sbyte_d16_hi", 1, 2, 1}, {"d16_hi_i8", 1, 2, 1},    {"i8_d16_hi", 1, 2, 1},
    {"byte_d16_hi", 1, 2, 0}, {"d16_hi_b8", 1, 2, 0},    {"b8_d16_hi", 1, 2, 0},    {"short_d16", 2, 1, 0},
    {"d16_b16", 2, 1, 0},     {"u16_d16", 2, 1, 0},      {"short_d16_hi", 2, 2, 0}, {"d16_hi_b16", 2, 2, 0},
    {"u16_d16_hi", 2, 2, 0},  {"b16_d16_hi", 2, 2, 0},
};

const mem_format *format_of(const char *name)
{
    static mem_format found[sizeof widths / sizeof widths[0]];
    for (size_t k = 0; k < sizeof widths / sizeof widths[0]; k++) {
        if (strcmp(name, widths[k].name) != 0) continue;
        found[k] = (mem_format){.bytes = widths[k].bytes, .half = widths[k].half, .sign_extend = widths[k].sign_extend};
        return &found[k];
    }
    return NULL;
}

/* ---- Atomics ---- */

#define A(name, value) \
    static uint64_t name(uint64_t m, uint64_t d, uint64_t second) \
    { \
        (void)m, (void)second; \
        return (uint64_t)(value); \
    }
#define I(x) ((int32_t)(x))
#define J(x) ((int64_t)(x))
#define U(x) ((uint32_t)(x))
#define F(x) float_of(U(x))
#define D(x) double_of(x)
A(add, m + d)
A(sub, m - d)
A(rsub, d - m)
A(smin, I(m) < I(d) ? m : d)
A(smax, I(m) > I(d) ? m : d)
A(umin, m < d ? m : d)
A(umax, m > d ? m : d)
A(smin64, J(m) < J(d) ? m : d)
A(smax64, J(m) > J(d) ? m : d)
A(and_, m &d)
A(or_, m | d)
A(xor_, m ^ d)
A(inc, m >= d ? 0 : m + 1)
A(dec, m == 0 || m > d ? d : m - 1)
A(swap, d)
A(cmpswap, m == second ? d : m)
A(add_float, bits_of(F(m) + F(d)))
A(min_float, F(d) < F(m) ? d : m)
A(max_float, F(d) > F(m) ? d : m)
A(add_double, bits_of_double(D(m) + D(d)))
A(dmin, D(d) < D(m) ? d : m)
A(dmax, D(d) > D(m) ? d : m)
static uint32_t add_halves(uint32_t x, uint32_t y) { return float_to_half(half_to_float(x) + half_to_float(y)); }
static uint32_t add_bf16(uint32_t x, uint32_t y) { return float_to_bf16(bf16_to_float(x) + bf16_to_float(y)); }
A(pk_f16, add_halves(m & 0xffff, d & 0xffff) | add_halves(m >> 16 & 0xffff, d >> 16 & 0xffff) << 16)
A(pk_bf16, add_bf16(m & 0xffff, d & 0xffff) | add_bf16(m >> 16 & 0xffff, d >> 16 & 0xffff) << 16)

/* Names of gfx9's global and flat, of gfx11's, and of LDS. */
static const struct {
    const char *name;
    uint8_t bytes;
    atomic_fn *fn;
} atomics[] = {
    {"add", 4, add},
    {"add_u32", 4, add},
    {"sub", 4, sub},
    {"sub_u32", 4, sub},
    {"rsub_u32", 4, rsub},
    {"smin", 4, smin},
    {"min_i32", 4, smin},
    {"smax", 4, smax},
    {"max_i32", 4, smax},
    {"umin", 4, umin},
    {"min_u32", 4, umin},
    {"umax", 4, umax},
    {"max_u32", 4, umax},
    {"and", 4, and_},
    {"and_b32", 4, and_},
    {"or", 4, or_},
    {"or_b32", 4, or_},
    {"xor", 4, xor_},
    {"xor_b32", 4, xor_},
    {"inc", 4, inc},
    {"inc_u32", 4, inc},
    {"dec", 4, dec},
    {"dec_u32", 4, dec},
    {"swap", 4, swap},
    {"swap_b32", 4, swap},
    {"wrxchg_b32", 4, swap},
    {"storexchg_b32", 4, swap},
    {"cmpswap", 4, cmpswap},
    {"cmpswap_b32", 4, cmpswap},
    {"cmpst_b32", 4, cmpswap},
    {"cmpstore_b32", 4, cmpswap},
    {"add_f32", 4, add_float},
    {"min_f32", 4, min_float},
    {"max_f32", 4, max_float},
    {"pk_add_f16", 4, pk_f16},
    {"pk_add_bf16", 4, pk_bf16},
    {"add_x2", 8, add},
    {"add_u64", 8, add},
    {"sub_x2", 8, sub},
    {"sub_u64", 8, sub},
    {"smin_x2", 8, smin64},
    {"min_i64", 8, smin64},
    {"smax_x2", 8, smax64},
    {"max_i64", 8, smax64},
    {"umin_x2", 8, umin},
    {"min_u64", 8, umin},
    {"umax_x2", 8, umax},
    {"max_u64", 8, umax},
    {"and_x2", 8, and_},
    {"and_b64", 8, and_},
    {"or_x2", 8, or_},
    {"or_b64", 8, or_},
    {"xor_x2", 8, xor_},
    {"xor_b64", 8, xor_},
    {"inc_x2", 8, inc},
    {"inc_u64", 8, inc},
    {"dec_x2", 8, dec},
    {"dec_u64", 8, dec},
    {"swap_x2", 8, swap},
    {"swap_b64", 8, swap},
    {"wrxchg_b64", 8, swap},
    {"storexchg_b64", 8, swap},
    {"cmpswap_x2", 8, cmpswap},
    {"cmpswap_b64", 8, cmpswap},
    {"cmpst_b64", 8, cmpswap},
    {"cmpstore_b64", 8, cmpswap},
    {"add_f64", 8, add_double},
    {"min_f64", 8, dmin},
    {"max_f64", 8, dmax},
};

const mem_format *atomic_of(const char *name)
{
    static mem_format found[sizeof atomics / sizeof atomics[0]];
    for (size_t k = 0; k < sizeof atomics / sizeof atomics[0]; k++) {
        if (strcmp(name, atomics[k].name) != 0) continue;
        found[k] = (mem_format){.bytes = atomics[k].bytes, .atomic = atomics[k].fn, .compares = atomics[k].fn == cmpswap};
        return &found[k];
    }
    return NULL;
}

mem_format *format_copy(const mem_format *f, int what, int space)
{
    mem_format *own = malloc(sizeof *own);
    *own = *f;
    own->what = (uint8_t)what;
    own->space = (uint8_t)space;
    return own;
}
