/* Conversions against the oracle of dtype_oracle.h: all narrow codes, all rounding boundaries, all pairs of dtypes, and whatever
 * the FP environment; then names and DLPack codes. Prints failures, and a count as its last line. */
#include <fenv.h>
#include <string.h>
#if defined __SSE__
#include <xmmintrin.h>
#endif

#include "tests/unit/dtype_oracle.h"
#if __has_include(<dlpack/dlpack.h>)
#include "trine/dlpack.h"
#else
trine_status trine_dtype_to_dlpack(trine_dtype dtype, uint8_t *code, uint8_t *bits);
trine_status trine_dtype_from_dlpack(uint8_t code, uint8_t bits, uint16_t lanes, trine_dtype *dtype);
#endif

/* ---- f32 <-> narrow ---- */

static unsigned to_narrow(const narrow *f, float x)
{
    if (f->dtype == TRINE_F16) return trine_f32_to_f16(x);
    return f->dtype == TRINE_BF16 ? trine_f32_to_bf16(x) : trine_f32_to_f8(x, f->dtype);
}

static float from_narrow(const narrow *f, unsigned code)
{
    if (f->dtype == TRINE_F16) return trine_f16_to_f32((uint16_t)code);
    return f->dtype == TRINE_BF16 ? trine_bf16_to_f32((uint16_t)code) : trine_f8_to_f32((uint8_t)code, f->dtype);
}

static void test_codes(const narrow *f)
{
    for (unsigned code = 0; code < 1u << f->width; code++) {
        float x = from_narrow(f, code);
        double want = decode(f, code);
        CHECK(same(x, want), "%s 0x%x is %g, not %g", trine_dtype_name(f->dtype), code, x, want);
        unsigned back = to_narrow(f, x), expected = isinf(want) || isnan(want) ? oracle(f, x) : code;
        CHECK(back == expected, "%s 0x%x comes back as 0x%x, not 0x%x", trine_dtype_name(f->dtype), code, back, expected);
    }
}

static void expect_narrow(const narrow *f, float x, unsigned want)
{
    unsigned got = to_narrow(f, x);
    CHECK(got == want, "f32 %.9g (%a) to %s: 0x%x, not 0x%x", x, x, trine_dtype_name(f->dtype), got, want);
}

/* The hardware's or compiler's own f16, where there is one. */
static void expect_native(double x, bool through_f32)
{
#ifdef __FLT16_MAX__
    uint16_t want, got;
    _Float16 native = through_f32 ? (_Float16)(float)x : (_Float16)x;
    memcpy(&want, &native, sizeof want);
    trine_convert(&x, TRINE_F64, &got, TRINE_F16, 1);
    if (through_f32) got = trine_f32_to_f16((float)x);
    CHECK(got == want, "%a to f16: 0x%x, but _Float16 says 0x%x", x, got, want);
    CHECK(same(native, trine_f16_to_f32(want)), "f16 0x%x: _Float16 disagrees", want);
#else
    (void)x, (void)through_f32;
#endif
}

static void test_f32_sweep(void)
{
    unsigned hint[NARROW] = {0};
    for (uint32_t bits = 0; bits <= TRINE_F32_INF; bits += 255) {
        float x = trine_f32_of_bits(bits);
        for (int i = 0; i < NARROW; i++) {
            unsigned want = nearest(&formats[i], x, &hint[i]);
            expect_narrow(&formats[i], x, want);
            expect_narrow(&formats[i], -x, with_sign(&formats[i], want, true));
        }
        if (bits % 32 == 0) expect_native(x, true);
    }
    for (uint32_t bits = TRINE_F32_INF + 1; bits < TRINE_F32_SIGN; bits += 4099)
        for (int i = 0; i < 2 * NARROW; i++) {
            float x = trine_f32_of_bits(bits | (i % 2 ? TRINE_F32_SIGN : 0));
            expect_narrow(&formats[i / 2], x, oracle(&formats[i / 2], x));
        }
}

