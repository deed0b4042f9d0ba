/* Conversions between any two element types on the host.
 *
 * A conversion of an array goes in blocks through one of three carriers that hold the source exactly: int64 for integers and
 * bool, f64 for f64, f32 for every other float. So there is one loader a dtype and one store for each dtype and carrier, and
 * a store rounds once. */
#include "trine/dtype.h"

#include <stdbool.h>
#include <string.h>

#include "core/error.h"
#include "core/float_bits.h"

/* ---- Scalars ---- */

float trine_f16_to_f32(uint16_t bits) { return trine_bits_f16_to_f32(bits); }

uint16_t trine_f32_to_f16(float value) { return trine_bits_f32_to_f16(value); }

float trine_bf16_to_f32(uint16_t bits) { return trine_bits_bf16_to_f32(bits); }

uint16_t trine_f32_to_bf16(float value) { return trine_bits_f32_to_bf16(value); }

static bool is_f8(trine_dtype dtype) { return dtype >= TRINE_F8_E4M3FN && dtype <= TRINE_F8_E5M2FNUZ; }

static bool is_e5(trine_dtype dtype) { return dtype == TRINE_F8_E5M2 || dtype == TRINE_F8_E5M2FNUZ; }

static bool is_fnuz(trine_dtype dtype) { return dtype == TRINE_F8_E4M3FNUZ || dtype == TRINE_F8_E5M2FNUZ; }

/* A dtype that is no fp8 breaks the contract of these two; they give NaN and 0 then. */
float trine_f8_to_f32(uint8_t bits, trine_dtype fp8)
{
    return is_f8(fp8) ? trine_bits_f8_to_f32(bits, is_e5(fp8), is_fnuz(fp8)) : trine_f32_of_bits(TRINE_F32_NAN);
}

uint8_t trine_f32_to_f8(float value, trine_dtype fp8)
{
    return is_f8(fp8) ? trine_bits_f32_to_f8(value, is_e5(fp8), is_fnuz(fp8)) : 0;
}

/* ---- Arrays. Elements are moved by memcpy, so that no alignment and no effective type is asked of the memory. ---- */

enum { BLOCK = 512 };

typedef enum carrier { CARRY_I64, CARRY_F64, CARRY_F32, CARRIER_COUNT } carrier;
typedef void (*block_fn)(const void *restrict from, void *restrict to, size_t n);

#define LOOP(name, from_type, to_type, expression) \
    static void name(const void *restrict from, void *restrict to, size_t n) \
    { \
        for (size_t i = 0; i < n; i++) { \
            from_type x; \
            memcpy(&x, (const char *)from + i * sizeof x, sizeof x); \
            to_type y = (to_type)(expression); \
            memcpy((char *)to + i * sizeof y, &y, sizeof y); \
        } \
    }

LOOP(load_f64, double, double, x)
LOOP(load_f32, float, float, x)
LOOP(load_f16, uint16_t, float, trine_bits_f16_to_f32(x))
LOOP(load_bf16, uint16_t, float, trine_bits_bf16_to_f32(x))
LOOP(load_e4m3fn, uint8_t, float, trine_bits_f8_to_f32(x, 0, 0))
LOOP(load_e5m2, uint8_t, float, trine_bits_f8_to_f32(x, 1, 0))
LOOP(load_e4m3fnuz, uint8_t, float, trine_bits_f8_to_f32(x, 0, 1))
LOOP(load_e5m2fnuz, uint8_t, float, trine_bits_f8_to_f32(x, 1, 1))
LOOP(load_i64, int64_t, int64_t, x)
LOOP(load_i32, int32_t, int64_t, x)
LOOP(load_i8, int8_t, int64_t, x)
LOOP(load_u8, uint8_t, int64_t, x)
LOOP(load_bool, uint8_t, int64_t, x != 0)

static const struct {
    block_fn load;
    carrier carrier;
} loads[TRINE_DTYPE_COUNT] = {
    [TRINE_F64] = {load_f64, CARRY_F64},
    [TRINE_F32] = {load_f32, CARRY_F32},
    [TRINE_F16] = {load_f16, CARRY_F32},
    [TRINE_BF16] = {load_bf16, CARRY_F32},
    [TRINE_F8_E4M3FN] = {load_e4m3fn, CARRY_F32},
    [TRINE_F8_E5M2] = {load_e5m2, CARRY_F32},
    [TRINE_F8_E4M3FNUZ] = {load_e4m3fnuz, CARRY_F32},
    [TRINE_F8_E5M2FNUZ] = {load_e5m2fnuz, CARRY_F32},
    [TRINE_I64] = {load_i64, CARRY_I64},
    [TRINE_I32] = {load_i32, CARRY_I64},
    [TRINE_I8] = {load_i8, CARRY_I64},
    [TRINE_U8] = {load_u8, CARRY_I64},
    [TRINE_BOOL] = {load_bool, CARRY_I64},
};

