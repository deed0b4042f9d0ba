/* Scalar arithmetic, shifts and moves. What is undefined is followed as a whole. */
#include "lanes.h"
#include "scalar_bits.h"

#undef a
#undef b
#undef c

/* ---- Arithmetic: x and y are 32 or 64 bits wide, r the result, out what goes to scc ---- */

static u32 reversed(u32 x)
{
    u32 r = 0;
    for (int bit = 0; bit < 32; bit++) r |= (x >> bit & 1) << (31 - bit);
    return r;
}

/* A bit for each four of which any is set. */
static u64 quads(u64 x)
{
    u64 r = 0;
    for (int quad = 0; quad < 16; quad++) r |= (u64)((x >> 4 * quad & 15) != 0) << quad;
    return r;
}

static u64 twice_each(u32 x)
{
    u64 r = 0;
    for (int bit = 0; bit < 32; bit++) r |= (u64)(x >> bit & 1) * 3 << 2 * bit;
    return r;
}

typedef uint64_t arithmetic(uint64_t x, uint64_t y, bool in, bool *out);
#define A32(name, T, value, scc) \
    static uint64_t name(uint64_t x_, uint64_t y_, bool in, bool *out) \
    { \
        T x = (T)x_, y = (T)y_; \
        (void)x, (void)y, (void)in; \
        uint32_t r = (uint32_t)(value); \
        *out = (scc); \
        return r; \
    }
#define A64(name, T, value, scc) \
    static uint64_t name(uint64_t x_, uint64_t y_, bool in, bool *out) \
    { \
        T x = (T)x_, y = (T)y_; \
        (void)x, (void)y, (void)in; \
        uint64_t r = (uint64_t)(value); \
        *out = (scc); \
        return r; \
    }
A32(add_u, u32, x + y, r < x)
A32(sub_u, u32, x - y, x < y)
A32(add_i, i32, (u32)x + (u32)y, __builtin_add_overflow_p(x, y, (i32)0))
A32(sub_i, i32, (u32)x - (u32)y, __builtin_sub_overflow_p(x, y, (i32)0))
A32(addc, u32, x + y + in, ((u64)x + y + in) >> 32)
A32(subb, u32, x - y - in, (u64)x < (u64)y + in)
A32(min_i, i32, x < y ? x : y, x < y)
A32(max_i, i32, x > y ? x : y, x > y)
A32(min_u, u32, x < y ? x : y, x < y)
A32(max_u, u32, x > y ? x : y, x > y)
A32(mul, u32, x *y, 0)
A32(mul_hi_u, u32, (u64)x *y >> 32, 0)
A32(mul_hi_i, i32, (u64)((i64)x *y) >> 32, 0)
A32(abs_i, i32, x < 0 ? 0u - (u32)x : (u32)x, r != 0)
A32(absdiff, i32, x > y ? (u32)x - (u32)y : (u32)y - (u32)x, r != 0)
A32(lshl, u32, x << (y & 31), r != 0)
A32(lshr, u32, x >> (y & 31), r != 0)
A32(ashr, i32, x >> (y & 31), r != 0)
A32(lshl1_add, u32, (x << 1) + y, ((u64)x << 1) + y > 0xffffffffu)
A32(lshl2_add, u32, (x << 2) + y, ((u64)x << 2) + y > 0xffffffffu)
A32(lshl3_add, u32, (x << 3) + y, ((u64)x << 3) + y > 0xffffffffu)
A32(lshl4_add, u32, (x << 4) + y, ((u64)x << 4) + y > 0xffffffffu)
A32(bfm, u32, ((1u << (x & 31)) - 1) << (y & 31), 0)
A32(bfe_u, u32, (y >> 16 & 127) ? (u64)(x >> (y & 31)) & ((1ull << ((y >> 16 & 127) > 32 ? 32 : y >> 16 & 127)) - 1) : 0, r != 0)
A32(bfe_i, i32,
    (y >> 16 & 127) == 0                 ? 0
    : ((y & 31) + (y >> 16 & 127)) >= 32 ? x >> (y & 31)
                                         : (i32)((u32)x << (32 - (y & 31) - (y >> 16 & 127))) >> (32 - (y >> 16 & 127)),
    r != 0)
