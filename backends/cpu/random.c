/* dropout, uniform and normal from Philox4x32-10, counted by the row-major index of an element (trine/random.h). Bound by bytes,
 * or, where elements have 16 bits, by Philox: 20 wide multiplications for 4 elements. The words of a span are made first, in
 * 64-bit lanes whose lower halves hold 32-bit words: a multiplication of lower halves is one instruction there, and what is in
 * the upper halves never matters. */
#include <math.h>

#if defined __SSE2__
#include <immintrin.h>
#endif

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/level.h"
#include "backends/cpu/vmath.h"
#include "backends/cpu/walk.h"

/* ---- Philox: Salmon et al. 2011 ---- */

/* multiply: product of the lower halves. both: b's lower halves above a's. evens: lanes 0, 2, ... of a and b by turns; odds: lanes
 * 1, 3, ... A round waits for a multiplication, a shift and a sum, so several vectors take turns: as many as there are registers
 * for (Zen 5, cycles for 16 words: 3 vectors 13.1, 4 11.6, 6 9.5, 8 10.8; the instructions alone take 7.5). */
#if defined __AVX512F__
enum { WIDE = 8, VECTORS = 6 };
typedef uint64_t lanes __attribute__((vector_size(64)));
static inline lanes multiply(lanes a, lanes b) { return (lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
static inline lanes both(lanes a, lanes b)
{
    return (lanes)_mm512_mask_shuffle_epi32((__m512i)a, 0xaaaa, (__m512i)b, _MM_PERM_CCAA);
}
static inline lanes evens(lanes a, lanes b) { return (lanes)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b); }
static inline lanes odds(lanes a, lanes b) { return (lanes)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b); }
#elif defined __AVX2__
enum { WIDE = 4, VECTORS = 4 };
typedef uint64_t lanes __attribute__((vector_size(32)));
static inline lanes multiply(lanes a, lanes b) { return (lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
static inline lanes evens(lanes a, lanes b) { return (lanes)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b); }
static inline lanes odds(lanes a, lanes b) { return (lanes)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b); }
#else
enum { WIDE = 2, VECTORS = 4 };
typedef uint64_t lanes __attribute__((vector_size(16)));
#if defined __SSE2__
static inline lanes multiply(lanes a, lanes b) { return (lanes)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
static inline lanes multiply(lanes a, lanes b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif
static inline lanes evens(lanes a, lanes b) { return (lanes){a[0], b[0]}; }
static inline lanes odds(lanes a, lanes b) { return (lanes){a[1], b[1]}; }
#endif
#if !defined __AVX512F__
static inline lanes both(lanes a, lanes b) { return (a & 0xffffffffu) | b << 32; }
#endif
/* GROUP: blocks that are computed together. SPAN: elements of a span at most, whole groups where a group is no power of two. */
enum { GROUP = WIDE * VECTORS, ROUNDS = 10, SPAN = SPAN_MAX / (4 * GROUP) * (4 * GROUP) };

typedef struct philox {
    lanes key[ROUNDS][2];
    uint64_t offset;
} philox;

static inline lanes everywhere(uint64_t value) { return (lanes){0} + value; }

static philox philox_make(uint64_t seed, uint64_t offset)
{
    philox p = {.offset = offset};
    for (uint32_t round = 0; round < ROUNDS; round++) {
        p.key[round][0] = everywhere((uint32_t)((uint32_t)seed + round * 0x9e3779b9u));
        p.key[round][1] = everywhere((uint32_t)((uint32_t)(seed >> 32) + round * 0xbb67ae85u));
    }
    return p;
}

/* GROUP blocks from the one of that counter on. */
static void philox_group(uint32_t *words, const philox *p, uint64_t counter)
{
    const lanes first = everywhere(0xd2511f53u), second = everywhere(0xcd9e8d57u);
    lanes index, c0[VECTORS], c1[VECTORS], c2[VECTORS], c3[VECTORS];
    /* even lanes hold the first blocks, so that evens() and odds() sort them */
    for (int i = 0; i < WIDE; i++) index[i] = (uint64_t)(i / 2 + i % 2 * (WIDE / 2));
    for (int k = 0; k < VECTORS; k++) {
        c0[k] = index + everywhere(counter + (uint64_t)(k * WIDE));
        c1[k] = c0[k] >> 32;
        c2[k] = c3[k] = everywhere(0);
    }
#pragma GCC unroll 10
    for (int round = 0; round < ROUNDS; round++)
#pragma GCC unroll 6
        for (int k = 0; k < VECTORS; k++) {
            lanes left = multiply(c0[k], first), right = multiply(c2[k], second);
            c0[k] = (right >> 32) ^ c1[k] ^ p->key[round][0];
            c1[k] = right;
            c2[k] = (left >> 32) ^ c3[k] ^ p->key[round][1];
            c3[k] = left;
        }
#pragma GCC unroll 6
    for (int k = 0; k < VECTORS; k++) {
        /* words 0 and 1, and 2 and 3, in memory's order: little-endian */
        lanes front = both(c0[k], c1[k]), back = both(c2[k], c3[k]);
        lanes sorted[2] = {evens(front, back), odds(front, back)};
        memcpy(words + 4 * k * WIDE, sorted, sizeof sorted);
    }
}

/* A buffer for the words of a span that may begin inside a block. */
#define WORD_BUFFER(name) _Alignas(64) uint32_t name[SPAN_MAX + 4 + 4 * GROUP]

/* Words of the elements [begin, begin + n), n <= SPAN: the address of the first one's. Meanwhile the elements, `size` bytes each,
 * arrive from memory at x, unless that is NULL. */
static const uint32_t *philox_span(uint32_t *buffer, const philox *p, int64_t begin, int64_t n, const char *x, int64_t size)
{
    int64_t blocks = (begin + n + 3) / 4 - begin / 4;
    for (int64_t b = 0; b < blocks; b += GROUP) {
        for (int64_t byte = 4 * b * size; x && byte < 4 * (b + GROUP) * size && byte < n * size; byte += 64)
            __builtin_prefetch(x + byte);
        philox_group(buffer + 4 * b, p, p->offset + (uint64_t)(begin / 4 + b));
    }
    return buffer + begin % 4;
}

/* ---- What becomes of words ---- */

/* Dropout's mask of a span, one byte an element; and y from x. */
static void drop(float *y, uint8_t *kept, const float *x, const uint32_t *words, int64_t n, uint32_t threshold, float factor)
{
    for (int64_t i = 0; i < n; i++) y[i] = words[i] >= threshold ? x[i] * factor : 0.0f;
    if (!kept) return;
    for (int64_t i = 0; i < n; i++) kept[i] = words[i] >= threshold;
}

/* The same from x of any float type, straight to y, of whole lines: n a multiple of LANES_PUT, both dense, y on a line. kept: the
 * mask of the span, or NULL. */
LANES_INLINE f32x16 kept_or_zero(const uint32_t *words, uint8_t *kept, uint32_t threshold, f32x16 v, float factor)
{
    u32x16 w;
    memcpy(&w, words, sizeof w);
#if defined __AVX512F__
    const __mmask16 keep = _mm512_cmpge_epu32_mask((__m512i)w, _mm512_set1_epi32((int)threshold));
    if (kept) _mm_storeu_si128((__m128i *)(void *)kept, _mm512_cvtepi32_epi8(_mm512_maskz_set1_epi32(keep, 1)));
    return (f32x16)_mm512_maskz_mul_ps(keep, (__m512)v, _mm512_set1_ps(factor));
#else
    for (int k = 0; k < LANES && kept; k++) kept[k] = w[k] >= threshold;
    return (f32x16)((i32x16)(v * factor) & (w >= threshold));
#endif
}

static void drop_lines(char *to, uint8_t *kept, const char *x, trine_dtype dtype, const uint32_t *words, int64_t n,
                       uint32_t threshold, float factor, bool stream)
{
#define DROP(mask) LANES_PUT_EACH(dtype, to, n, stream, kept_or_zero(words + i, mask, threshold, lanes_load(x, type_, i), factor))
    if (kept)
        DROP(kept + i);
    else
        DROP(NULL);
}

/* low + range u for u of 24 bits in [0, 1). */
static void spread(float *y, const uint32_t *words, int64_t n, float low, float range)
{
    for (int64_t i = 0; i < n; i++) y[i] = low + range * ((float)(int32_t)(words[i] >> 8) * 0x1p-24f);
}

LANES_INLINE f32x16 spread_lanes(const uint32_t *words, float low, float range)
{
    u32x16 w;
    memcpy(&w, words, sizeof w);
    return range * (__builtin_convertvector((i32x16)(w >> 8), f32x16) * 0x1p-24f) + low;
}

static void spread_lines(char *to, trine_dtype dtype, const uint32_t *words, int64_t n, float low, float range, bool stream)
{
    LANES_PUT_EACH(dtype, to, n, stream, spread_lanes(words + i, low, range));
}

/* Whole pairs: y may get one element before the first and one past the last. */
static void box_muller(float *y, const uint32_t *words, int64_t pairs, float mean, float std)
{
    for (int64_t i = 0; i < pairs; i++) {
        float sine, cosine;
        float u = (float)(int32_t)((words[2 * i] >> 8) + 1) * 0x1p-24f, v = (float)(int32_t)(words[2 * i + 1] >> 8) * 0x1p-24f;
        float r = std * sqrtf(-2.0f * vm_log(u));
        vm_sincos2pi(v, &sine, &cosine);
        y[2 * i] = mean + r * cosine;
        y[2 * i + 1] = mean + r * sine;
    }
}

/* ---- The ops: spans of the row-major walk ---- */

typedef struct job {
    philox source;
    trine_iter outer;
    int64_t n, numel, step[TRINE_ITER_OPERANDS], size;
    char *y, *x; /* x: of dropout alone */
    uint8_t *mask;
    trine_dtype dtype;
    bool stream, stream_mask;
    enum { DROPOUT, UNIFORM, NORMAL } kind;
    uint32_t threshold;
    float a, b; /* dropout: the factor; low and range; mean and std */
} job;

/* Whole lines straight to `to`; false: something has to go another way. */
static bool run_lines(const job *j, int64_t m, char *to, uint8_t *kept, const char *from, const uint32_t *words)
{
    if (!LANES_PUTS || j->kind == NORMAL || j->step[0] != 1 || m % LANES_PUT != 0 || (uintptr_t)to % 64 != 0) return false;
    if (j->kind == UNIFORM)
        spread_lines(to, j->dtype, words, m, j->a, j->b, j->stream);
    else if (j->step[1] == 1)
        drop_lines(to, kept, from, j->dtype, words, m, j->threshold, j->a, j->stream);
    return j->kind == UNIFORM || j->step[1] == 1;
}

/* Elements [i, i + m) at `from` (of x) and to `to`. */
static void run_span(const job *j, int64_t i, int64_t m, char *to, const char *from)
{
    SPAN_BUFFER(in);
    _Alignas(64) float out[SPAN_MAX + 2];
    _Alignas(64) uint8_t mask[SPAN_MAX], *kept = j->mask ? mask : NULL;
    WORD_BUFFER(buffer);
    const uint32_t *words = philox_span(buffer, &j->source, i, m, j->step[1] == 1 ? from : NULL, j->size);
    const int64_t odd = j->kind == NORMAL ? i % 2 : 0; /* a pair that began before the span */
    if (!run_lines(j, m, to, kept, from, words)) {
        if (j->kind == DROPOUT)
            drop(out, kept, cpu_load(in, from, j->dtype, m, j->step[1]), words, m, j->threshold, j->a);
        else if (j->kind == UNIFORM)
            spread(out, words, m, j->a, j->b);
        else
            box_muller(out, words - odd, (odd + m + 1) / 2, j->a, j->b);
        cpu_store(to, j->dtype, out + odd, m, j->step[0], j->stream);
    }
    if (kept) span_copy_bytes(j->mask + i, kept, m, j->stream_mask);
}

/* As span_length, of at most SPAN elements. */
static int64_t span_of(const char *to, int64_t size, int64_t left)
{
    const int64_t off = (int64_t)((uintptr_t)to % 64), most = SPAN - off / size;
    return left < most ? left : most;
}

static void run_range(const job *j, cpu_range range)
{
    for (int64_t i = range.begin, m; i < range.end; i += m) {
        int64_t row = i / j->n, column = i - row * j->n, offset[TRINE_ITER_OPERANDS];
        int64_t left = j->n - column < range.end - i ? j->n - column : range.end - i;
        trine_iter_offsets(&j->outer, row, offset);
        char *to = j->y + (offset[0] + column * j->step[0]) * j->size;
        m = span_of(to, j->size, left);
        run_span(j, i, m, to, j->x ? j->x + (offset[1] + column * j->step[1]) * j->size : NULL);
    }
    span_fence();
}

static trine_status run(job *j, const trine_tensor *y, const trine_tensor *x)
{
    j->outer = trine_iter_make((const trine_tensor *[]){y, x ? x : y}, 2, 1);
    j->numel = j->outer.numel;
    if (j->numel == 0) return TRINE_OK;
    j->dtype = y->dtype;
    j->size = trine_dtype_bits(y->dtype) / 8;
    j->stream = span_should_stream(j->numel * j->size);
    j->stream_mask = span_should_stream(j->numel);
    j->y = y->data;
    j->x = x ? x->data : NULL;
    j->n = trine_iter_pop_inner(&j->outer, j->step);
    CPU_PARALLEL_FOR(range, j->numel, CPU_GRAIN) run_range(j, range);
    return TRINE_OK;
}

trine_status TRINE_CPU(dropout)(trine_call *call, const trine_dropout_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    job j = {.source = philox_make(a->seed, a->offset),
             .kind = DROPOUT,
             .threshold = (uint32_t)((double)a->p * 0x1p32),
             .a = 1.0f / (1.0f - a->p),
             .mask = a->mask.data};
    return run(&j, &a->y, &a->x);
}

trine_status TRINE_CPU(uniform)(trine_call *call, const trine_uniform_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    job j = {.source = philox_make(a->seed, a->offset), .kind = UNIFORM, .a = a->low, .b = a->high - a->low};
    return run(&j, &a->y, NULL);
}

trine_status TRINE_CPU(normal)(trine_call *call, const trine_normal_args *a)
{
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    job j = {.source = philox_make(a->seed, a->offset), .kind = NORMAL, .a = a->mean, .b = a->std};
    return run(&j, &a->y, NULL);
}