/* The stores from carrier c of type C. `odd` brings x to an f32 that the narrow floats can be rounded from. */
#define STORES(c, C, odd, to_int, to_bool) \
    LOOP(c##_f64, C, double, x) \
    LOOP(c##_f32, C, float, x) \
    LOOP(c##_f16, C, uint16_t, trine_bits_f32_to_f16(odd(x))) \
    LOOP(c##_bf16, C, uint16_t, trine_bits_f32_to_bf16(odd(x))) \
    LOOP(c##_e4m3fn, C, uint8_t, trine_bits_f32_to_f8(odd(x), 0, 0)) \
    LOOP(c##_e5m2, C, uint8_t, trine_bits_f32_to_f8(odd(x), 1, 0)) \
    LOOP(c##_e4m3fnuz, C, uint8_t, trine_bits_f32_to_f8(odd(x), 0, 1)) \
    LOOP(c##_e5m2fnuz, C, uint8_t, trine_bits_f32_to_f8(odd(x), 1, 1)) \
    LOOP(c##_i64, C, int64_t, to_int(i64)) \
    LOOP(c##_i32, C, int32_t, to_int(i32)) \
    LOOP(c##_i8, C, int8_t, to_int(i8)) \
    LOOP(c##_u8, C, uint8_t, to_int(u8)) \
    LOOP(c##_bool, C, uint8_t, to_bool(x))

#define AS_IT_IS(x) (x)
#define NONZERO(x) ((x) != 0)
#define LOW_BITS(integer) (x) /* LOOP's cast drops the high ones */
#define SATURATE_F64(integer) trine_f64_to_##integer##_sat(x)
#define SATURATE_F32(integer) trine_f32_to_##integer##_sat(x)
STORES(from_i64, int64_t, trine_bits_i64_to_f32_odd, LOW_BITS, NONZERO)
STORES(from_f64, double, trine_bits_f64_to_f32_odd, SATURATE_F64, trine_f64_to_bool)
STORES(from_f32, float, AS_IT_IS, SATURATE_F32, trine_f32_to_bool)

#define STORE_ROW(c) \
    { \
        [TRINE_F64] = c##_f64, [TRINE_F32] = c##_f32, [TRINE_F16] = c##_f16, [TRINE_BF16] = c##_bf16, \
        [TRINE_F8_E4M3FN] = c##_e4m3fn, [TRINE_F8_E5M2] = c##_e5m2, [TRINE_F8_E4M3FNUZ] = c##_e4m3fnuz, \
        [TRINE_F8_E5M2FNUZ] = c##_e5m2fnuz, [TRINE_I64] = c##_i64, [TRINE_I32] = c##_i32, [TRINE_I8] = c##_i8, \
        [TRINE_U8] = c##_u8, [TRINE_BOOL] = c##_bool, \
    }
static const block_fn stores[CARRIER_COUNT][TRINE_DTYPE_COUNT] = {
    [CARRY_I64] = STORE_ROW(from_i64),
    [CARRY_F64] = STORE_ROW(from_f64),
    [CARRY_F32] = STORE_ROW(from_f32),
};

static trine_status check_dtype(const char *which, trine_dtype dtype)
{
    if ((unsigned)dtype < TRINE_DTYPE_COUNT && loads[dtype].load) return TRINE_OK;
    return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "convert: %s dtype %d (%s) can't be converted", which, (int)dtype,
                      trine_dtype_name(dtype));
}

static trine_status check_convert(const void *src, trine_dtype src_dtype, const void *dst, trine_dtype dst_dtype, int64_t n)
{
    trine_status status = check_dtype("src", src_dtype);
    if (status == TRINE_OK) status = check_dtype("dst", dst_dtype);
    if (status != TRINE_OK) return status;
    if (n < 0) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "convert: n is %lld", (long long)n);
    if (n > 0 && (!src || !dst)) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "convert: %s is NULL", src ? "dst" : "src");
    return TRINE_OK;
}

trine_status trine_convert(const void *src, trine_dtype src_dtype, void *dst, trine_dtype dst_dtype, int64_t n)
{
    trine_status status = check_convert(src, src_dtype, dst, dst_dtype, n);
    if (status != TRINE_OK || n == 0) return status;
    size_t src_size = (unsigned)trine_dtype_bits(src_dtype) / 8, dst_size = (unsigned)trine_dtype_bits(dst_dtype) / 8,
           left = (size_t)n;
    if (src_dtype == dst_dtype && src_dtype != TRINE_BOOL) { /* keeps every bit, those of NaN and inf in fp8 too */
        memmove(dst, src, left * src_size);
        return TRINE_OK;
    }
    block_fn load = loads[src_dtype].load, store = stores[loads[src_dtype].carrier][dst_dtype];
    const char *from = src;
    char *to = dst;
    int64_t block[BLOCK]; /* of the carrier's type, whichever it is */
    for (size_t step; left > 0; left -= step, from += step * src_size, to += step * dst_size) {
        step = left < BLOCK ? left : BLOCK;
        load(from, block, step);
        store(block, to, step);
    }
    return TRINE_OK;
}