/* The f32 values within 3 ulp of `centre`. */
static void test_f32_around(const narrow *f, double centre)
{
    int64_t bits = trine_bits_of_f32((float)centre);
    for (int64_t near = bits - 3; near <= bits + 3; near++) {
        if (near < 0 || near > TRINE_F32_INF) continue;
        float x = trine_f32_of_bits((uint32_t)near);
        expect_narrow(f, x, oracle(f, x));
        expect_narrow(f, -x, oracle(f, -x));
        if (f->dtype == TRINE_F16) expect_native(x, true);
    }
}

/* ---- f64, i64: one rounding ---- */

static unsigned convert_to(const narrow *f, const void *x, trine_dtype dtype)
{
    uint16_t code16 = 0;
    uint8_t code8 = 0;
    EXPECT(trine_convert(x, dtype, f->width == 16 ? (void *)&code16 : &code8, f->dtype, 1) == TRINE_OK);
    return f->width == 16 ? code16 : code8;
}

static void expect_f64(const narrow *f, double x)
{
    unsigned got = convert_to(f, &x, TRINE_F64), want = oracle(f, x);
    CHECK(got == want, "f64 %.17g (%a) to %s: 0x%x, not 0x%x", x, x, trine_dtype_name(f->dtype), got, want);
    if (f->dtype == TRINE_F16) expect_native(x, false);
}

static void test_f64_around(const narrow *f, double centre)
{
    static const double relative[] = {0x1p-20, 0x1p-24, 0x1p-25, 0x1p-29, 0x1p-30, 0x1p-40, 0x1p-52};
    expect_f64(f, centre);
    expect_f64(f, -centre);
    for (size_t i = 0; i < sizeof relative / sizeof *relative; i++) {
        expect_f64(f, centre * (1 + relative[i]));
        expect_f64(f, -centre * (1 - relative[i]));
    }
    expect_f64(f, nextafter(centre, 0));
}

static void test_boundaries(const narrow *f)
{
    for (unsigned i = 0; i <= f->largest; i++) {
        test_f32_around(f, f->value[i]);
        test_f32_around(f, f->middle[i]);
        test_f64_around(f, f->middle[i]);
    }
}

/* Exact, or odd and with x between it and a neighbour. */
static void expect_odd(double x)
{
    float odd = trine_bits_f64_to_f32_odd(x);
    double next = nextafterf(odd, x > odd ? INFINITY : -INFINITY);
    bool inside = x > odd ? x < next : x > next;
    bool ok = same(x, odd) || (inside && isfinite(odd) && trine_bits_of_f32(odd) % 2 == 1 && !signbit(x) == !signbit(odd));
    CHECK(ok, "f64 %a to odd f32: %a", x, odd);
}

static void test_f64(void)
{
    static const double specials[] = {0,
                                      0x1p-1074,
                                      DBL_MIN,
                                      0x1p-149,
                                      0x1.8p-149,
                                      0x1p-150,
                                      0x1.000001p-150,
                                      0x1p-126,
                                      0x1.fffffffp-127,
                                      0x1p-133,
                                      0x1p-134,
                                      0x1.0000000001p-134,
                                      0x1p-24,
                                      0x1p-25,
                                      0x1.00000000001p-25,
                                      1 + 0x1p-11,
                                      1 + 0x1p-11 + 0x1p-40,
                                      1 + 0x1p-8 + 0x1p-45,
                                      1 + 0x1p-4 + 0x1p-45,
                                      1 + 0x1p-3 - 0x1p-45,
                                      448,
                                      464,
                                      65519.999999999,
                                      65520,
                                      0x1.fffffep127,
                                      0x1.ffffffp127,
                                      0x1.fffffffffp127,
                                      0x1.fefffffffffffp127,
                                      0x1.ffp127,
                                      0x1p128,
                                      1e300,
                                      DBL_MAX,
                                      INFINITY,
                                      NAN};
    for (size_t i = 0; i < 2 * sizeof specials / sizeof *specials; i++) {
        double x = i % 2 ? -specials[i / 2] : specials[i / 2];
        expect_odd(x);
        for (int f = 0; f < NARROW; f++) expect_f64(&formats[f], x);
    }
    for (int i = 0; i < 200000; i++) {
        uint64_t r = random64(), exponent = 1023 - 160 + r % 300; /* from below f32's subnormals to beyond its range */
        uint64_t fraction = random64() & (UINT64_MAX << r % 53) & 0xfffffffffffffu;
        double x = trine_f64_of_bits((r & TRINE_F64_SIGN) | exponent << 52 | fraction);
        expect_odd(x);
        expect_f64(&formats[i % NARROW], x);
    }
    EXPECT(trine_bits_of_f32(trine_bits_f64_to_f32_odd(1e300)) == TRINE_F32_INF - 1);
}

