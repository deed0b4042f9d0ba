/* The CPU backend's vector functions and spans, at the level that this file is compiled for (with backends/cpu/span.c and
 * -DTRINE_CPU_LEVEL=...). Functions are compared with f64 libm over every 251st f32, specials and neighbours of thresholds, and
 * may not be further off than vmath.h says. Spans are compared with core/float_bits.h bit by bit. Prints failures, and a count
 * as its last line. */
#include "backends/cpu/vmath.h"

#include <stdlib.h>

#include "backends/cpu/span.h"
#include "core/float_bits.h"
#include "tests/unit/expect.h"

#ifdef __FMA__
#define BOUND(with_fma, without) (with_fma)
#else
#define BOUND(with_fma, without) (without)
#endif

/* ---- Functions ---- */

static double ref_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double ref_softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double ref_normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2)); }
static double ref_rsqrt(double x) { return 1 / sqrt(x); }
/* Quarters of a turn are taken off first, exactly, so that zeros are zeros. */
static double ref_turn(double v, int quarters)
{
    double n = rint(4 * v), angle = 2 * acos(-1) * (v - n / 4);
    int q = ((int)n + quarters) & 3;
    double y = q & 1 ? cos(angle) : sin(angle);
    return q & 2 ? -y : y;
}
static double ref_sin2pi(double v) { return ref_turn(v, 0); }
static double ref_cos2pi(double v) { return ref_turn(v, 1); }
static inline float vm_sin2pi(float v)
{
    float s, c;
    vm_sincos2pi(v, &s, &c);
    return s;
}
static inline float vm_cos2pi(float v)
{
    float s, c;
    vm_sincos2pi(v, &s, &c);
    return c;
}

/* name, reference, bound, floor (see struct function) */
#define FUNCTIONS(X) \
    X(exp, exp, BOUND(0.91, 1.18), 0) \
    X(exp2, exp2, BOUND(1.01, 1.27), 0) \
    X(expm1, expm1, BOUND(1.46, 1.53), 0) \
    X(log, log, BOUND(0.85, 0.85), 0) \
    X(log1p, log1p, BOUND(1.40, 1.40), 0) \
    X(tanh, tanh, BOUND(2.61, 2.61), 0) \
    X(erf, erf, BOUND(1.86, 2.01), 0) \
    X(sigmoid, ref_sigmoid, BOUND(2.41, 2.41), 0) \
    X(softplus, ref_softplus, BOUND(2.08, 2.38), 0) \
    X(rsqrt, ref_rsqrt, BOUND(1.50, 1.50), 0) \
    X(normal_cdf, ref_normal_cdf, BOUND(1.60, 1.60), 0x1p-24) \
    X(sin2pi, ref_sin2pi, BOUND(1.62, 1.65), 0) \
    X(cos2pi, ref_cos2pi, BOUND(1.62, 1.65), 0)

#define LOOP(name, reference, bound, floor) \
    static void loop_##name(const float *restrict x, float *restrict y, int n) \
    { \
        for (int i = 0; i < n; i++) y[i] = vm_##name(x[i]); \
    }
FUNCTIONS(LOOP)

typedef struct function {
    const char *name;
    void (*loop)(const float *restrict x, float *restrict y, int n);
    double (*reference)(double);
    double bound; /* in units in the last place of the result */
    double floor; /* but never in smaller units than this */
} function;

#define ROW(name, reference, bound, floor) {#name, loop_##name, reference, bound, floor},
static const function functions[] = {FUNCTIONS(ROW)};

/* The spacing of f32 at r; inf counts as 2^128. */
static double ulp(double r)
{
    int exponent;
    frexp(fmin(fabs(r), 0x1p127), &exponent);
    return ldexp(1, exponent < -125 ? -149 : exponent - 24);
}

static double error_of(float y, double r, double floor)
{
    double as_f64 = isinf(y) ? copysign(0x1p128, y) : y;
    if (isnan(r) || isnan(y)) return isnan(r) && isnan(y) ? 0 : INFINITY;
    if (isinf((float)r) && isinf(y)) return r * as_f64 > 0 ? 0 : INFINITY;
    return fabs(as_f64 - r) / fmax(ulp(r), floor);
}

static bool in_domain(const function *f, float x)
{
    bool turns = f->reference == ref_sin2pi || f->reference == ref_cos2pi;
    return !turns || isnan(x) || (x >= 0 && x < 1);
}

