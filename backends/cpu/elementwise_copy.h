/* Copies on the CPU, and casts: bits as they are, from registers to registers, by f32 spans, or element by element. */
#ifndef TRINE_CPU_ELEMENTWISE_COPY_H
#define TRINE_CPU_ELEMENTWISE_COPY_H

#include "backends/cpu/fp8_lanes.h"
#include "backends/cpu/lanes_store.h"
#include "backends/cpu/walk.h"

typedef struct copy_context {
    trine_dtype from, to;
} copy_context;

/* f32 holds every value of these exactly, so that the way through a span rounds once. */
static bool fits_f32(trine_dtype dtype) { return dtype != TRINE_F64 && dtype != TRINE_I64 && dtype != TRINE_I32; }

static void copy_bits(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const copy_context *c = context;
    const int64_t size = trine_dtype_bits(c->to) / 8;
    if (step[0] == 1 && step[1] == 1) {
        span_copy_bytes(p[0], p[1], n * size, stream);
        return;
    }
    for (int64_t i = 0; i < n; i++) memcpy(p[0] + i * step[0] * size, p[1] + i * step[1] * size, (size_t)size);
}

/* Bytes from what is read to what is asked for meanwhile, not on Intel. */
enum { COPY_AHEAD = 4096 };

/* n elements, a multiple of LANES_PUT, from registers to registers. */
#define COPY_PUT(name, from) \
    static void copy_put_##name(char *y, const char *x, trine_dtype to, int64_t n, bool stream) \
    { \
        const int64_t ahead = ask_distance(COPY_AHEAD); \
        LANES_PUT_ASKING(to, y, n, stream, lanes_ask_at(x, from, i, ahead), lanes_load(x, from, i)); \
    }
COPY_PUT(f32, TRINE_F32)
COPY_PUT(f16, TRINE_F16)
COPY_PUT(bf16, TRINE_BF16)

static void copy_put(char *y, const char *x, const copy_context *c, int64_t n, bool stream)
{
    if (c->from == TRINE_F32)
        copy_put_f32(y, x, c->to, n, stream);
    else if (c->from == TRINE_BF16)
        copy_put_bf16(y, x, c->to, n, stream);
    else
        copy_put_f16(y, x, c->to, n, stream);
}

/* The same to fp8, n a multiple of FP8_LINE. */
enum { FP8_LINE = 4 * LANES };
LANES_INLINE void copy_eights_of(char *y, const char *x, trine_dtype from, trine_dtype to, int64_t n, bool stream)
{
    const int64_t ahead = ask_distance(COPY_AHEAD);
    for (int64_t i = 0; i < n; i += FP8_LINE) {
        f32x16 v[4];
        for (int k = 0; k < 4; k++) {
            lanes_ask_at(x, from, i + LANES * k, ahead);
            v[k] = lanes_load(x, from, i + LANES * k);
        }
        fp8_lanes_put(y + i, v, to, stream);
    }
}

LANES_INLINE void copy_eights_from(char *y, const char *x, trine_dtype from, trine_dtype to, int64_t n, bool stream)
{
    if (to == TRINE_F8_E4M3FN)
        copy_eights_of(y, x, from, TRINE_F8_E4M3FN, n, stream);
    else if (to == TRINE_F8_E5M2)
        copy_eights_of(y, x, from, TRINE_F8_E5M2, n, stream);
    else
        copy_eights_of(y, x, from, TRINE_F8_E4M3FNUZ, n, stream);
}

static void copy_eights(char *y, const char *x, const copy_context *c, int64_t n, bool stream)
{
    if (c->from == TRINE_F32)
        copy_eights_from(y, x, TRINE_F32, c->to, n, stream);
    else if (c->from == TRINE_BF16)
        copy_eights_from(y, x, TRINE_BF16, c->to, n, stream);
    else
        copy_eights_from(y, x, TRINE_F16, c->to, n, stream);
}

static bool puts_lanes(trine_dtype dtype) { return dtype == TRINE_F32 || dtype == TRINE_F16 || dtype == TRINE_BF16; }

static void copy_by_span(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const copy_context *c = context;
    const int64_t to_size = trine_dtype_bits(c->to) / 8, from_size = trine_dtype_bits(c->from) / 8;
    SPAN_BUFFER(buffer);
    const bool dense = step[0] == 1 && step[1] == 1 && puts_lanes(c->from), put = LANES_PUTS && dense && puts_lanes(c->to),
               eights = dense && fp8_lanes_have(c->to);
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * to_size;
        const int64_t lines = lanes_to_put(put, to, c->to, n - i, &m);
        if (lines > 0) {
            m = lines;
            copy_put(to, p[1] + i * from_size, c, m, stream);
            continue;
        }
        if (eights && n - i >= FP8_LINE && (uintptr_t)to % FP8_LINE == 0) {
            m = (n - i) / FP8_LINE * FP8_LINE;
            copy_eights(to, p[1] + i * from_size, c, m, stream);
            continue;
        }
        const float *x = cpu_load(buffer, p[1] + i * step[1] * from_size, c->from, m, step[1]);
        cpu_store(to, c->to, x, m, step[0], stream);
    }
}

/* trine_convert, but vectorised between indices of the two sizes. */
static void copy_wide_block(void *restrict to, trine_dtype to_type, const void *restrict from, trine_dtype from_type, int64_t n)
{
    const int64_t *wide = from;
    const int32_t *narrow = from;
    if (from_type == TRINE_I64 && to_type == TRINE_I32)
        for (int64_t i = 0; i < n; i++) ((int32_t *)to)[i] = (int32_t)wide[i]; /* the lower half, as trine_convert */
    else if (from_type == TRINE_I32 && to_type == TRINE_I64)
        for (int64_t i = 0; i < n; i++) ((int64_t *)to)[i] = narrow[i];
    else
        trine_convert(from, from_type, to, to_type, n);
}

static void copy_wide(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const copy_context *c = context;
    const int64_t to_size = trine_dtype_bits(c->to) / 8, from_size = trine_dtype_bits(c->from) / 8;
    _Alignas(64) char block[4096];
    const int64_t most = (int64_t)sizeof block / to_size;
    if (step[0] == 1 && step[1] == 1) {
        for (int64_t i = 0, m; i < n; i += m) {
            m = stream && n - i > most ? most : n - i;
            copy_wide_block(stream ? block : p[0], c->to, p[1] + i * from_size, c->from, m);
            if (stream) span_copy_bytes(p[0] + i * to_size, block, m * to_size, true);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++)
        trine_convert(p[1] + i * step[1] * from_size, c->from, p[0] + i * step[0] * to_size, c->to, 1);
}

/* i8 and u8 keep their bits in each other; a bool is written as 0 or 1. */
static bool keeps_bits(trine_dtype from, trine_dtype to)
{
    bool bytes = (from == TRINE_I8 || from == TRINE_U8) && (to == TRINE_I8 || to == TRINE_U8);
    return bytes || (from == to && from != TRINE_BOOL);
}

static trine_status run_copy(const trine_copy_args *a)
{
    const copy_context context = {a->x.dtype, a->y.dtype};
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &a->x}, 2);
    bool bits = keeps_bits(a->x.dtype, a->y.dtype);
    if (bits && a->x.data == a->y.data) return TRINE_OK; /* in place: nothing to do */
    cpu_walk_run(&w, bits ? copy_bits : fits_f32(a->x.dtype) || a->y.dtype == TRINE_F32 ? copy_by_span : copy_wide, &context);
    return TRINE_OK;
}

#endif
