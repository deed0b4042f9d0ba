/* register_tiled: the micro-kernel of matmul_kernel.h, fed from caches.
 *
 * d is made in blocks of BLOCK_M x BLOCK_N; a block goes through K in steps of at most BLOCK_K terms. For a step all threads pack
 * what it needs of a and b (matmul_pack.h), wait for each other, and take tasks: some panels of a, which stay in a core's L2,
 * times some panels of b, of which one at a time stays in L1. Bound by multiply-adds; a's and b's elements come from memory once
 * for BLOCK_N and BLOCK_M of them.
 *
 * Sums are kept between the steps in d itself where it is f32 and not c too, else in the workspace. Every sum is made by one
 * thread at a time, in the order of k: the bits don't depend on the number of threads. Goto & van de Geijn 2008, "Anatomy of
 * high-performance matrix multiplication". */
#ifndef TRINE_CPU_MATMUL_REGISTER_H
#define TRINE_CPU_MATMUL_REGISTER_H

#include "backends/cpu/matmul_pack.h"

enum { BLOCK_M = 2016, BLOCK_N = 2048, BLOCK_K = PACK_TERMS, TASK_PANELS_M = 16, TASK_PANELS_N = 8 };

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* n in equal blocks of at most `most`, which are multiples of unit. */
static inline int64_t even_block(int64_t n, int64_t most, int64_t unit)
{
    const int64_t blocks = n > 0 ? blocks_of(n, most) : 1;
    return blocks_of(blocks_of(n, blocks), unit) * unit;
}

/* For products whose operands or d are no matrices in memory: tells where an operand's elements come from, and takes n finished
 * sums of a row. */
typedef struct register_hooks {
    void (*source)(const trine_product *p, bool of_b, pack_source *source);
    void (*finish)(const trine_product *p, const product_place *at, int64_t row, int64_t column, float *sums, int64_t n);
} register_hooks;

typedef struct register_plan {
    bool pairs;                               /* panels hold pairs of terms */
    int64_t terms;                            /* or pairs, along K */
    int64_t block_m, block_n, block_k, steps; /* a sum over nothing is one step of no terms */
    bool direct;                              /* sums are kept in d */
    size_t a_panels, b_panels;        /* floats of a step's panels; behind them, a float a panel: whether it is subnormal */
    size_t a_size, b_size, sums_size; /* floats in the workspace */
    const register_hooks *hooks;      /* or NULL */
} register_plan;

static register_plan register_plan_make(const trine_product *p)
{
    const bool pairs = p->dtype == TRINE_BF16 && p->b_dtype == TRINE_BF16 && !p->has_scales && multiplies_pairs();
    register_plan plan = {.pairs = pairs,
                          .terms = pairs ? blocks_of(p->k, 2) : p->k,
                          .block_m = even_block(p->m, BLOCK_M, MR),
                          .block_n = even_block(p->n, BLOCK_N, NR)};
    plan.block_k = even_block(plan.terms, BLOCK_K, 1);
    plan.steps = plan.block_k ? blocks_of(plan.terms, plan.block_k) : 1;
    plan.direct = p->d_dtype == TRINE_F32 && !p->has_c;
    plan.a_panels = (size_t)(plan.block_m * plan.block_k + 16);
    plan.b_panels = (size_t)(plan.block_n * plan.block_k + 16);
    plan.a_size = (plan.a_panels + (size_t)(plan.block_m / MR) + 15) / 16 * 16;
    plan.b_size = (plan.b_panels + (size_t)(plan.block_n / NR) + 15) / 16 * 16;
    plan.sums_size = plan.direct ? 0 : (size_t)(plan.block_m * plan.block_n);
    return plan;
}