typedef struct worst {
    double error;
    float x, y;
} worst;

static void compare(const function *f, const float *x, int n, worst *w)
{
    float y[1024], one;
    f->loop(x, y, n);
    for (int i = 0; i < n; i++) {
        if (!in_domain(f, x[i])) continue;
        double e = error_of(y[i], f->reference(x[i]), f->floor);
        if (i % 61 == 0) { /* a scalar tail gives the same bits as the vector body */
            f->loop(x + i, &one, 1);
            if (memcmp(&one, y + i, sizeof one) != 0 && !isnan(one)) e = INFINITY;
        }
        if (e > w->error) *w = (worst){e, x[i], y[i]};
    }
}

static void sweep(const function *f)
{
    enum { BLOCKS = 256, STRIDE = 251 };
    worst w = {0, 0, 0};
#pragma omp parallel for schedule(dynamic, 1)
    for (int block = 0; block < BLOCKS; block++) {
        worst mine = {0, 0, 0};
        float x[1024];
        const uint64_t end = (uint64_t)(block + 1) << 24;
        for (uint64_t bits = ((uint64_t)block << 24) + (uint64_t)block % STRIDE; bits < end;) {
            int n = 0;
            for (; n < 1024 && bits < end; bits += STRIDE) x[n++] = vm_float((uint32_t)bits);
            compare(f, x, n, &mine);
        }
#pragma omp critical
        if (mine.error > w.error) w = mine;
    }
    CHECK(w.error <= f->bound, "%s(%a) = %a: off by %.3f ulp, more than %.3f", f->name, w.x, w.y, w.error, f->bound);
    if (getenv("TRINE_VERBOSE")) printf("%-10s %.3f ulp at %a\n", f->name, w.error, w.x);
}

/* Both neighbours of every number where a function changes its formula or its kind of result. */
static void test_thresholds(const function *f)
{
    /* clang-format off */
    static const float at[] = {0, 0x1p-149f, 0x1p-126f, 0x1p-25f, 0.125f, 0.25f, 0.41421357f, 0.55f, 0.725f, 0.70710677f, 1, 1.1f,
                               1.45f, 2, 3.84f, 3.95f, 5.6f, 8, 9.01f, 17.5f, 18, 44, 87.33655f, 88.72284f, 89, 103.28f, 103.97f,
                               104, 126, 127, 128, 149, 150, 151, 0x1p22f, 0x1p24f, 0x1p126f, 0x1.fffffep127f, INFINITY, NAN};
    /* clang-format on */
    worst w = {0, 0, 0};
    float x[6];
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        for (int k = 0; k < 6; k++) x[k] = vm_float(vm_bits(k < 3 ? at[i] : -at[i]) + (uint32_t)(k % 3) - (at[i] == 0 ? 0 : 1));
        compare(f, x, 6, &w);
    }
    CHECK(w.error <= f->bound, "%s(%a) = %a: off by %.3f ulp, more than %.3f", f->name, w.x, w.y, w.error, f->bound);
}

static void test_special_values(void)
{
    volatile float zero = 0, inf = INFINITY;
    EXPECT(vm_exp(-inf) == 0 && !signbit(vm_exp(-inf)) && vm_exp(inf) == inf && vm_exp(zero) == 1 && vm_exp(-104) == 0);
    EXPECT(vm_exp2(-inf) == 0 && vm_exp2(inf) == inf && vm_exp2(-149) == 0x1p-149f && vm_exp2(127) == 0x1p127f &&
           vm_exp2(128) == inf);
    EXPECT(vm_log(zero) == -inf && vm_log(-zero) == -inf && isnan(vm_log(-1)) && isnan(vm_log(-inf)) && vm_log(inf) == inf);
    EXPECT(vm_log(1) == 0 && vm_log1p(-1) == -inf && isnan(vm_log1p(-2)) && vm_log1p(inf) == inf);
    EXPECT(vm_expm1(-inf) == -1 && vm_expm1(inf) == inf && vm_softplus(-inf) == 0 && vm_softplus(inf) == inf);
    EXPECT(vm_tanh(inf) == 1 && vm_tanh(-inf) == -1 && vm_tanh(20) == 1 && vm_erf(inf) == 1 && vm_erf(-inf) == -1 &&
           vm_erf(4) == 1);
    EXPECT(vm_sigmoid(-inf) == 0 && vm_sigmoid(inf) == 1 && vm_sigmoid(zero) == 0.5f && vm_rsqrt(zero) == inf &&
           vm_rsqrt(inf) == 0);
    EXPECT(vm_normal_cdf(-inf) == 0 && vm_normal_cdf(inf) == 1 && vm_normal_cdf(zero) == 0.5f && vm_normal_cdf(-8) == 0);
    float (*const odd[])(float) = {vm_tanh, vm_erf, vm_expm1, vm_log1p};
    for (int i = 0; i < 4; i++)
        EXPECT(odd[i](zero) == 0 && !signbit(odd[i](zero)) && odd[i](-zero) == 0 && signbit(odd[i](-zero)));
    float worst_pair = 0, last = 0;
    for (int i = 0; i < 4096; i++) {
        float s, c;
        vm_sincos2pi((float)i / 4096, &s, &c);
        worst_pair = fmaxf(worst_pair, fabsf(s * s + c * c - 1));
        if (i < 1024) EXPECT(s >= last);
        last = s;
    }
    EXPECT(worst_pair < 4e-7f);
}