A32(pack_ll, u32, (x & 0xffff) | y << 16, 0)
A32(pack_lh, u32, (x & 0xffff) | (y & 0xffff0000u), 0)
A32(pack_hh, u32, x >> 16 | (y & 0xffff0000u), 0)
A32(pack_hl, u32, x >> 16 | y << 16, 0)
A32(brev, u32, reversed(x), 0)
A32(ff1, u32, x ? __builtin_ctz(x) : -1, 0)
A32(flbit, u32, x ? __builtin_clz(x) : -1, 0)
A32(flbit_i, i32, x == 0 || x == -1 ? -1 : __builtin_clz((u32)(x < 0 ? ~x : x)), 0)
A32(bcnt1, u32, __builtin_popcount(x), r != 0)
A32(bcnt0, u32, 32 - __builtin_popcount(x), r != 0)
A32(sext8, u32, (int8_t)x, 0)
A32(sext16, u32, (int16_t)x, 0)
A32(bitset0, u32, y & ~(1u << (x & 31)), 0)
A32(bitset1, u32, y | 1u << (x & 31), 0)
A32(move, u32, x, 0)
A64(move64, u64, x, 0)
A64(lshl64, u64, x << (y & 63), r != 0)
A64(lshr64, u64, x >> (y & 63), r != 0)
A64(ashr64, i64, x >> (y & 63), r != 0)
A64(bfm64, u64, ((1ull << (x & 63)) - 1) << (y & 63), 0)
A64(bfe_u64, u64, (y >> 16 & 127) ? x >> (y & 63) & (~0ull >> (64 - ((y >> 16 & 127) > 64 ? 64 : y >> 16 & 127))) : 0, r != 0)
A64(bfe_i64, i64, (y >> 16 & 127) ? (i64)((u64)(x >> (y & 63)) << (64 - (y >> 16 & 127))) >> (64 - (y >> 16 & 127)) : 0, r != 0)
A32(ff1_64, u64, x ? __builtin_ctzll(x) : -1, 0)
A32(flbit64, u64, x ? __builtin_clzll(x) : -1, 0)
A32(bcnt1_64, u64, __builtin_popcountll(x), r != 0)
A64(wqm, u64, x, r != 0)
A64(brev64, u64, (u64)reversed((u32)x) << 32 | reversed((u32)(x >> 32)), 0)
A32(bcnt0_64, u64, 64 - __builtin_popcountll(x), r != 0)
A32(ff0, u32, ~x ? __builtin_ctz(~x) : -1, 0)
A32(ff0_64, u64, ~x ? __builtin_ctzll(~x) : -1, 0)
A32(flbit_i64, i64, x == 0 || x == -1 ? -1 : __builtin_clzll((u64)(x < 0 ? ~x : x)), 0)
A64(bitset0_64, u64, y & ~(1ull << (x & 63)), 0)
A64(bitset1_64, u64, y | 1ull << (x & 63), 0)
A64(quadmask, u64, quads(x), r != 0)
A64(bitreplicate, u32, twice_each((u32)x), 0)

static arithmetic *const arithmetics[] = {
    add_u,    sub_u,    add_i,   sub_i,   addc,     subb,   min_i,     max_i,     min_u,      max_u,      mul,      mul_hi_u,
    mul_hi_i, abs_i,    absdiff, lshl,    lshr,     ashr,   lshl1_add, lshl2_add, lshl3_add,  lshl4_add,  bfm,      bfe_u,
    bfe_i,    pack_ll,  pack_lh, pack_hh, pack_hl,  brev,   ff1,       flbit,     flbit_i,    bcnt1,      bcnt0,    sext8,
    sext16,   bitset0,  bitset1, move,    move64,   lshl64, lshr64,    ashr64,    bfm64,      bfe_u64,    bfe_i64,  ff1_64,
    flbit64,  bcnt1_64, wqm,     brev64,  bcnt0_64, ff0,    ff0_64,    flbit_i64, bitset0_64, bitset1_64, quadmask, bitreplicate};