static void expect_i64(int64_t x)
{
    for (const narrow *f = formats; f < formats + NARROW; f++) {
        unsigned got = convert_to(f, &x, TRINE_I64), want = oracle(f, x);
        CHECK(got == want, "i64 %lld to %s: 0x%x, not 0x%x", (long long)x, trine_dtype_name(f->dtype), got, want);
    }
}

/* A tie of format f that one bit far below breaks, wherever both bits are. */
static void test_i64_ties(const narrow *f)
{
    for (int top = f->mantissa + 1; top < 63; top++)
        for (int low = 0; low < top - f->mantissa - 1; low++) {
            int64_t tie = ((int64_t)1 << top) + ((int64_t)1 << (top - f->mantissa - 1));
            expect_i64(tie + ((int64_t)1 << low));
            expect_i64(-tie - ((int64_t)1 << low));
        }
}

static void test_i64(void)
{
    for (int i = 0; i < NARROW; i++) test_i64_ties(&formats[i]);
    expect_i64(INT64_MIN);
    expect_i64(INT64_MAX);
    for (int64_t d = -2; d <= 2; d++) expect_i64((1 << 25) + (1 << 16) + d);
    for (int a = 0; a < 63; a++)
        for (int b = 0; b <= a; b++)
            for (int d = -1; d <= 1; d++) {
                uint64_t x = ((uint64_t)1 << a) + ((uint64_t)1 << b) / 2 + (uint64_t)d;
                expect_i64((int64_t)x);
                expect_i64((int64_t)(0 - x));
            }
    for (int i = 0; i < 50000; i++) {
        uint64_t r = random64();
        expect_i64((int64_t)r >> r % 61);
    }
}

/* ---- The FP environment ---- */

enum { SAMPLES = 40000 };

/* Codes of every narrow format from random f32, f64 and i64, and the codes' values, as one hash. */
static uint64_t hash_of_conversions(const uint64_t *bits)
{
    uint64_t hash = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const narrow *f = &formats[i / 3 % NARROW];
        uint64_t code = to_narrow(f, trine_f32_of_bits((uint32_t)bits[i]));
        code = code << 16 | convert_to(f, &bits[i], TRINE_F64);
        code = code << 16 | convert_to(f, &bits[i], TRINE_I64);
        hash = (hash ^ code) * 0x9e3779b97f4a7c15u;
        hash = (hash ^ trine_bits_of_f32(from_narrow(f, code & 0xff))) * 0x9e3779b97f4a7c15u;
        hash = (hash ^ hash >> 29) + trine_bits_of_f32(trine_bits_i64_to_f32_odd((int64_t)bits[i]));
    }
    return hash;
}

static void test_environment(void)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    static uint64_t bits[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) { /* all sizes of integer; exponents of f32 and f64 near the narrow formats' own */
        uint64_t r = random64(), random = random64();
        bits[i] = i % 3 == 0   ? (uint64_t)((int64_t)random >> r % 61)
                  : i % 3 == 1 ? (random & 0x807fffff) | (60 + r % 130) << 23
                               : (random & 0x800fffffffffffff) | (860 + r % 300) << 52;
        if (i % 12 == 1) bits[i] &= 0x807fffff; /* subnormal in f32 */
    }
    uint64_t want = hash_of_conversions(bits);
    for (int i = 0; i < 3; i++) {
        EXPECT(fesetround(modes[i]) == 0);
        uint64_t got = hash_of_conversions(bits);
        fesetround(FE_TONEAREST);
        CHECK(got == want, "conversions change with rounding mode %d", i);
    }