/* ---- Spans ---- */

static int64_t size_of(trine_dtype dtype) { return trine_dtype_bits(dtype) / 8; }

static float element_to_f32(const void *from, trine_dtype dtype)
{
    union {
        double f64;
        float f32;
        uint16_t bits16;
        uint8_t u8;
        int8_t i8;
        int32_t i32;
        int64_t i64;
    } x;
    memcpy(&x, from, (size_t)size_of(dtype));
    switch (dtype) {
    case TRINE_F64: return (float)x.f64;
    case TRINE_F32: return x.f32;
    case TRINE_F16: return trine_bits_f16_to_f32(x.bits16);
    case TRINE_BF16: return trine_bits_bf16_to_f32(x.bits16);
    case TRINE_F8_E4M3FN: return trine_bits_f8_to_f32(x.u8, 0, 0);
    case TRINE_F8_E5M2: return trine_bits_f8_to_f32(x.u8, 1, 0);
    case TRINE_F8_E4M3FNUZ: return trine_bits_f8_to_f32(x.u8, 0, 1);
    case TRINE_F8_E5M2FNUZ: return trine_bits_f8_to_f32(x.u8, 1, 1);
    case TRINE_I64: return (float)x.i64;
    case TRINE_I32: return (float)x.i32;
    case TRINE_I8: return x.i8;
    case TRINE_U8: return x.u8;
    default: return x.u8 != 0;
    }
}

#define PUT(type, value) \
    do { \
        type y = (value); \
        memcpy(to, &y, sizeof y); \
        return; \
    } while (0)
static void element_from_f32(void *to, trine_dtype dtype, float x)
{
    switch (dtype) {
    case TRINE_F64: PUT(double, x);
    case TRINE_F32: PUT(float, x);
    case TRINE_F16: PUT(uint16_t, trine_bits_f32_to_f16(x));
    case TRINE_BF16: PUT(uint16_t, trine_bits_f32_to_bf16(x));
    case TRINE_F8_E4M3FN: PUT(uint8_t, trine_bits_f32_to_f8(x, 0, 0));
    case TRINE_F8_E5M2: PUT(uint8_t, trine_bits_f32_to_f8(x, 1, 0));
    case TRINE_F8_E4M3FNUZ: PUT(uint8_t, trine_bits_f32_to_f8(x, 0, 1));
    case TRINE_F8_E5M2FNUZ: PUT(uint8_t, trine_bits_f32_to_f8(x, 1, 1));
    case TRINE_I64: PUT(int64_t, trine_f32_to_i64_sat(x));
    case TRINE_I32: PUT(int32_t, trine_f32_to_i32_sat(x));
    case TRINE_I8: PUT(int8_t, trine_f32_to_i8_sat(x));
    case TRINE_U8: PUT(uint8_t, trine_f32_to_u8_sat(x));
    default: PUT(uint8_t, trine_f32_to_bool(x));
    }
}

/* Bits of all kinds: every second f32 is of moderate size. */
static uint32_t mixed_bits(uint64_t i)
{
    uint64_t h = (i + 1) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
    uint32_t bits = (uint32_t)(h >> 32);
    return i & 1 ? bits : (bits & 0x80ffffffu) + 0x3a000000u + (uint32_t)(h & 0x0f000000u);
}

