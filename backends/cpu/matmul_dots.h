/* dots: products of up to DOTS_MOST vectors with a matrix that is dense along K; the vectors may lie in any way. Bound by bytes for
 * few vectors, then by multiply-adds: nothing is packed; inner products of some vectors with some of the matrix's rows run beside
 * each other, as many as the registers hold sums, each in the lanes of a vector. f32, and bf16 in pairs of terms as they lie
 * (matmul_kernel.h).
 *
 * Every thread copies the vectors for itself, dense and filled up with zeros, and has its own rows of the matrix. A row's sum is
 * made in the order of K by lanes, then of halves of the lanes: the bits don't depend on the number of threads. */
#ifndef TRINE_CPU_MATMUL_DOTS_H
#define TRINE_CPU_MATMUL_DOTS_H

#include "backends/cpu/matmul_register.h"

/* So many sums of 1, 2 or 4 vectors and some rows, and what is multiplied, fill the registers. DOTS_TASK: rows whose sums wait for
 * the epilogue, a multiple of each of these. DOTS_K_LEAST: bytes of a row. DOTS_COPY: terms or pairs copied at once. DOTS_AHEAD:
 * bytes of a row, or of those after it, that are asked for ahead. */
#if defined __AVX512F__
enum { DOTS_ROWS_OF_1 = 8, DOTS_ROWS_OF_2 = 8, DOTS_ROWS_OF_4 = 6 };
#else
enum { DOTS_ROWS_OF_1 = 4, DOTS_ROWS_OF_2 = 4, DOTS_ROWS_OF_4 = 2 };
#endif
enum {
    DOTS_MOST = 32,
    DOTS_TASK = 96,
    DOTS_ROWS_MOST = 8,
    DOTS_VECTORS_MOST = 4,
    DOTS_K_LEAST = 4 * (int)sizeof(vec),
    DOTS_COPY = 512,
    DOTS_AHEAD = 1024,
    DOTS_LINE = 64
};

typedef struct dots_work {
    trine_thin thin;
    const char *w;        /* row 0 of the matrix */
    int64_t pitch, bytes; /* of its rows: apart, long */
    const float *x;       /* vectors, x_pitch apart: terms or pairs, then zeros; vectors of zeros fill them up */
    int64_t x_pitch, vectors;
    bool pairs;     /* of bf16, a pair of terms a word; else f32 */
    bool subnormal; /* the vectors hold subnormal bf16 */
} dots_work;

/* Lanes that hold subnormal bf16. */
static inline __attribute__((always_inline)) vec_bits subnormal_lanes(vec pairs)
{
    return (vec_bits)(((vec_halves)pairs << 1) - 1 < 0xff);
}

