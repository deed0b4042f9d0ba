/* Vector conversions. Float to integer saturates and takes NaN to 0; integer to float rounds to nearest even. */
#include "lanes.h"

static inline i32 to_i32(double x)
{
    return x != x ? 0 : x >= 2147483647.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (i32)x;
}
static inline u32 to_u32(double x) { return x != x || x <= 0 ? 0 : x >= 4294967295.0 ? UINT32_MAX : (u32)x; }
static inline i32 to_i16(float x) { return x != x ? 0 : x >= 32767 ? 32767 : x <= -32768 ? -32768 : (i32)x; }
static inline u32 to_u16(float x) { return x != x || x <= 0 ? 0 : x >= 65535 ? 65535 : (u32)x; }
static inline u32 pack16(u32 low, u32 high) { return (low & 0xffff) | high << 16; }
static inline i32 clamped(i32 x, i32 low, i32 high) { return x < low ? low : x > high ? high : x; }
static inline u32 to_u8(float x) { return x != x || x <= 0 ? 0 : x >= 255 ? 255 : (u32)rintf(x); }
static inline u32 with_byte(u32 value, u32 byte, u32 into)
{
    u32 shift = 8 * (byte & 3);
    return (into & ~(255u << shift)) | value << shift;
}

LANE_FN(same, f32, f32, f32, f32, a)
LANE_FN(f32_f64, f32, f64, f64, f64, (float)a)
LANE_FN(f64_f32, f64, f32, f32, f32, (double)a)
LANE_FN(i32_f32, i32, f32, f32, f32, to_i32(a))
LANE_FN(u32_f32, u32, f32, f32, f32, to_u32(a))
LANE_FN(i32_f64, i32, f64, f64, f64, to_i32(a))
LANE_FN(u32_f64, u32, f64, f64, f64, to_u32(a))
LANE_FN(f32_i32, f32, i32, i32, i32, (float)a)
LANE_FN(f32_u32, f32, u32, u32, u32, (float)a)
LANE_FN(f64_i32, f64, i32, i32, i32, (double)a)
LANE_FN(f64_u32, f64, u32, u32, u32, (double)a)
LANE_FN(nearest_i32, i32, f32, f32, f32, to_i32(floor((double)a + 0.5)))
LANE_FN(floor_i32, i32, f32, f32, f32, to_i32(floor((double)a)))
LANE_FN(i16_f16, i32, f32, f32, f32, to_i16(a))
LANE_FN(u16_f16, u32, f32, f32, f32, to_u16(a))
LANE_FN(f16_i16, f32, u32, u32, u32, (float)(int16_t)a)
LANE_FN(f16_u16, f32, u32, u32, u32, (float)a)
LANE_FN(ubyte0, f32, u32, u32, u32, (float)(a & 255))
LANE_FN(ubyte1, f32, u32, u32, u32, (float)(a >> 8 & 255))
LANE_FN(ubyte2, f32, u32, u32, u32, (float)(a >> 16 & 255))
LANE_FN(ubyte3, f32, u32, u32, u32, (float)(a >> 24))
LANE_FN(off_i4, f32, u32, u32, u32, (float)((i32)(a << 28) >> 28) * 0.0625f)
LANE_FN(pkrtz, u32, f32, f32, f32, pack16(float_to_half_toward_zero(a), float_to_half_toward_zero(b)))
LANE_FN(pack_halves, u32, f32, f32, f32, pack16(float_to_half(a), float_to_half(b)))
LANE_FN(pk_u16_u32, u32, u32, u32, u32, pack16(a > 65535 ? 65535 : a, b > 65535 ? 65535 : b))
LANE_FN(pk_i16_i32, u32, i32, i32, i32, pack16((u32)clamped(a, -32768, 32767), (u32)clamped(b, -32768, 32767)))
LANE_FN(pk_u8_f32, u32, f32, u32, u32, with_byte(to_u8(a), b, c))
LANE_FN(norm_i16, u32, f32, f32, f32, pack16((u32)to_i16(rintf(a * 32767)), (u32)to_i16(rintf(b * 32767))))
LANE_FN(norm_u16, u32, f32, f32, f32, pack16(to_u16(rintf(a * 65535)), to_u16(rintf(b * 65535))))
LANE_FN(norm_i16_f16, i32, f32, f32, f32, to_i16(rintf(a * 32767)))
LANE_FN(norm_u16_f16, u32, f32, f32, f32, to_u16(rintf(a * 65535)))

