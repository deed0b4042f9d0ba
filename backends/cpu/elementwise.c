/* Elementwise ops on the CPU. Bound by bytes. The 16-bit floats go through f32 spans; f64 and integers are worked on in their own
 * type. */
#include <math.h>

#include "backends/cpu/elementwise_copy.h"
#include "backends/cpu/elementwise_swap.h"
#include "backends/cpu/level.h"
#include "backends/cpu/walk.h"
#include "core/float_bits.h"

/* ---- fill ---- */

typedef struct fill_context {
    int64_t size;
    bool zero;
    char block[4096]; /* the value, repeated */
} fill_context;

static void fill_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const fill_context *c = context;
    if (step[0] != 1) {
        for (int64_t i = 0; i < n; i++) memcpy(p[0] + i * step[0] * c->size, c->block, (size_t)c->size);
        return;
    }
    /* pieces end on multiples of the block, so that lines are written whole */
    char *to = p[0], *end = p[0] + n * c->size;
    while (to < end) {
        int64_t piece = (int64_t)sizeof c->block - (int64_t)((uintptr_t)to % 64) / c->size * c->size;
        if (piece > end - to) piece = end - to;
        span_copy_bytes(to, c->block, piece, stream);
        to += piece;
    }
}

static trine_status run_fill(const trine_fill_args *a)
{
    fill_context context = {.size = trine_dtype_bits(a->y.dtype) / 8};
    for (int64_t i = 0; i < (int64_t)sizeof context.block; i += context.size)
        if (i == 0)
            trine_convert(&a->value, TRINE_F64, context.block, a->y.dtype, 1);
        else
            memcpy(context.block + i, context.block, (size_t)context.size);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y}, 1);
    cpu_walk_run(&w, fill_run, &context);
    return TRINE_OK;
}

/* ---- Arithmetic ---- */

/* -0 < +0: of two zeros the one whose sign is wanted. NaN wins. */
#define LEAST(a, b) ((a) != (a) ? (a) : (b) != (b) ? (b) : (a) < (b) || ((a) == (b) && signbit(a)) ? (a) : (b))
#define MOST(a, b) ((a) != (a) ? (a) : (b) != (b) ? (b) : (a) > (b) || ((a) == (b) && !signbit(a)) ? (a) : (b))

/* f32 spans; y may be a or b. */
#define F32_OP(name, expression) \
    static void name##_f32(float *y, const float *a, const float *b, int64_t n) \
    { \
        for (int64_t i = 0; i < n; i++) y[i] = (expression); \
    }
F32_OP(add, a[i] + b[i])
F32_OP(sub, a[i] - b[i])
F32_OP(mul, a[i] * b[i])
F32_OP(div, a[i] / b[i])

/* From registers to registers, n a multiple of LANES_PUT: a way through spans takes up to twice the instructions. put_by: b is a
 * number. Intel's processors are asked for what comes next (Granite Rapids, 512 MB: scale 24 to 20 ms, add 38 to 34). */
#define PUT_OP(name, op) \
    static void name##_put(char *y, const char *a, const char *b, trine_dtype dtype, int64_t n, bool stream) \
    { \
        const bool asks = prefers_l2(); \
        LANES_PUT_ASKING(dtype, y, n, stream, put_ask(asks, a, b, type_, i), \
                         op(lanes_load(a, type_, i), lanes_load(b, type_, i))); \
    } \
    static void name##_put_by(char *y, const char *a, float b, trine_dtype dtype, int64_t n, bool stream) \
    { \
        const bool asks = prefers_l2(); \
        f32x16 all; \
        for (int k = 0; k < LANES; k++) all[k] = b; /* lanes_of would lose the sign of 0 */ \
        LANES_PUT_ASKING(dtype, y, n, stream, put_ask(asks, a, NULL, type_, i), op(lanes_load(a, type_, i), all)); \
    }
LANES_INLINE void put_ask(bool asks, const char *a, const char *b, trine_dtype dtype, int64_t i)
{
    if (!asks) return;
    lanes_ask_at(a, dtype, i, ASK_NEAR);
    if (b) lanes_ask_at(b, dtype, i, ASK_NEAR);
}

#define PLUS(a, b) ((a) + (b))
#define MINUS(a, b) ((a) - (b))
#define TIMES(a, b) ((a) * (b))
#define OVER(a, b) ((a) / (b))
PUT_OP(add, PLUS)
PUT_OP(sub, MINUS)
PUT_OP(mul, TIMES)
PUT_OP(div, OVER)

/* The same in selects that the compiler vectorises: equal numbers have equal bits, but for the zeros, of which -0 has one bit
 * more. */