enum { GUARD = 128, MOST = SPAN_MAX * 3 };
static _Alignas(64) char memory[GUARD * 2 + MOST * 8];
static _Alignas(64) char raw[GUARD + MOST * 8];
static float values[MOST], buffer[MOST];

/* n elements stored `offset` bytes after a line, `stride` apart: all right, and all other bytes untouched? */
static bool store_is_right(trine_dtype dtype, int64_t n, int64_t offset, int64_t stride, bool stream)
{
    const int64_t size = size_of(dtype);
    char *to = memory + GUARD + offset, expected[8];
    memset(memory, 0xa5, sizeof memory);
    if (stride == 1)
        span_store(to, dtype, values, n, stream);
    else
        span_store_strided(to, dtype, values, n, stride);
    span_fence();
    for (int64_t i = 0; i < n; i++) {
        element_from_f32(expected, dtype, values[i]);
        if (memcmp(to + i * stride * size, expected, (size_t)size) != 0) return false;
        memset(to + i * stride * size, 0xa5, (size_t)size);
    }
    for (size_t i = 0; i < sizeof memory; i++)
        if ((unsigned char)memory[i] != 0xa5) return false;
    return true;
}

static bool load_is_right(trine_dtype dtype, int64_t n, int64_t offset, int64_t stride)
{
    const char *from = raw + offset;
    memset(buffer, 0xa5, sizeof buffer);
    const float *x = stride == 1 ? span_load(buffer, from, dtype, n) : span_load_strided(buffer, from, dtype, n, stride);
    if (dtype == TRINE_F32 && stride == 1 && offset % 4 == 0 && x != (const float *)(const void *)from) return false;
    for (int64_t i = 0; i < n; i++) {
        float expected = element_to_f32(from + i * stride * size_of(dtype), dtype);
        if (memcmp(x + i, &expected, sizeof expected) != 0) return false;
    }
    return x != buffer || n == MOST || vm_bits(buffer[n]) == 0xa5a5a5a5u;
}

static void test_spans(trine_dtype dtype)
{
    static const int64_t offsets[] = {0, 1, 2, 4, 8, 24, 60, 63};
    const char *name = trine_dtype_name(dtype);
    for (int64_t k = 0; k <= 133; k++) {
        int64_t n = k <= 130 ? k : k == 131 ? 1000 : k == 132 ? SPAN_MAX : MOST;
        for (int o = 0; o < 8; o++) {
            int64_t offset = offsets[o];
            CHECK(load_is_right(dtype, n, offset, 1), "load of %d %s at %d", (int)n, name, (int)offset);
            if (k % 8 != o && k <= 130) continue; /* the guards make these slow */
            CHECK(store_is_right(dtype, n, offset, 1, false), "store of %d %s at %d", (int)n, name, (int)offset);
            CHECK(store_is_right(dtype, n, offset, 1, true), "streamed store of %d %s at %d", (int)n, name, (int)offset);
        }
    }
    for (int64_t n = 0; n <= SPAN_MAX; n = n < 4 ? n + 1 : n * 4)
        for (int64_t stride = 0; stride <= 3; stride++) {
            CHECK(load_is_right(dtype, n, 1, stride), "load of %d %s, stride %d", (int)n, name, (int)stride);
            CHECK(stride == 0 || store_is_right(dtype, n, 1, stride, false), "store of %d %s, stride %d", (int)n, name,
                  (int)stride);
        }
}

static void test_copy_bytes(void)
{
    for (int64_t n = 0; n < 700; n += 1 + n / 40)
        for (int offset = 0; offset < 70; offset += 7)
            for (int stream = 0; stream < 2; stream++) {
                memset(memory, 0xa5, sizeof memory);
                span_copy_bytes(memory + GUARD + offset, raw + 3, n, stream);
                span_fence();
                bool same = memcmp(memory + GUARD + offset, raw + 3, (size_t)n) == 0;
                for (int64_t i = 0; i < GUARD; i++)
                    same &= (unsigned char)memory[offset + i] == 0xa5 && (unsigned char)memory[GUARD + offset + n + i] == 0xa5;
                CHECK(same, "copy of %d bytes to %d, stream %d", (int)n, offset, stream);
            }
    span_copy_bytes(raw, raw, 100, true);
    EXPECT(!span_should_stream(0) && !span_should_stream(1 << 19) && span_should_stream((int64_t)1 << 31));
}

