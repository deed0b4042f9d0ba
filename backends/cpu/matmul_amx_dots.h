/* amx_dots: products of up to AMX_DOTS_MOST vectors with a matrix of bf16 that is dense along K, on the matrix unit. Bound by bytes: the
 * matrix's rows are tiles of a as they lie, 32 at a time; only the vectors are packed, once for all threads.
 *
 * Rows are looked through for subnormal numbers first, some KiB of each, which is also how they get into the caches: read from front
 * to back, as memory is fastest. Where there are such, their terms are packed and multiplied in f32, as are those that fill no block
 * of 32. Every sum is made by one thread in the order of k: the bits don't depend on the number of threads. */
#ifndef TRINE_CPU_MATMUL_AMX_DOTS_H
#define TRINE_CPU_MATMUL_AMX_DOTS_H

#include "backends/cpu/matmul_amx.h"

/* AMX_DOTS_PART: pairs of a row that are looked through at once. AMX_DOTS_TASK: rows. */
enum { AMX_DOTS_MOST = 128, AMX_DOTS_PANELS = AMX_DOTS_MOST / 32, AMX_DOTS_PART = 2048, AMX_DOTS_TASK = 64, AMX_DOTS_LEAST = 32 };

#if defined __AVX512F__

typedef struct amx_dots_work {
    trine_thin thin;
    pack_source w, x;
    const float *packed; /* x: [panel][pair][32][2] */
    int64_t pairs;       /* of x, filled up */
    int64_t panels;
    const float *subnormal; /* of x: of each part of each panel */
} amx_dots_work;

/* Parts of x that are packed at once. */
static inline int64_t amx_dots_parts(int64_t k) { return blocks_of(blocks_of(k, 2), AMX_PART); }

static inline size_t amx_dots_floats(const trine_product *p, const trine_thin *t)
{
    const int64_t panels = blocks_of(t->thin, AMX_ROWS), parts = amx_dots_parts(p->k);
    return (size_t)(panels * parts * (AMX_PART * AMX_ROWS + 1));
}

static void pack_amx_vectors(cpu_team *team, const amx_dots_work *g, float *packed, float *subnormal)
{
    for (int64_t k = 0, part = 0; k < g->x.terms; k += AMX_PART, part++) {
        pack_source s = g->x;
        s.first += 2 * k * s.k;
        s.begin_k += 2 * k;
        s.terms = smaller(AMX_PART, g->x.terms - k);
        s.odd = g->x.odd && k + s.terms == g->x.terms;
        pack_tile_columns(team, packed + k * AMX_ROWS, g->pairs * AMX_ROWS, subnormal + part * g->panels, &s);
    }
}

/* Whether so many bytes of 32 rows hold subnormal bf16. */
static inline bool rows_hold_subnormal(const char *from, int64_t pitch, int64_t bytes)
{
    vec_halves least[2] = {(vec_halves){0} - 1, (vec_halves){0} - 1};
    for (int64_t r = 0; r < AMX_ROWS; r++)
        for (int64_t i = 0; i + 64 <= bytes; i += 64) {
            vec_halves x;
            memcpy(&x, from + r * pitch + i, sizeof x);
            least[r & 1] = less_halves(least[r & 1], x);
        }
    return is_least_subnormal(least[0]) || is_least_subnormal(least[1]);
}

/* Some pairs from k on, by way of a panel. */
static __attribute__((noinline)) void add_packed_dots(const amx_dots_work *g, int64_t row, int64_t k, int64_t pairs, float *sums)
{
    _Alignas(64) float panel[AMX_PART * AMX_ROWS];
    const cpu_team alone = {.threads = 1};
    for (int64_t end = k + pairs; k < end; k += AMX_PART) {
        float subnormal;
        pack_source s = g->w;
        s.first += row * s.row + 2 * k;
        s.rows = AMX_ROWS;
        s.terms = smaller(AMX_PART, end - k);
        s.odd = g->w.odd && k + s.terms == g->w.terms;
        pack_tile_rows(&alone, panel, sizeof panel / sizeof *panel, &subnormal, &s);
        for (int64_t q = 0; q < g->panels; q++)
            multiply_blocks_in_f32(panel, g->packed + (q * g->pairs + k) * AMX_ROWS, blocks_of(s.terms, AMX_PAIRS),
                                   sums + q * AMX_SUMS, k > 0);
    }
}

