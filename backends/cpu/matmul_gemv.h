/* gemv: products of a matrix with at most four vectors. Bound by bytes: the matrix w is read once.
 *
 * Where w is dense along K, a row's sums are inner products; where it is dense along its rows, the sums of a thread's rows stay
 * in the caches while it goes along K, eight terms at a time. The vectors are converted to f32 first. Threads share the rows and
 * wait for nobody. */
#ifndef TRINE_CPU_MATMUL_GEMV_H
#define TRINE_CPU_MATMUL_GEMV_H

#include "backends/cpu/matmul_epilogue.h"
#include "backends/cpu/matmul_pack.h"

enum { GEMV_TERMS = 8, GEMV_CHAINS = 2 };

typedef struct gemv_work {
    trine_thin thin;
    const void *w;
    int64_t first; /* element of w's row 0 */
    float *x;      /* [thin][K] */
    float *sums;   /* [thin][rows] */
} gemv_work;

/* Running sums of a row's inner products: vectors, and what is left over from whole vectors. */
typedef struct gemv_sums {
    vec chain[TRINE_THIN_MOST][GEMV_CHAINS];
    float rest[TRINE_THIN_MOST];
} gemv_sums;

/* Adds n terms of a row. `thin` is a constant wherever this is called. */
static inline __attribute__((always_inline)) void add_terms(const int thin, gemv_sums *sums, const float *line, const float *x,
                                                            int64_t x_pitch, int64_t n)
{
    enum { STEP = GEMV_CHAINS * VEC_LANES };
    vec sum[TRINE_THIN_MOST][GEMV_CHAINS];
    int64_t i = 0;
    for (int s = 0; s < thin; s++)
        for (int j = 0; j < GEMV_CHAINS; j++) sum[s][j] = sums->chain[s][j];
    for (; i + STEP <= n; i += STEP) {
#pragma GCC unroll 8
        for (int j = 0; j < GEMV_CHAINS; j++) {
            const vec w = vec_load(line + i + j * VEC_LANES);
#pragma GCC unroll 8
            for (int s = 0; s < thin; s++) sum[s][j] = vec_fma(w, vec_load(x + s * x_pitch + i + j * VEC_LANES), sum[s][j]);
        }
    }
    for (int s = 0; s < thin; s++)
        for (int64_t k = i; k < n; k++) sums->rest[s] = TRINE_FMA(line[k], x[s * x_pitch + k], sums->rest[s]);
    for (int s = 0; s < thin; s++)
        for (int j = 0; j < GEMV_CHAINS; j++) sums->chain[s][j] = sum[s][j];
}

/* One function a number of vectors, each with its own registers. */
typedef void (*add_terms_fn)(gemv_sums *sums, const float *line, const float *x, int64_t x_pitch, int64_t n);
#define ADD_TERMS(thin) \
    static __attribute__((noinline)) void add_terms_##thin(gemv_sums *sums, const float *line, const float *x, int64_t x_pitch, \
                                                           int64_t n) \
    { \
        add_terms(thin, sums, line, x, x_pitch, n); \
    }
ADD_TERMS(1)
ADD_TERMS(2)
ADD_TERMS(3)
ADD_TERMS(4)
#undef ADD_TERMS
static const add_terms_fn add_terms_of[TRINE_THIN_MOST + 1] = {NULL, add_terms_1, add_terms_2, add_terms_3, add_terms_4};

static float total_of(const gemv_sums *sums, int s)
{
    vec all = sums->chain[s][0];
    float total = 0;
    for (int j = 1; j < GEMV_CHAINS; j++) all += sums->chain[s][j];
    for (int lane = 0; lane < VEC_LANES; lane++) total += all[lane];
    return total + sums->rest[s];
}

static void rows_along_k(const trine_product *p, const gemv_work *g, cpu_range rows)
{
    const trine_thin *t = &g->thin;
    SPAN_BUFFER(buffer);
    for (int64_t r = rows.begin; r < rows.end; r++) {
        gemv_sums sums = {0};
        for (int64_t k = 0, n; k < p->k; k += n) {
            n = p->k - k < SPAN_MAX ? p->k - k : SPAN_MAX;
            const float *line = load_line(buffer, g->w, p->dtype, g->first + r * t->w_row + k * t->w_k, n, t->w_k);
            add_terms_of[t->thin](&sums, line, g->x + k, p->k, n);
        }
        for (int s = 0; s < t->thin; s++) g->sums[s * t->rows + r] = total_of(&sums, s);
    }
}

/* n sums += x[0] w[0] + x[1] w[1] + ..., of lines of f32 or bf16; asks for what lies `ahead` bytes behind them. `narrow` is a
 * constant. */
static inline __attribute__((always_inline)) void add_lines(const bool narrow, float *restrict sums, const char *const *w,
                                                            const float *x, int64_t n, int64_t ahead)
{
    const int64_t size = narrow ? 2 : 4, whole = n - n % VEC_LANES;
    vec by[GEMV_TERMS];
#pragma GCC unroll 8
    for (int i = 0; i < GEMV_TERMS; i++) by[i] = vec_all(x[i]);
    for (int64_t j = 0; j < whole; j += VEC_LANES) {
        vec sum = vec_load(sums + j);
#pragma GCC unroll 8
        for (int i = 0; i < GEMV_TERMS; i++) {
            const char *from = w[i] + j * size;
            if (j * size % 64 == 0) __builtin_prefetch((const void *)((uintptr_t)from + (uintptr_t)ahead), 0, 2);
            sum = vec_fma(
                by[i], narrow ? widen_halves((const uint16_t *)(const void *)from) : vec_load((const float *)(const void *)from),
                sum);
        }
        vec_store(sums + j, sum);
    }
    for (int64_t j = whole; j < n; j++)
        for (int i = 0; i < GEMV_TERMS; i++) {
            const float number = narrow ? trine_f32_of_bits((uint32_t)((const uint16_t *)(const void *)w[i])[j] << 16)
                                        : ((const float *)(const void *)w[i])[j];
            sums[j] = TRINE_FMA(x[i], number, sums[j]);
        }
}