#if defined __SSE__
    unsigned old = _mm_getcsr();
    _mm_setcsr(old | 0x8040); /* flush to zero, denormals are zero */
    uint64_t got = hash_of_conversions(bits);
    _mm_setcsr(old);
    CHECK(got == want, "conversions change when subnormals are flushed");
#endif
}

/* ---- Every pair of dtypes ---- */

enum { COUNT = 65536, EXTRA = 16 };
static const int sizes[TRINE_DTYPE_COUNT] = {0, 8, 4, 2, 2, 1, 1, 1, 1, 8, 4, 1, 1, 1, 0};

typedef struct number {
    bool integer;
    int64_t i;
    long double x;
} number;

static const narrow *narrow_of(trine_dtype dtype)
{
    return dtype >= TRINE_F16 && dtype <= TRINE_F8_E5M2FNUZ ? &formats[dtype - TRINE_F16] : NULL;
}

static number load(trine_dtype dtype, const char *p)
{
    int64_t i = 0;
    memcpy(&i, p, (size_t)sizes[dtype]); /* little-endian hosts only */
    if (narrow_of(dtype)) return (number){.x = decode(narrow_of(dtype), (unsigned)i)};
    switch (dtype) {
    case TRINE_F64: return (number){.x = trine_f64_of_bits((uint64_t)i)};
    case TRINE_F32: return (number){.x = trine_f32_of_bits((uint32_t)i)};
    case TRINE_I32: i = (int32_t)i; break;
    case TRINE_I8: i = (int8_t)i; break;
    case TRINE_BOOL: i = i != 0; break;
    default: break;
    }
    return (number){true, i, i};
}

static int64_t truncated(long double x, int64_t lowest, int64_t highest)
{
    if (isnan(x)) return 0;
    return x <= lowest ? lowest : x >= highest ? highest : (int64_t)x;
}

static void store(trine_dtype dtype, number v, char *p)
{
    static const int64_t range[][2] = {{INT64_MIN, INT64_MAX}, {INT32_MIN, INT32_MAX}, {-128, 127}, {0, 255}};
    double wide = (double)v.x;
    float single = (float)v.x;
    int64_t i = v.i;
    if (dtype == TRINE_BOOL)
        i = v.x != 0;
    else if (narrow_of(dtype))
        i = oracle(narrow_of(dtype), v.x);
    else if (dtype >= TRINE_I64 && !v.integer)
        i = truncated(v.x, range[dtype - TRINE_I64][0], range[dtype - TRINE_I64][1]);
    memcpy(p, dtype == TRINE_F64 ? (void *)&wide : dtype == TRINE_F32 ? (void *)&single : &i, (size_t)sizes[dtype]);
}

/* All codes of the narrow dtypes; of the wide ones what is interesting, then random bits of every size. */
static void fill_source(trine_dtype dtype, char *p)
{
    static const double floats[] = {0,       .5,         .99,           1,          1.5,        2.5,
                                    126.7,   127.5,      128.9,         240,        248,        254.9,
                                    255.5,   256.5,      448,           57344,      61440,      65504,
                                    65520,   2147483520, 2147483647,    2147483648, 4294967297, 9007199254740992,
                                    0x1p62,  0x1p63,     0x1.fffffep62, 3e38,       1e39,       1e300,
                                    0x1p-24, 0x1p-140,   0x1p-149,      0x1p-150,   INFINITY,   NAN};
    enum { FLOATS = sizeof floats / sizeof *floats };
    for (int i = 0; i < COUNT; i++) {
        uint64_t bits = (uint64_t)i;
        double x = floats[i / 2 % FLOATS];
        float single = (float)(x = i % 2 ? -x : x);
        if (sizes[dtype] >= 4 && i >= 512) bits = random64() >> random64() % (8 * (unsigned)sizes[dtype]);
        if (sizes[dtype] >= 4 && i >= 32768) bits = 0 - bits;
        if (dtype == TRINE_F64 && i < 2 * FLOATS) bits = trine_bits_of_f64(x);
        if (dtype == TRINE_F32 && i < 2 * FLOATS) bits = trine_bits_of_f32(single);
        memcpy(p + i * sizes[dtype], &bits, (size_t)sizes[dtype]);
    }
}