static inline float f32_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float least_f32(float a, float b)
{
    const float lesser = a < b ? a : b; /* b if either is NaN */
    const float settled = a == b ? f32_of(bits_of(a) | bits_of(b)) : lesser;
    return a != a ? a : settled;
}

static inline float most_f32(float a, float b)
{
    const float greater = a > b ? a : b;
    const float settled = a == b ? f32_of(bits_of(a) & bits_of(b)) : greater;
    return a != a ? a : settled;
}

#if defined __AVX512F__
LANES_INLINE f32x16 least_lanes(f32x16 a, f32x16 b)
{
    const __m512 x = (__m512)a, y = (__m512)b, lesser = _mm512_min_ps(x, y);
    const __mmask16 equal = _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ), nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return (f32x16)_mm512_mask_mov_ps(_mm512_mask_or_ps(lesser, equal, x, y), nan, x);
}

LANES_INLINE f32x16 most_lanes(f32x16 a, f32x16 b)
{
    const __m512 x = (__m512)a, y = (__m512)b, greater = _mm512_max_ps(x, y);
    const __mmask16 equal = _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ), nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return (f32x16)_mm512_mask_mov_ps(_mm512_mask_and_ps(greater, equal, x, y), nan, x);
}

PUT_OP(minimum, least_lanes)
PUT_OP(maximum, most_lanes)
#else
enum { minimum_put = 0, minimum_put_by = 0, maximum_put = 0, maximum_put_by = 0 }; /* NULL */
#endif

F32_OP(minimum, least_f32(a[i], b[i]))
F32_OP(maximum, most_f32(a[i], b[i]))

/* The other types, at any step. The dense case stands apart so that it is vectorised. */
#define TYPED_OP(name, type, suffix, expression) \
    static void name##_##suffix(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream) \
    { \
        type *y = (type *)(void *)p[0]; \
        const type *xa = (const type *)(void *)p[1], *xb = (const type *)(void *)p[2]; \
        const int64_t sy = step[0], sa = step[1], sb = step[2]; \
        (void)context, (void)stream; \
        if (sy == 1 && sa == 1 && sb == 1) { \
            for (int64_t i = 0; i < n; i++) { \
                const type a = xa[i], b = xb[i]; \
                y[i] = (type)(expression); \
            } \
            return; \
        } \
        for (int64_t i = 0; i < n; i++) { \
            const type a = xa[i * sa], b = xb[i * sb]; \
            y[i * sy] = (type)(expression); \
        } \
    }
#define INT_DIVIDE(type, a, b) ((b) == 0 ? 0 : (type)-1 < 0 && (b) == (type)-1 ? (type)(0 - (uint64_t)(a)) : (type)((a) / (b)))
#define INT_OPS(type, suffix) \
    TYPED_OP(add, type, suffix, (uint64_t)a + (uint64_t)b) \
    TYPED_OP(sub, type, suffix, (uint64_t)a - (uint64_t)b) \
    TYPED_OP(mul, type, suffix, (uint64_t)a *(uint64_t)b) \
    TYPED_OP(div, type, suffix, INT_DIVIDE(type, a, b)) \
    TYPED_OP(minimum, type, suffix, a < b ? a : b) \
    TYPED_OP(maximum, type, suffix, a > b ? a : b)
INT_OPS(int64_t, i64)
INT_OPS(int32_t, i32)
INT_OPS(int8_t, i8)
INT_OPS(uint8_t, u8)
TYPED_OP(add, double, f64, a + b)
TYPED_OP(sub, double, f64, a - b)
TYPED_OP(mul, double, f64, a *b)
TYPED_OP(div, double, f64, a / b)
TYPED_OP(minimum, double, f64, LEAST(a, b))
TYPED_OP(maximum, double, f64, MOST(a, b))

typedef struct arithmetic {
    void (*f32)(float *y, const float *a, const float *b, int64_t n);
    /* or NULL */
    void (*put)(char *y, const char *a, const char *b, trine_dtype dtype, int64_t n, bool stream);
    void (*put_by)(char *y, const char *a, float b, trine_dtype dtype, int64_t n, bool stream);
    cpu_run_fn f64, i64, i32, i8, u8;
} arithmetic;
#define ARITHMETIC(name, put, put_by) \
    static const arithmetic name##_table = {name##_f32, put, put_by, name##_f64, name##_i64, name##_i32, name##_i8, name##_u8}
ARITHMETIC(add, add_put, add_put_by);
ARITHMETIC(sub, sub_put, sub_put_by);
ARITHMETIC(mul, mul_put, mul_put_by);
ARITHMETIC(div, div_put, div_put_by);
ARITHMETIC(minimum, minimum_put, minimum_put_by);
ARITHMETIC(maximum, maximum_put, maximum_put_by);