/* The products of n bytes, at most a vector, at byte `at` of the rows; the rows' lanes that hold subnormal bf16, if asked for. */
static inline __attribute__((always_inline)) vec_bits add_dots(const panel_kind kind, const bool look, const int vectors,
                                                               const int rows, const dots_work *g, const float *x,
                                                               const char *const *w, int64_t at, size_t n,
                                                               vec (*sum)[DOTS_ROWS_MOST])
{
    vec right[DOTS_ROWS_MOST];
    vec_bits found = {0};
#pragma GCC unroll 8
    for (int j = 0; j < rows; j++) {
        if (n < sizeof right[j]) right[j] = (vec){0};
        memcpy(&right[j], w[j] + at, n);
        if (look) found |= subnormal_lanes(right[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) {
        const vec left = vec_load(x + i * g->x_pitch + at / (int64_t)sizeof *x);
#pragma GCC unroll 8
        for (int j = 0; j < rows; j++) sum[i][j] = add_product(kind, left, right[j], sum[i][j]);
    }
    return found;
}

/* Asks for the lines that rows, and after their end the rows that follow, have at byte `at`, a while ahead. */
static inline __attribute__((always_inline)) void ask_for_rows(const int rows, const dots_work *g, const char *const *w,
                                                               int64_t at)
{
    const int64_t soon = at + DOTS_AHEAD, next = soon < g->bytes ? soon : soon - g->bytes + rows * g->pitch;
    if (at % DOTS_LINE) return;
#pragma GCC unroll 8
    for (int j = 0; j < rows; j++) __builtin_prefetch((const void *)((uintptr_t)w[j] + (uintptr_t)next), 0, 2);
}

/* sums[vectors][rows], DOTS_TASK apart; whether the rows hold subnormal bf16, if asked for. The numbers are constants. */
static inline __attribute__((always_inline)) bool make_dots(const panel_kind kind, const bool look, const bool asks,
                                                            const int vectors, const int rows, const dots_work *g, const float *x,
                                                            const char *const *w, float *sums)
{
    vec sum[DOTS_VECTORS_MOST][DOTS_ROWS_MOST] = {0};
    vec_bits found = {0};
    int64_t at = 0;
    for (; at + (int64_t)sizeof(vec) <= g->bytes; at += (int64_t)sizeof(vec)) {
        if (asks) ask_for_rows(rows, g, w, at);
        found |= add_dots(kind, look, vectors, rows, g, x, w, at, sizeof(vec), sum);
    }
    if (at < g->bytes) found |= add_dots(kind, look, vectors, rows, g, x, w, at, (size_t)(g->bytes - at), sum);
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++)
#pragma GCC unroll 8
        for (int j = 0; j < rows; j++) sums[i * DOTS_TASK + j] = total_of_lanes(sum[i][j]);
    int32_t any = 0;
    for (int i = 0; look && i < VEC_LANES; i++) any |= found[i];
    return any != 0;
}

/* One vector and one row, subnormal numbers and all. */
static __attribute__((noinline)) void make_dot_in_f32(const dots_work *g, const float *x, const char *const *w, float *sum)
{
    make_dots(PANEL_PAIRS_IN_F32, false, false, 1, 1, g, x, w, sum);
}

/* All vectors with some rows. Where bf16 are subnormal, sums are made again. The numbers are constants. */
static inline __attribute__((always_inline)) void dots_of_rows(const int vectors, const int rows, const dots_work *g,
                                                               const char *const *w, float *sums)
{
    bool again = g->subnormal;
    for (int64_t s = 0; s < g->vectors; s += vectors) {
        const float *x = g->x + s * g->x_pitch;
        const bool asks = s == 0 && prefers_l2();
        if (!g->pairs)
            make_dots(PANEL_TERMS, false, asks, vectors, rows, g, x, w, sums + s * DOTS_TASK);
        else if (s > 0)
            make_dots(PANEL_PAIRS, false, false, vectors, rows, g, x, w, sums + s * DOTS_TASK);
        else
            again |= make_dots(PANEL_PAIRS, true, asks, vectors, rows, g, x, w, sums);
    }
    for (int64_t s = 0; again && g->pairs && s < g->thin.thin; s++)
        for (int j = 0; j < rows; j++) make_dot_in_f32(g, g->x + s * g->x_pitch, w + j, sums + s * DOTS_TASK + j);
}

/* `vectors` and `rows` are constants. A last block has its last row several times. */
static inline __attribute__((always_inline)) void dots_of_task(const int vectors, const int rows, const dots_work *g,
                                                               cpu_range task, float *sums)
{
    for (int64_t r = task.begin; r < task.end; r += rows) {
        const char *w[DOTS_ROWS_MOST];
        for (int j = 0; j < rows; j++) w[j] = g->w + smaller(r + j, task.end - 1) * g->pitch;
        dots_of_rows(vectors, rows, g, w, sums + (r - task.begin));
    }
}

/* ---- One vector, but on Intel's processors: row by row, for memory is read fastest from front to back ----
 *
 * There a core's few fill buffers bound one stream of requests into L1; several rows at once, asked for into L2, take 57 to 87 % of the
 * time (Granite Rapids, two cores: bf16 32768 x 4096 15.0 to 8.9 ms, 8192 x 16384 13.1 to 8.0; f32 19.5 to 17.4, 21.3 to 16.9). */

/* The sum of a row in several chains; whether it holds subnormal bf16, if asked for. `kind` and `look` are constants. */
static inline __attribute__((always_inline)) bool make_dot(const panel_kind kind, const bool look, const dots_work *g,
                                                           const char *w, float *total)
{
    enum { CHAINS = 8, AHEAD = 8192, SIZE = (int)sizeof(vec) };
    const char *x = (const char *)g->x;
    vec sum[CHAINS] = {0};
    vec_halves least = (vec_halves){0} - 1;
    int64_t at = 0;
    for (; at + CHAINS * SIZE <= g->bytes; at += CHAINS * SIZE) {
#pragma GCC unroll 8
        for (int j = 0; j < CHAINS; j++) {
            vec right; /* at any multiple of 2 bytes */
            memcpy(&right, w + at + j * SIZE, sizeof right);
            const void *ahead = (const void *)((uintptr_t)w + AHEAD + (uintptr_t)(at + j * SIZE));
            if (j * SIZE % DOTS_LINE == 0) __builtin_prefetch(ahead, 0, 0);
            if (look) least = less_halves(least, (vec_halves)right);
            sum[j] = add_product(kind, vec_load((const float *)(const void *)(x + at + j * SIZE)), right, sum[j]);
        }
    }
    for (; at < g->bytes; at += SIZE) {
        vec right = {0};
        memcpy(&right, w + at, (size_t)smaller(SIZE, g->bytes - at));
        if (look) least = less_halves(least, (vec_halves)right);
        sum[0] = add_product(kind, vec_load((const float *)(const void *)(x + at)), right, sum[0]);
    }
#pragma GCC unroll 4
    for (int step = CHAINS / 2; step > 0; step /= 2)
        for (int j = 0; j < step; j++) sum[j] += sum[j + step];
    *total = total_of_lanes(sum[0]);
    return look && is_least_subnormal(least);
}

static void dots_of_vector(const dots_work *g, cpu_range task, float *sums)
{
    for (int64_t r = task.begin; r < task.end; r++, sums++) {
        const char *w = g->w + r * g->pitch;
        if (!g->pairs)
            make_dot(PANEL_TERMS, false, g, w, sums);
        else if (make_dot(PANEL_PAIRS, true, g, w, sums) || g->subnormal)
            make_dot_in_f32(g, g->x, &w, sums);
    }
}

/* Rows of the matrix are columns of d where the vectors are a's, else rows. */
static void finish_dots(const trine_product *p, const product_place *at, const trine_thin *t, cpu_range rows, float *sums)
{
    for (int64_t s = 0; t->of_a && s < t->thin; s++)
        finish_row(p, at, s, rows.begin, sums + s * DOTS_TASK, rows.end - rows.begin);
    for (int64_t r = rows.begin; !t->of_a && r < rows.end; r++) {
        float row[DOTS_MOST];
        for (int s = 0; s < t->thin; s++) row[s] = sums[s * DOTS_TASK + r - rows.begin];
        finish_row(p, at, r, 0, row, t->thin);
    }
}

/* ---- The product ---- */

/* Numbers, terms or pairs, of a vector in the copy. */
static inline int64_t dots_pitch(const trine_product *p, bool pairs)
{
    return blocks_of(pairs ? blocks_of(p->k, 2) : p->k, VEC_LANES) * VEC_LANES;
}

static inline int dots_at_once(int64_t thin) { return thin > 2 ? 4 : thin == 2 ? 2 : 1; }

static inline int64_t dots_filled(int64_t thin) { return blocks_of(thin, dots_at_once(thin)) * dots_at_once(thin); }

static void copy_vectors(const trine_product *p, const product_place *at, const dots_work *g, float *x)
{
    const trine_thin *t = &g->thin;
    pack_source s = source_of(t->of_a ? p->a : p->b, p->dtype, t->of_a ? at->a : at->b, t->x_row, t->x_k, 0, 0);
    s.pairs = g->pairs;
    s.odd = g->pairs && p->k % 2;
    s.terms = g->pairs ? blocks_of(p->k, 2) : p->k;
    memset(x, 0, (size_t)(g->vectors * g->x_pitch) * sizeof *x);
    for (int64_t row = 0; row < t->thin; row++)
        for (int64_t k = 0, n; k < s.terms; k += n) {
            float *to = x + row * g->x_pitch + k;
            n = smaller(DOTS_COPY, s.terms - k);
            const float *line = source_line(to, &s, row, k, n, true);
            if (line != to) memcpy(to, line, (size_t)n * sizeof *to);
        }
}

static void dots_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    dots_work g = {.pairs = p->dtype == TRINE_BF16, .bytes = p->k * size_of(p->dtype)};
    trine_thin_at_most(&g.thin, p, DOTS_MOST);
    g.w = element(g.thin.of_a ? p->b : p->a, p->dtype, g.thin.of_a ? at->b : at->a);
    g.pitch = g.thin.w_row * size_of(p->dtype);
    g.x_pitch = dots_pitch(p, g.pairs);
    g.vectors = dots_filled(g.thin.thin);
    float *x = (float *)(void *)team->memory + team->thread * g.vectors * g.x_pitch;
    _Alignas(64) float sums[DOTS_MOST * DOTS_TASK];
    const cpu_range mine = team_range(team, g.thin.rows, 16);
    copy_vectors(p, at, &g, x);
    g.x = x;
    g.subnormal = g.pairs && any_subnormal(x, g.vectors * g.x_pitch);
    for (int64_t r = mine.begin; r < mine.end; r += DOTS_TASK) {
        const cpu_range task = {r, smaller(r + DOTS_TASK, mine.end)};
        if (g.vectors == 1 && prefers_l2())
            dots_of_task(1, DOTS_ROWS_OF_1, &g, task, sums);
        else if (g.vectors == 1)
            dots_of_vector(&g, task, sums);
        else if (g.vectors == 2)
            dots_of_task(2, DOTS_ROWS_OF_2, &g, task, sums);
        else
            dots_of_task(4, DOTS_ROWS_OF_4, &g, task, sums);
        finish_dots(p, at, &g.thin, task, sums);
    }
}

static inline trine_status matmul_dots(trine_call *call, const void *args)
{
    trine_product p;
    trine_thin thin;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    TRINE_REQUIRE_THAT(call, p.dtype == TRINE_F32 || (p.dtype == TRINE_BF16 && multiplies_pairs()),
                       "needs f32, or bf16 and AVX512-BF16");
    TRINE_REQUIRE_THAT(call, trine_thin_at_most(&thin, &p, DOTS_MOST), "needs M or N of at most 32");
    TRINE_REQUIRE_THAT(call, thin.w_k == 1 && p.k * size_of(p.dtype) >= DOTS_K_LEAST,
                       "needs a matrix that is dense along K, and rows of 4 vectors at least");
    team_plan team = team_plan_make(&p);
    team.memory = (size_t)(dots_filled(thin.thin) * dots_pitch(&p, p.dtype == TRINE_BF16) * team.members) * sizeof(float);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, &p, &team, dots_product);
    return TRINE_OK;
}

#endif