static bool same_element(trine_dtype dtype, const char *a, const char *b)
{
    if (memcmp(a, b, (size_t)sizes[dtype]) == 0) return true;
    return dtype <= TRINE_F32 && isnan(load(dtype, a).x) && isnan(load(dtype, b).x);
}

static void test_pair(trine_dtype from, trine_dtype to, const char *src)
{
    static char dst[COUNT * 8 + EXTRA], in_place[COUNT * 8];
    size_t size = (size_t)sizes[to];
    memset(dst, 0x5a, sizeof dst);
    EXPECT(trine_convert(src, from, dst, to, COUNT) == TRINE_OK);
    for (size_t i = 0; i < EXTRA; i++) EXPECT(dst[COUNT * size + i] == 0x5a);
    for (size_t i = 0; i < COUNT; i++) {
        char want[8];
        const char *x = src + i * (size_t)sizes[from];
        store(to, load(from, x), want);
        if (from == to && from != TRINE_BOOL) memcpy(want, x, size);
        CHECK(same_element(to, dst + i * size, want), "%s to %s: source %Lg, element %zu", trine_dtype_name(from),
              trine_dtype_name(to), load(from, x).x, i);
    }
    if (sizes[from] == sizes[to]) {
        memcpy(in_place, src, COUNT * size);
        EXPECT(trine_convert(in_place, from, in_place, to, COUNT) == TRINE_OK);
        EXPECT(memcmp(in_place, dst, COUNT * size) == 0);
    }
    for (int64_t n = 0; n <= 1; n++) { /* n elements and not one more */
        memset(dst, 0x5a, 2 * size);
        EXPECT(trine_convert(src, from, dst, to, n) == TRINE_OK);
        for (size_t i = (size_t)n * size; i < 2 * size; i++) EXPECT(dst[i] == 0x5a);
    }
    EXPECT(trine_convert(NULL, from, NULL, to, 0) == TRINE_OK);
    EXPECT(trine_convert(NULL, from, dst, to, 1) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_convert(src, from, NULL, to, 1) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_convert(src, from, dst, to, -1) == TRINE_ERROR_INVALID_ARGUMENT);
}

static void test_pairs(void)
{
    static char src[COUNT * 8];
    for (int from = TRINE_F64; from <= TRINE_BOOL; from++) {
        fill_source((trine_dtype)from, src);
        for (int to = TRINE_F64; to <= TRINE_BOOL; to++) test_pair((trine_dtype)from, (trine_dtype)to, src);
    }
    static const int refused[] = {TRINE_DTYPE_NONE, TRINE_NF4, TRINE_DTYPE_COUNT, 999, -1};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char x[8] = {0}, y[8] = {1};
        for (int64_t n = 0; n <= 1; n++) {
            EXPECT(trine_convert(x, (trine_dtype)refused[i], y, TRINE_F32, n) == TRINE_ERROR_INVALID_ARGUMENT);
            EXPECT(trine_convert(x, TRINE_F32, y, (trine_dtype)refused[i], n) == TRINE_ERROR_INVALID_ARGUMENT);
            EXPECT(trine_convert(x, (trine_dtype)refused[i], y, (trine_dtype)refused[i], n) == TRINE_ERROR_INVALID_ARGUMENT);
        }
        EXPECT(y[0] == 1);
        EXPECT(strcmp(trine_dtype_name((trine_dtype)refused[i]), refused[i] == TRINE_NF4 ? "nf4" : "?") == 0);
        EXPECT(trine_dtype_bits((trine_dtype)refused[i]) == (refused[i] == TRINE_NF4 ? 4 : 0));
    }
    EXPECT(isnan(trine_f8_to_f32(0, TRINE_F16)) && trine_f32_to_f8(1, TRINE_F32) == 0);
}