static cpu_run_fn own_type(const arithmetic *table, trine_dtype dtype)
{
    switch (dtype) {
    case TRINE_F64: return table->f64;
    case TRINE_I64: return table->i64;
    case TRINE_I32: return table->i32;
    case TRINE_I8: return table->i8;
    case TRINE_U8: return table->u8;
    default: return NULL;
    }
}

typedef struct span_context {
    const arithmetic *table;
    trine_dtype dtype;
} span_context;

static void binary_by_span(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const span_context *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(buffer_a);
    SPAN_BUFFER(buffer_b);
    SPAN_BUFFER(y);
    const bool put = LANES_PUTS && c->table->put && step[0] == 1 && step[1] == 1 && (step[2] == 1 || step[2] == 0);
    const float by = put && n > 0 ? *span_load(buffer_b, p[2], c->dtype, 1) : 0;
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        const int64_t lines = lanes_to_put(put, to, c->dtype, n - i, &m);
        if (lines > 0) {
            m = lines;
            if (step[2] == 1)
                c->table->put(to, p[1] + i * size, p[2] + i * size, c->dtype, m, stream);
            else
                c->table->put_by(to, p[1] + i * size, by, c->dtype, m, stream);
            continue;
        }
        const float *a = cpu_load(buffer_a, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *b = cpu_load(buffer_b, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        c->table->f32(y, a, b, m);
        cpu_store(to, c->dtype, y, m, step[0], stream);
    }
}

static trine_status run_binary(const arithmetic *table, const trine_tensor *y, const trine_tensor *a, const trine_tensor *b)
{
    const span_context context = {table, y->dtype};
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){y, a, b}, 3);
    cpu_run_fn own = own_type(table, y->dtype);
    cpu_walk_run(&w, own ? own : binary_by_span, &context);
    return TRINE_OK;
}

/* ---- With a scalar: the same functions with an operand that repeats. For 16-bit floats the scalar stays f32. ---- */

typedef struct scalar_context {
    const arithmetic *table;
    trine_dtype dtype;
    float repeated[SPAN_MAX];
} scalar_context;

static void scalar_by_span(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const scalar_context *c = context;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(buffer);
    SPAN_BUFFER(y);
    const bool put = LANES_PUTS && c->table->put_by && step[0] == 1 && step[1] == 1;
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        const int64_t lines = lanes_to_put(put, to, c->dtype, n - i, &m);
        if (lines > 0) {
            m = lines;
            c->table->put_by(to, p[1] + i * size, c->repeated[0], c->dtype, m, stream);
            continue;
        }
        const float *x = cpu_load(buffer, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        c->table->f32(y, x, c->repeated, m);
        cpu_store(to, c->dtype, y, m, step[0], stream);
    }
}

static trine_status run_scalar(const arithmetic *table, const trine_scalar_args *a)
{
    if (own_type(table, a->y.dtype)) {
        int64_t value = 0;
        trine_convert(&a->value, TRINE_F64, &value, a->y.dtype, 1);
        trine_tensor scalar = trine_tensor_make(&value, a->y.dtype, 0, NULL);
        return run_binary(table, &a->y, &a->x, &scalar);
    }
    scalar_context context = {.table = table, .dtype = a->y.dtype};
    for (int i = 0; i < SPAN_MAX; i++) context.repeated[i] = (float)a->value;
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &a->x}, 2);
    cpu_walk_run(&w, scalar_by_span, &context);
    return TRINE_OK;
}

/* ---- The backend's functions: anything that passes the core's checks, no workspace ---- */

#define ELEMENTWISE(name, expression) \
    trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *a) \
    { \
        call->variant = TRINE_CPU_VARIANT; \
        TRINE_END_OF_QUERY(call, 0); \
        return expression; \
    }
ELEMENTWISE(copy, run_copy(a))
ELEMENTWISE(fill, run_fill(a))
ELEMENTWISE(add, run_binary(&add_table, &a->y, &a->a, &a->b))
ELEMENTWISE(sub, run_binary(&sub_table, &a->y, &a->a, &a->b))
ELEMENTWISE(mul, run_binary(&mul_table, &a->y, &a->a, &a->b))
ELEMENTWISE(div, run_binary(&div_table, &a->y, &a->a, &a->b))
ELEMENTWISE(minimum, run_binary(&minimum_table, &a->y, &a->a, &a->b))
ELEMENTWISE(maximum, run_binary(&maximum_table, &a->y, &a->a, &a->b))
ELEMENTWISE(add_scalar, run_scalar(&add_table, a))
ELEMENTWISE(scale, run_scalar(&mul_table, a))
ELEMENTWISE(swap, run_swap(a))