/* A step of a block: rows x columns of d from (row, column) on; first and last of the steps. */
typedef struct register_step {
    int64_t row, column, rows, columns, terms;
    bool first, last;
    const float *a, *b;                     /* packed */
    const float *a_subnormal, *b_subnormal; /* a panel; NULL: not of pairs */
    float *sums;                            /* of (row, column) */
    int64_t pitch;
    void (*finish)(const trine_product *p, const product_place *at, int64_t row, int64_t column, float *sums, int64_t n);
} register_step;

/* The tile of a panel of a and one of b; in d it may have to be cut. */
static void make_tile(const register_step *s, bool direct, int64_t i, int64_t j, panel_ahead ahead)
{
    const float *a = s->a + i * MR * s->terms, *b = s->b + j * NR * s->terms;
    float *to = s->sums + i * MR * s->pitch + j * NR;
    const int64_t rows = smaller(MR, s->rows - i * MR), columns = smaller(NR, s->columns - j * NR);
    panel_kind kind = PANEL_TERMS;
    if (s->a_subnormal) kind = s->a_subnormal[i] + s->b_subnormal[j] > 0 ? PANEL_PAIRS_IN_F32 : PANEL_PAIRS;
    if (!direct || (rows_made(rows) == rows && columns == NR)) {
        multiply_panels(kind, a, b, s->terms, to, s->pitch, !s->first, rows, ahead);
        return;
    }
    _Alignas(64) float tile[MR * NR];
    multiply_panels(kind, a, b, s->terms, tile, NR, false, rows, ahead);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) to[r * s->pitch + c] = tile[r * NR + c] + (s->first ? 0 : to[r * s->pitch + c]);
}

/* The part of the next panel of b that tile `tile` of a task's `tiles` asks for. */
static panel_ahead next_panel(const register_step *s, int64_t tile, int64_t tiles, int64_t panel)
{
    const int64_t each = blocks_of(NR * (int64_t)sizeof(float), tiles);
    if (!prefers_l2() || s->a_subnormal || panel * NR >= s->columns) return (panel_ahead){0};
    return (panel_ahead){(const char *)(s->b + panel * NR * s->terms) + tile * each * s->terms, each};
}

/* Panels [i0, i1) of a times panels [j0, j1) of b; after the last step, their part of d is finished. */
static void make_task(const trine_product *p, const product_place *at, const register_step *s, bool direct, int64_t i0,
                      int64_t i1, int64_t j0, int64_t j1)
{
    for (int64_t j = j0; j < j1; j++)
        for (int64_t i = i0; i < i1; i++) make_tile(s, direct, i, j, next_panel(s, i - i0, i1 - i0, j + 1));
    if (!s->last || (direct && is_plain(p))) return;
    const int64_t end = smaller(i1 * MR, s->rows), columns = smaller(j1 * NR, s->columns) - j0 * NR;
    for (int64_t r = i0 * MR; r < end; r++)
        s->finish(p, at, s->row + r, s->column + j0 * NR, s->sums + r * s->pitch + j0 * NR, columns);
}

static void make_step(const trine_product *p, const product_place *at, cpu_team *team, const register_step *s, bool direct)
{
    const int64_t panels_m = blocks_of(s->rows, MR), panels_n = blocks_of(s->columns, NR);
    int64_t task_m = TASK_PANELS_M, task_n = TASK_PANELS_N;
    /* enough tasks for all, if need be small ones */
    while (blocks_of(panels_m, task_m) * blocks_of(panels_n, task_n) < 4 * team->threads && task_m * task_n > 1)
        if (task_m > task_n)
            task_m /= 2;
        else
            task_n /= 2;
    const int64_t tasks_n = blocks_of(panels_n, task_n), tasks = blocks_of(panels_m, task_m) * tasks_n;
    for (int64_t task; (task = team_next(team, tasks)) < tasks;) {
        const int64_t i = task / tasks_n * task_m, j = task % tasks_n * task_n;
        make_task(p, at, s, direct, i, smaller(i + task_m, panels_m), j, smaller(j + task_n, panels_n));
    }
}