/* ---- Names, DLPack ---- */

static void test_names(void)
{
    static const struct {
        const char *name;
        uint8_t code, bits;
    } want[TRINE_DTYPE_COUNT] = {
        [TRINE_F64] = {"f64", 2, 64},
        [TRINE_F32] = {"f32", 2, 32},
        [TRINE_F16] = {"f16", 2, 16},
        [TRINE_BF16] = {"bf16", 4, 16},
        [TRINE_F8_E4M3FN] = {"f8_e4m3fn", 10, 8},
        [TRINE_F8_E5M2] = {"f8_e5m2", 12, 8},
        [TRINE_F8_E4M3FNUZ] = {"f8_e4m3fnuz", 11, 8},
        [TRINE_F8_E5M2FNUZ] = {"f8_e5m2fnuz", 13, 8},
        [TRINE_I64] = {"i64", 0, 64},
        [TRINE_I32] = {"i32", 0, 32},
        [TRINE_I8] = {"i8", 0, 8},
        [TRINE_U8] = {"u8", 1, 8},
        [TRINE_BOOL] = {"bool", 6, 8},
        [TRINE_NF4] = {"nf4", 0, 4},
    };
    uint8_t code = 99, bits = 99;
    trine_dtype back;
    for (int i = 1; i < TRINE_DTYPE_COUNT; i++) {
        trine_dtype dtype = (trine_dtype)i;
        EXPECT(strcmp(trine_dtype_name(dtype), want[i].name) == 0 && trine_dtype_from_name(want[i].name) == dtype);
        EXPECT(trine_dtype_bits(dtype) == want[i].bits);
        if (dtype == TRINE_NF4) continue;
        EXPECT(trine_dtype_to_dlpack(dtype, &code, &bits) == TRINE_OK && code == want[i].code && bits == want[i].bits);
        EXPECT(trine_dtype_from_dlpack(code, bits, 1, &back) == TRINE_OK && back == dtype);
        EXPECT(trine_dtype_from_dlpack(code, bits, 2, &back) == TRINE_ERROR_INVALID_ARGUMENT);
        EXPECT(trine_dtype_from_dlpack(code, bits, 1, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
        EXPECT(trine_dtype_to_dlpack(dtype, &code, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
        EXPECT(trine_dtype_to_dlpack(dtype, NULL, &bits) == TRINE_ERROR_INVALID_ARGUMENT);
    }
    EXPECT(trine_dtype_from_name("?") == TRINE_DTYPE_NONE && trine_dtype_from_name("F32") == TRINE_DTYPE_NONE);
    EXPECT(trine_dtype_from_name("") == TRINE_DTYPE_NONE && trine_dtype_from_name(NULL) == TRINE_DTYPE_NONE);
    code = bits = 99;
    static const int refused[] = {TRINE_DTYPE_NONE, TRINE_NF4, TRINE_DTYPE_COUNT, -1};
    for (int i = 0; i < 4; i++)
        EXPECT(trine_dtype_to_dlpack((trine_dtype)refused[i], &code, &bits) == TRINE_ERROR_INVALID_ARGUMENT && code == 99);
    static const uint8_t unknown[][2] = {{0, 16}, {1, 32}, {2, 8}, {3, 64}, {5, 64}, {255, 0}, {255, 4}, {6, 1}, {10, 16}};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        EXPECT(trine_dtype_from_dlpack(unknown[i][0], unknown[i][1], 1, &back) == TRINE_ERROR_INVALID_ARGUMENT);
}

int main(void)
{
    fill_formats();
    for (int i = 0; i < NARROW; i++) test_codes(&formats[i]);
    for (int i = 0; i < NARROW; i++) test_boundaries(&formats[i]);
    test_f32_sweep();
    test_f64();
    test_i64();
    test_environment();
    test_pairs();
    test_names();
    return finish();
}