/* 8-bit floats of MI300. The source's byte or half is picked by SDWA or op_sel before; the result's half after. */
LANE_FN(f32_fp8, f32, u32, u32, u32, fp8_to_float(a & 255, FP8))
LANE_FN(f32_bf8, f32, u32, u32, u32, fp8_to_float(a & 255, BF8))
#define PAIR(low, high) ((u64)bits_of(high) << 32 | bits_of(low))
LANE_FN(pk_f32_fp8, u64, u32, u32, u32, PAIR(fp8_to_float(a & 255, FP8), fp8_to_float(a >> 8 & 255, FP8)))
LANE_FN(pk_f32_bf8, u64, u32, u32, u32, PAIR(fp8_to_float(a & 255, BF8), fp8_to_float(a >> 8 & 255, BF8)))
LANE_FN(pk_fp8, u32, f32, f32, f32, float_to_fp8(a, FP8, 0, 0) | (u32)float_to_fp8(b, FP8, 0, 0) << 8)
LANE_FN(pk_bf8, u32, f32, f32, f32, float_to_fp8(a, BF8, 0, 0) | (u32)float_to_fp8(b, BF8, 0, 0) << 8)
LANE_FN(sr_fp8, u32, f32, u32, f32, float_to_fp8(a, FP8, 1, b))
LANE_FN(sr_bf8, u32, f32, u32, f32, float_to_fp8(a, BF8, 1, b))

#define CVT(name, kinds, function) \
    { \
        "v_cvt_" name, kinds, function, 0, 0, 0 \
    }
#define FLAGS(name, kinds, function, flags) \
    { \
        "v_cvt_" name, kinds, function, 0, flags, 0 \
    }

const op_row ops_convert[] = {
    CVT("f32_f16", "f:h", same),
    CVT("f16_f32", "h:f", same),
    CVT("f32_f64", "f:d", f32_f64),
    CVT("f64_f32", "d:f", f64_f32),
    CVT("i32_f32", "i:f", i32_f32),
    CVT("u32_f32", "i:f", u32_f32),
    CVT("i32_f64", "i:d", i32_f64),
    CVT("u32_f64", "i:d", u32_f64),
    CVT("f32_i32", "f:i", f32_i32),
    CVT("f32_u32", "f:i", f32_u32),
    CVT("f64_i32", "d:i", f64_i32),
    CVT("f64_u32", "d:i", f64_u32),
    CVT("rpi_i32_f32", "i:f", nearest_i32),
    CVT("nearest_i32_f32", "i:f", nearest_i32),
    CVT("flr_i32_f32", "i:f", floor_i32),
    CVT("floor_i32_f32", "i:f", floor_i32),
    CVT("i16_f16", "s:h", i16_f16),
    CVT("u16_f16", "s:h", u16_f16),
    CVT("f16_i16", "h:s", f16_i16),
    CVT("f16_u16", "h:s", f16_u16),
    CVT("f32_ubyte0", "f:i", ubyte0),
    CVT("f32_ubyte1", "f:i", ubyte1),
    CVT("f32_ubyte2", "f:i", ubyte2),
    CVT("f32_ubyte3", "f:i", ubyte3),
    CVT("off_f32_i4", "f:i", off_i4),
    CVT("pkrtz_f16_f32", "i:ff", pkrtz),
    CVT("pk_rtz_f16_f32", "i:ff", pkrtz),
    CVT("pk_u16_u32", "i:ii", pk_u16_u32),
    CVT("pk_i16_i32", "i:ii", pk_i16_i32),
    CVT("pk_u8_f32", "i:fii", pk_u8_f32),
    CVT("pknorm_i16_f32", "i:ff", norm_i16),
    CVT("pknorm_u16_f32", "i:ff", norm_u16),
    CVT("pk_norm_i16_f32", "i:ff", norm_i16),
    CVT("pk_norm_u16_f32", "i:ff", norm_u16),
    CVT("norm_i16_f16", "s:h", norm_i16_f16),
    CVT("norm_u16_f16", "s:h", norm_u16_f16),
    CVT("f32_fp8", "f:i", f32_fp8),
    CVT("f32_bf8", "f:i", f32_bf8),
    CVT("pk_f32_fp8", "q:s", pk_f32_fp8),
    CVT("pk_f32_bf8", "q:s", pk_f32_bf8),
    FLAGS("pk_fp8_f32", "s:ff", pk_fp8, OP_KEEP_HIGH),
    FLAGS("pk_bf8_f32", "s:ff", pk_bf8, OP_KEEP_HIGH),
    CVT("sr_fp8_f32", "b:fi", sr_fp8),
    CVT("sr_bf8_f32", "b:fi", sr_bf8),
    {"v_pack_b32_f16", "i:hh", pack_halves, 0, OP_MERGE, 0},
    TABLE_END,
};