/* sums[panel][32][32] of 32 rows. */
static void make_amx_dots(const amx_dots_work *g, int64_t row, float *sums)
{
    const char *w = element(g->w.data, TRINE_BF16, g->w.first + row * g->w.row);
    const int64_t pitch = g->w.row * size_of(TRINE_BF16), whole = (g->w.terms - g->w.odd) / AMX_PAIRS * AMX_PAIRS;
    for (int64_t k = 0, n; k < whole; k += n) {
        n = smaller(AMX_DOTS_PART, whole - k);
        const char *from = w + k * (int64_t)sizeof(float);
        const amx_rows rows = {from, from + AMX_TILE * pitch, pitch, 64, NULL};
        bool in_f32 = rows_hold_subnormal(rows.at, pitch, n * (int64_t)sizeof(float));
        for (int64_t i = k / AMX_PART * g->panels; i < blocks_of(k + n, AMX_PART) * g->panels; i++) in_f32 |= g->subnormal[i] > 0;
        if (in_f32) add_packed_dots(g, row, k, n, sums);
        for (int64_t q = 0; !in_f32 && q < g->panels; q++)
            multiply_tiles(rows, g->packed + (q * g->pairs + k) * AMX_ROWS, n / AMX_PAIRS, sums + q * AMX_SUMS, k > 0, AMX_ROWS,
                           g->thin.thin - q * AMX_ROWS, sums + (q + 1) % g->panels * AMX_SUMS);
    }
    if (whole < g->w.terms) add_packed_dots(g, row, whole, g->w.terms - whole, sums);
}

/* From sums[panel][32 rows][32 vectors] to vectors, `pitch` apart. */
static inline void turn_amx_dots(float *to, int64_t pitch, const float *sums, int64_t panels)
{
    for (int64_t q = 0; q < 4 * panels; q++) {
        const int64_t half = q & 1, column = q / 2 * AMX_TILE; /* of rows; of all vectors */
        const float *from = sums + column / AMX_ROWS * AMX_SUMS + half * AMX_TILE * AMX_ROWS + column % AMX_ROWS;
        const void *line[AMX_TILE];
        for (int i = 0; i < AMX_TILE; i++) line[i] = from + i * AMX_ROWS;
        turn_square(to + column * pitch + half * AMX_TILE, pitch, AMX_TILE, line, 0, 0);
    }
}

/* Rows [begin, end) of a panel of the matrix that begins at `row`, whose rows are d's, too. In one piece if they lie so: a call for a
 * row of some tens of numbers takes longer than its numbers. */
static void finish_amx_dots(const trine_product *p, const product_place *at, const amx_dots_work *g, int64_t row, int64_t begin,
                            int64_t end, const float *sums)
{
    _Alignas(64) float lines[AMX_ROWS * AMX_DOTS_MOST + AMX_ROWS];
    const int64_t n = g->thin.thin;
    const bool one = is_plain(p) && p->d_m == n;
    for (int64_t r = begin; r < end; r++) {
        float *line = lines + (one ? (r - begin) * n : 0);
        for (int64_t q = 0; q < g->panels; q++) /* the next row goes over what is too much */
            memcpy(line + q * AMX_ROWS, sums + q * AMX_SUMS + (r - row) * AMX_ROWS, AMX_ROWS * sizeof *line);
        if (!one) finish_row(p, at, r, 0, line, n);
    }
    void *const to = (void *)(uintptr_t)element(p->d, p->d_dtype, at->d + begin * p->d_m);
    if (one && end > begin) span_store(to, p->d_dtype, lines, (end - begin) * n, false);
}