enum {
    ADD_U,
    SUB_U,
    ADD_I,
    SUB_I,
    ADDC,
    SUBB,
    MIN_I,
    MAX_I,
    MIN_U,
    MAX_U,
    MUL,
    MUL_HI_U,
    MUL_HI_I,
    ABS_I,
    ABSDIFF,
    LSHL,
    LSHR,
    ASHR,
    LSHL1_ADD,
    LSHL2_ADD,
    LSHL3_ADD,
    LSHL4_ADD,
    BFM,
    BFE_U,
    BFE_I,
    PACK_LL,
    PACK_LH,
    PACK_HH,
    PACK_HL,
    BREV,
    FF1,
    FLBIT,
    FLBIT_I,
    BCNT1,
    BCNT0,
    SEXT8,
    SEXT16,
    BITSET0,
    BITSET1,
    MOVE,
    MOVE64,
    LSHL64,
    LSHR64,
    ASHR64,
    BFM64,
    BFE_U64,
    BFE_I64,
    FF1_64,
    FLBIT64,
    BCNT1_64,
    WQM,
    BREV64,
    BCNT0_64,
    FF0,
    FF0_64,
    FLBIT_I64,
    BITSET0_64,
    BITSET1_64,
    QUADMASK,
    BITREPLICATE,
    KEEP_SCC = 256,
    USE_SCC = 512,
    WITH_DST = 1024
};

static void run_arithmetic(wave *w, const inst *i)
{
    uint32_t how = i->op->argument;
    bits x = get(w, i, 0), y = i->sources > 1 ? get(w, i, 1) : (bits){0, 0};
    if (how & WITH_DST) { /* s_addk_i32 and its like, s_bitset: the result is a source */
        inst self = *i;
        self.src[0] = i->dst;
        bits old = get(w, &self, 0);
        bool bitset = (how & 255) == BITSET0 || (how & 255) == BITSET1 || (how & 255) == BITSET0_64 || (how & 255) == BITSET1_64;
        if (bitset)
            y = old;
        else
            y.value = (uint32_t)(int16_t)x.value, x = old;
    }
    bool in = how & USE_SCC ? need_scc(w) : false, out;
    bits r = {arithmetics[how & 255](x.value, y.value, in, &out), 0};
    bool moved = (how & 255) == MOVE || (how & 255) == MOVE64;
    r.undefined = moved ? x.undefined : spread(x.undefined | y.undefined);
    put(w, i, trimmed(i, r));
    if (!(how & KEEP_SCC)) set_scc(w, out, r.undefined != 0);
}

#define OP(name, kinds, run, argument) \
    { \
        "s_" name, kinds, 0, run, 0, argument \
    }
#define ARITH(name, kinds, which) OP(name, kinds, run_arithmetic, which)