static pack_source source_of(const void *data, trine_dtype dtype, int64_t first, int64_t row, int64_t k, int64_t begin_row,
                             int64_t begin_k)
{
    return (pack_source){
        .data = data, .dtype = dtype, .first = first, .row = row, .k = k, .begin_row = begin_row, .begin_k = begin_k};
}

static void set_scales(pack_source *s, const trine_product_scale *scale, int64_t offset)
{
    s->scale = scale;
    s->scales = scale->data + offset;
}

/* Packed panels have two places in turn: members pack for the next step while others are still busy with this one. */
static void make_block(const trine_product *p, const product_place *at, cpu_team *team, const register_plan *plan, int64_t row,
                       int64_t column)
{
    float *memory = (float *)(void *)team->memory, *sums = memory + 2 * (plan->a_size + plan->b_size);
    register_step s = {.row = row,
                       .column = column,
                       .rows = smaller(plan->block_m, p->m - row),
                       .columns = smaller(plan->block_n, p->n - column)};
    s.sums = plan->direct ? (float *)p->d + at->d + row * p->d_m + column : sums;
    s.pitch = plan->direct ? p->d_m : plan->block_n;
    s.finish = plan->hooks && plan->hooks->finish ? plan->hooks->finish : finish_row;
    for (int64_t step = 0; step < plan->steps; step++) {
        const int64_t k = step * plan->block_k * (plan->pairs ? 2 : 1);
        float *a = memory + (team->threads > 1 && team->steps++ % 2 ? plan->a_size + plan->b_size : 0), *b = a + plan->a_size;
        s.a = a;
        s.b = b;
        s.first = step == 0;
        s.last = step + 1 == plan->steps;
        s.terms = smaller(plan->block_k, plan->terms - step * plan->block_k);
        pack_source from_a = source_of(p->a, p->dtype, at->a + row * p->a_m + k * p->a_k, p->a_m, p->a_k, row, k);
        pack_source from_b = source_of(p->b, p->b_dtype, at->b + column * p->b_n + k * p->b_k, p->b_n, p->b_k, column, k);
        from_a.rows = s.rows;
        from_b.rows = s.columns;
        from_a.terms = from_b.terms = s.terms;
        from_a.pairs = from_b.pairs = plan->pairs;
        from_a.odd = from_b.odd = plan->pairs && s.last && p->k % 2;
        if (p->has_scales) {
            set_scales(&from_a, &p->a_scale, at->a_scale);
            set_scales(&from_b, &p->b_scale, at->b_scale);
        }
        if (plan->hooks) plan->hooks->source(p, false, &from_a);
        if (plan->hooks) plan->hooks->source(p, true, &from_b);
        float *a_subnormal = a + plan->a_panels, *b_subnormal = b + plan->b_panels;
        pack_a(team, a, a_subnormal, &from_a);
        pack_b(team, b, b_subnormal, &from_b);
        s.a_subnormal = plan->pairs ? a_subnormal : NULL;
        s.b_subnormal = b_subnormal;
        team_barrier(team);
        make_step(p, at, team, &s, plan->direct);
    }
}

static void make_blocks(const trine_product *p, const product_place *at, cpu_team *team, const register_plan *plan)
{
    for (int64_t column = 0; column < p->n; column += plan->block_n)
        for (int64_t row = 0; row < p->m; row += plan->block_m) make_block(p, at, team, plan, row, column);
}

static inline void register_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    const register_plan plan = register_plan_make(p);
    make_blocks(p, at, team, &plan);
}

static inline trine_status run_register_tiled(trine_call *call, const trine_product *p)
{
    const register_plan plan = register_plan_make(p);
    team_plan team = team_plan_make(p);
    team.memory = (2 * (plan.a_size + plan.b_size) + plan.sums_size) * sizeof(float);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, p, &team, register_product);
    return TRINE_OK;
}

static inline trine_status matmul_register_tiled(trine_call *call, const void *args)
{
    trine_product p;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    return run_register_tiled(call, &p);
}

#endif