/* Rows [begin, end) of the matrix, made in panels of 32; the last panel may begin before them. */
static void make_amx_dots_task(const trine_product *p, const product_place *at, const amx_dots_work *g, int64_t begin,
                               int64_t end)
{
    _Alignas(64) float sums[AMX_DOTS_PANELS * AMX_SUMS], turned[AMX_DOTS_MOST * AMX_DOTS_TASK];
    const int64_t last = g->thin.rows - AMX_ROWS, base = smaller(begin, last);
    int64_t done = begin; /* no row is finished twice: c may be d */
    for (int64_t r = base; r < end; r += AMX_ROWS) {
        const int64_t row = smaller(r, last);
        make_amx_dots(g, row, sums);
        if (g->thin.of_a) {
            turn_amx_dots(turned + row - base, AMX_DOTS_TASK, sums, g->panels);
            continue;
        }
        const int64_t made = smaller(row + AMX_ROWS, end);
        finish_amx_dots(p, at, g, row, done, made, sums);
        done = made;
    }
    for (int64_t v = 0; g->thin.of_a && v < g->thin.thin; v++)
        finish_row(p, at, v, begin, turned + v * AMX_DOTS_TASK + begin - base, end - begin);
}

static void amx_dots_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    amx_dots_work g = {.pairs = amx_dots_parts(p->k) * AMX_PART};
    trine_thin *t = &g.thin;
    trine_thin_at_most(t, p, AMX_DOTS_MOST);
    g.panels = blocks_of(t->thin, AMX_ROWS);
    g.w = source_of(t->of_a ? p->b : p->a, TRINE_BF16, t->of_a ? at->b : at->a, t->w_row, t->w_k, 0, 0);
    g.x = source_of(t->of_a ? p->a : p->b, TRINE_BF16, t->of_a ? at->a : at->b, t->x_row, t->x_k, 0, 0);
    g.w.pairs = g.x.pairs = true;
    g.w.odd = g.x.odd = p->k % 2;
    g.w.terms = g.x.terms = blocks_of(p->k, 2);
    g.x.rows = t->thin;
    float *packed = (float *)(void *)team->memory, *subnormal = packed + g.panels * g.pairs * AMX_ROWS;
    g.packed = packed;
    g.subnormal = subnormal;
    if (team->steps++ > 0) team_barrier(team); /* others may still need the last vectors */
    pack_amx_vectors(team, &g, packed, subnormal);
    team_barrier(team);
    amx_begin();
    const int64_t tasks = blocks_of(t->rows, AMX_DOTS_TASK);
    for (int64_t i; (i = team_next(team, tasks)) < tasks;)
        make_amx_dots_task(p, at, &g, i * AMX_DOTS_TASK, smaller((i + 1) * AMX_DOTS_TASK, t->rows));
    amx_end();
}

#else

static inline size_t amx_dots_floats(const trine_product *p, const trine_thin *t) { return (void)p, (void)t, 0; }

static inline void amx_dots_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    (void)p, (void)at, (void)team;
}

#endif

static inline trine_status matmul_amx_dots(trine_call *call, const void *args)
{
    trine_product p;
    trine_thin thin;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    TRINE_REQUIRE_THAT(call, suits_amx(&p), "needs bf16 and AMX-BF16");
    TRINE_REQUIRE_THAT(call, trine_thin_at_most(&thin, &p, AMX_DOTS_MOST), "needs M or N of at most 128");
    TRINE_REQUIRE_THAT(call, thin.thin >= AMX_LEAST, "needs M and N of 3 at least");
    TRINE_REQUIRE_THAT(call, thin.w_k == 1 && thin.rows >= AMX_DOTS_LEAST && p.k >= AMX_DOTS_LEAST,
                       "needs a matrix that is dense along K, and 32 rows and terms at least");
    team_plan team = team_plan_make(&p);
    team.memory = amx_dots_floats(&p, &thin) * sizeof(float);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, &p, &team, amx_dots_product);
    return TRINE_OK;
}

#endif