static __attribute__((noinline)) void add_lines_of_f32(float *sums, const char *const *w, const float *x, int64_t n,
                                                       int64_t ahead)
{
    add_lines(false, sums, w, x, n, ahead);
}

static __attribute__((noinline)) void add_lines_of_bf16(float *sums, const char *const *w, const float *x, int64_t n,
                                                        int64_t ahead)
{
    add_lines(true, sums, w, x, n, ahead);
}

/* A last group of fewer terms is filled up with zeros. Lines of f32 and bf16 are read as they lie. */
static void rows_along_rows(const trine_product *p, const gemv_work *g, cpu_range rows)
{
    static const float zeros[SPAN_MAX];
    const trine_thin *t = &g->thin;
    const trine_dtype dtype = p->dtype;
    const bool direct = t->w_row == 1 && (dtype == TRINE_F32 || dtype == TRINE_BF16), narrow = direct && dtype == TRINE_BF16;
    const int64_t ahead = direct ? GEMV_TERMS * t->w_k * size_of(dtype) : 0; /* the next group */
    _Alignas(64) float buffer[GEMV_TERMS][SPAN_MAX];
    for (int s = 0; s < t->thin; s++)
        memset(g->sums + s * t->rows + rows.begin, 0, (size_t)(rows.end - rows.begin) * sizeof(float));
    for (int64_t k = 0; k < p->k; k += GEMV_TERMS)
        for (int64_t r = rows.begin, n; r < rows.end; r += n) {
            const char *line[GEMV_TERMS];
            n = rows.end - r < SPAN_MAX ? rows.end - r : SPAN_MAX;
            for (int i = 0; i < GEMV_TERMS; i++) {
                const int64_t first = g->first + r * t->w_row + (k + i) * t->w_k;
                line[i] = (const char *)zeros;
                if (k + i >= p->k) continue;
                line[i] =
                    direct ? element(g->w, dtype, first) : (const char *)load_line(buffer[i], g->w, dtype, first, n, t->w_row);
            }
            for (int s = 0; s < t->thin; s++) {
                float x[GEMV_TERMS];
                for (int i = 0; i < GEMV_TERMS; i++) x[i] = k + i < p->k ? g->x[s * p->k + k + i] : 0;
                (narrow ? add_lines_of_bf16 : add_lines_of_f32)(g->sums + s * t->rows + r, line, x, n, s ? 0 : ahead);
            }
        }
}

/* Rows of w are columns of d where the vectors are a's, else rows. */
static void finish_rows(const trine_product *p, const product_place *at, const gemv_work *g, cpu_range rows)
{
    const trine_thin *t = &g->thin;
    for (int s = 0; t->of_a && s < t->thin; s++)
        finish_row(p, at, s, rows.begin, g->sums + s * t->rows + rows.begin, rows.end - rows.begin);
    for (int64_t r = rows.begin; !t->of_a && r < rows.end; r++) {
        float sums[TRINE_THIN_MOST];
        for (int s = 0; s < t->thin; s++) sums[s] = g->sums[s * t->rows + r];
        finish_row(p, at, r, 0, sums, t->thin);
    }
}

/* The vectors as f32, [thin][K]. Every member makes its own: that takes less than waiting for others. */
static void load_vectors(const trine_product *p, const product_place *at, const trine_thin *t, float *x)
{
    for (int s = 0; s < t->thin; s++)
        for (int64_t k = 0, n; k < p->k; k += n, x += n) {
            n = p->k - k < SPAN_MAX ? p->k - k : SPAN_MAX;
            const int64_t first = (t->of_a ? at->a : at->b) + s * t->x_row + k * t->x_k;
            const float *line = load_line(x, t->of_a ? p->a : p->b, p->dtype, first, n, t->x_k);
            if (line != x) memcpy(x, line, (size_t)n * sizeof *x);
        }
}

static void gemv_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    gemv_work g;
    trine_thin_make(&g.thin, p);
    const int64_t vectors = g.thin.thin * p->k;
    g.w = g.thin.of_a ? p->b : p->a;
    g.first = g.thin.of_a ? at->b : at->a;
    g.x = (float *)(void *)team->memory + team->thread * vectors;
    g.sums = (float *)(void *)team->memory + team->threads * vectors;
    const cpu_range rows = team_range(team, g.thin.rows, 16);
    load_vectors(p, at, &g.thin, g.x);
    if (trine_thin_along_k(&g.thin))
        rows_along_k(p, &g, rows);
    else
        rows_along_rows(p, &g, rows);
    finish_rows(p, at, &g, rows);
}

static inline trine_status matmul_gemv(trine_call *call, const void *args)
{
    trine_product p;
    trine_thin thin;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    TRINE_REQUIRE_THAT(call, trine_thin_make(&thin, &p), "needs M or N of at most 4");
    team_plan team = team_plan_make(&p);
    team.memory = (size_t)thin.thin * ((size_t)p.k * (size_t)team.members + (size_t)thin.rows) * sizeof(float);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, &p, &team, gemv_product);
    return TRINE_OK;
}

#endif