const op_row ops_scalar[] = {
    ARITH("add_u32", "i:ii", ADD_U),
    ARITH("sub_u32", "i:ii", SUB_U),
    ARITH("add_i32", "i:ii", ADD_I),
    ARITH("sub_i32", "i:ii", SUB_I),
    ARITH("addc_u32", "i:ii", ADDC | USE_SCC),
    ARITH("subb_u32", "i:ii", SUBB | USE_SCC),
    ARITH("min_i32", "i:ii", MIN_I),
    ARITH("max_i32", "i:ii", MAX_I),
    ARITH("min_u32", "i:ii", MIN_U),
    ARITH("max_u32", "i:ii", MAX_U),
    ARITH("mul_i32", "i:ii", MUL | KEEP_SCC),
    ARITH("mul_hi_u32", "i:ii", MUL_HI_U | KEEP_SCC),
    ARITH("mul_hi_i32", "i:ii", MUL_HI_I | KEEP_SCC),
    ARITH("abs_i32", "i:i", ABS_I),
    ARITH("absdiff_i32", "i:ii", ABSDIFF),
    ARITH("lshl_b32", "i:ii", LSHL),
    ARITH("lshr_b32", "i:ii", LSHR),
    ARITH("ashr_i32", "i:ii", ASHR),
    ARITH("lshl1_add_u32", "i:ii", LSHL1_ADD),
    ARITH("lshl2_add_u32", "i:ii", LSHL2_ADD),
    ARITH("lshl3_add_u32", "i:ii", LSHL3_ADD),
    ARITH("lshl4_add_u32", "i:ii", LSHL4_ADD),
    ARITH("bfm_b32", "i:ii", BFM | KEEP_SCC),
    ARITH("bfe_u32", "i:ii", BFE_U),
    ARITH("bfe_i32", "i:ii", BFE_I),
    ARITH("pack_ll_b32_b16", "i:ii", PACK_LL | KEEP_SCC),
    ARITH("pack_lh_b32_b16", "i:ii", PACK_LH | KEEP_SCC),
    ARITH("pack_hh_b32_b16", "i:ii", PACK_HH | KEEP_SCC),
    ARITH("pack_hl_b32_b16", "i:ii", PACK_HL | KEEP_SCC),
    ARITH("brev_b32", "i:i", BREV | KEEP_SCC),
    ARITH("ff1_i32_b32", "i:i", FF1 | KEEP_SCC),
    ARITH("ctz_i32_b32", "i:i", FF1 | KEEP_SCC),
    ARITH("flbit_i32_b32", "i:i", FLBIT | KEEP_SCC),
    ARITH("clz_i32_u32", "i:i", FLBIT | KEEP_SCC),
    ARITH("flbit_i32", "i:i", FLBIT_I | KEEP_SCC),
    ARITH("cls_i32", "i:i", FLBIT_I | KEEP_SCC),
    ARITH("bcnt1_i32_b32", "i:i", BCNT1),
    ARITH("bcnt0_i32_b32", "i:i", BCNT0),
    ARITH("sext_i32_i8", "i:i", SEXT8 | KEEP_SCC),
    ARITH("sext_i32_i16", "i:i", SEXT16 | KEEP_SCC),
    ARITH("bitset0_b32", "i:i", BITSET0 | WITH_DST | KEEP_SCC),
    ARITH("bitset1_b32", "i:i", BITSET1 | WITH_DST | KEEP_SCC),
    ARITH("mov_b32", "i:i", MOVE | KEEP_SCC),
    ARITH("mov_b64", "q:q", MOVE64 | KEEP_SCC),
    ARITH("movk_i32", "i:i", SEXT16 | KEEP_SCC),
    ARITH("addk_i32", "i:i", ADD_I | WITH_DST),
    ARITH("mulk_i32", "i:i", MUL | WITH_DST | KEEP_SCC),
    ARITH("lshl_b64", "q:qi", LSHL64),
    ARITH("lshr_b64", "q:qi", LSHR64),
    ARITH("ashr_i64", "q:qi", ASHR64),
    ARITH("bfm_b64", "q:ii", BFM64 | KEEP_SCC),
    ARITH("bfe_u64", "q:qi", BFE_U64),
    ARITH("bfe_i64", "q:qi", BFE_I64),
    ARITH("ff1_i32_b64", "i:q", FF1_64 | KEEP_SCC),
    ARITH("ctz_i32_b64", "i:q", FF1_64 | KEEP_SCC),
    ARITH("flbit_i32_b64", "i:q", FLBIT64 | KEEP_SCC),
    ARITH("clz_i32_u64", "i:q", FLBIT64 | KEEP_SCC),
    ARITH("bcnt1_i32_b64", "i:q", BCNT1_64),
    ARITH("wqm_b64", "q:q", WQM),
    ARITH("wqm_b32", "i:i", WQM),
    ARITH("brev_b64", "q:q", BREV64 | KEEP_SCC),
    ARITH("bcnt0_i32_b64", "i:q", BCNT0_64),
    ARITH("ff0_i32_b32", "i:i", FF0 | KEEP_SCC),
    ARITH("ff0_i32_b64", "i:q", FF0_64 | KEEP_SCC),
    ARITH("flbit_i32_i64", "i:q", FLBIT_I64 | KEEP_SCC),
    ARITH("cls_i32_i64", "i:q", FLBIT_I64 | KEEP_SCC),
    ARITH("bitset0_b64", "q:i", BITSET0_64 | WITH_DST | KEEP_SCC),
    ARITH("bitset1_b64", "q:i", BITSET1_64 | WITH_DST | KEEP_SCC),
    ARITH("quadmask_b32", "i:i", QUADMASK),
    ARITH("quadmask_b64", "q:q", QUADMASK),
    ARITH("bitreplicate_b64_b32", "q:i", BITREPLICATE | KEEP_SCC),
    TABLE_END,
};