/* Every code of the narrow formats to f32; back: every code's value, the middle to the next one, and the neighbours of both; and
 * mixed bits. */
static void test_formats(trine_dtype dtype)
{
    const int64_t size = size_of(dtype);
    const uint32_t codes = size == 1 ? 256 : 65536;
    for (uint32_t code = 0; code < codes; code += SPAN_MAX / 4) {
        for (uint32_t i = 0; i < SPAN_MAX / 4; i++) memcpy(raw + i * size, &(uint32_t){code + i}, (size_t)size);
        CHECK(load_is_right(dtype, SPAN_MAX / 4, 0, 1), "load of %s codes from %x", trine_dtype_name(dtype), code);
        for (uint32_t i = 0; i < SPAN_MAX / 4; i++) {
            float here = element_to_f32(raw + i * size, dtype), next = element_to_f32(&(uint32_t){code + i + 1}, dtype);
            float middle = (float)(((double)here + (double)next) / 2);
            for (uint32_t k = 0; k < 3; k++) {
                values[i * 6 + k] = vm_float(vm_bits(here) + k - 1);
                values[i * 6 + 3 + k] = vm_float(vm_bits(middle) + k - 1);
            }
        }
        CHECK(store_is_right(dtype, SPAN_MAX / 4 * 6, 0, 1, false), "store around %s codes from %x", trine_dtype_name(dtype),
              code);
    }
    for (uint64_t block = 0; block < 20; block++) {
        for (int i = 0; i < MOST; i++) values[i] = vm_float(mixed_bits(block * MOST + (uint64_t)i));
        CHECK(store_is_right(dtype, MOST, 0, 1, false), "store of mixed values as %s", trine_dtype_name(dtype));
    }
}

/* ---- Work for threads ---- */

static void test_parallel_for(int64_t n, int64_t grain)
{
    static unsigned char seen[5000];
    int uneven = 0;
    memset(seen, 0, sizeof seen);
    CPU_PARALLEL_FOR(range, n, grain)
    {
        bool cut =
            range.begin % grain == 0 && (range.end % grain == 0 || range.end == n) && range.begin < range.end && range.end <= n;
#pragma omp atomic
        uneven += !cut;
        for (int64_t i = range.begin; i < range.end; i++) seen[i]++;
    }
    for (int64_t i = 0; i < (int64_t)sizeof seen; i++) uneven += seen[i] != (i < n);
    CHECK(uneven == 0, "%d elements in grains of %d: %d wrong", (int)n, (int)grain, uneven);
}

static void test_span_length(void)
{
    for (int64_t offset = 0; offset < 64; offset += 2) {
        int64_t n = span_length(memory + offset, TRINE_BF16, 5000);
        CHECK(n <= SPAN_MAX && n > SPAN_MAX - 64 && (offset + 2 * n) % 64 == 0, "span of %d at %d", (int)n, (int)offset);
    }
    EXPECT(span_length(memory + 3, TRINE_F64, 5000) <= SPAN_MAX && span_length(memory + 6, TRINE_F16, 77) == 77);
}

/* This file may be compiled for more than the processor has. */
static bool can_run(void)
{
#if defined __AVX512F__
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#elif defined __AVX2__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return true;
#endif
}

int main(void)
{
    enum { SKIPPED = 77 }; /* to meson */
    if (!can_run()) {
        printf("skipped: the processor lacks this level\n");
        return SKIPPED;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        sweep(&functions[i]);
        test_thresholds(&functions[i]);
    }
    test_special_values();
    for (trine_dtype dtype = TRINE_F64; dtype < TRINE_NF4; dtype++) {
        for (size_t i = 0; i < sizeof raw / 4; i++) memcpy(raw + 4 * i, &(uint32_t){mixed_bits(i)}, 4);
        for (int i = 0; i < MOST; i++) values[i] = vm_float(mixed_bits((uint64_t)i));
        test_spans(dtype);
        if (dtype >= TRINE_F16 && dtype <= TRINE_F8_E5M2FNUZ) test_formats(dtype);
    }
    test_copy_bytes();
    static const int64_t sizes[] = {0, 1, 63, 64, 65, 128, 1000, 4999};
    for (int i = 0; i < 8; i++) test_parallel_for(sizes[i], 1), test_parallel_for(sizes[i], 64);
    test_span_length();
    return finish();
}
