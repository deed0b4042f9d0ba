/* unpacked: f32 products in which both operands are read where they lie, a dense along K or M, b along N. Packing b takes as long
 * as multiplying it with some 30 rows, a barrier, and, where cores share it, a transfer of every line from one's caches to another's;
 * here nobody waits for it. Pays for few rows, bound by bytes then (b is read once), and for small products.
 *
 * A task is some rows and columns. It goes through K in steps of some terms, whose pieces of b's rows, a chunk of columns wide, lie in
 * L1 and L2 while all tiles of rows are multiplied with them; sums stay in L2, or are made in d itself if there is but one step.
 * Columns that are no whole vector are copied. A sum is made by one thread, in the order of k. */
#ifndef TRINE_CPU_MATMUL_UNPACKED_H
#define TRINE_CPU_MATMUL_UNPACKED_H

#include "backends/cpu/matmul_place_kernel.h"
#include "backends/cpu/matmul_register.h"

enum {
    UNPACKED_STEP = 64,                       /* terms of a step, where b comes from memory */
    UNPACKED_FEW = 16,                        /* up to so many rows it is so few, unless panels of columns are wide */
    UNPACKED_SMALL = 1 << 20,                 /* bytes of a b that is in the caches already: more terms are a step then, */
    UNPACKED_WHOLE = 512,                     /* so many */
    UNPACKED_ROWS = 128,                      /* beyond these, packing pays, */
    UNPACKED_MANY = 384,                      /* beyond these if b is small, too */
    UNPACKED_LEAST = 2,                       /* a row is a vector */
    UNPACKED_COLUMNS = 2048,                  /* of a task, at most */
    UNPACKED_SUMS = 1 << 19,                  /* bytes of a task's sums */
    UNPACKED_A = 1 << 20,                     /* bytes of a's rows in a task where b is small */
    UNPACKED_AHEAD = WIDE_NR > 16 ? 384 : 256 /* bytes */
};

typedef struct unpacked_tile {
    const float *a, *b;
    int64_t a_row, rows; /* of which there are so many: where a is dense along K, the last one stands for what is lacking */
    int64_t a_k, b_k;
    int64_t k, terms; /* from term k on */
    float *out;
    int64_t pitch;
    bool add;
} unpacked_tile;

/* sum += the products of term k; asks: for what lies UNPACKED_AHEAD behind b's vectors. turned: a's numbers of the term lie side by
 * side, else k behind those of the first one. */
static inline __attribute__((always_inline)) void add_unpacked(const int rows, const int nv, const bool asks, const bool turned,
                                                               const char *const *from, const float *a, int64_t k, const float *b,
                                                               vec (*sum)[WIDE_NV])
{
    const char *beside[MR];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) beside[i] = (const char *)(a + i);
    for (int j = 0; asks && j < nv; j++) __builtin_prefetch((const char *)(b + j * VEC_LANES) + UNPACKED_AHEAD, 0, 2);
    add_place(PANEL_TERMS, rows, nv, turned ? beside : from, turned ? 0 : k, b, sum);
    keep_sums(rows, nv, WIDE_NV, sum[0]);
}

/* Sums of rows x nv vectors. All but the tile are constants. (Copying b's vectors in the first tile for those after it made products
 * of 32 and 64 rows 10 % slower.) */
static inline __attribute__((always_inline)) void multiply_unpacked(const int rows, const int nv, const bool asks,
                                                                    const bool turned, const unpacked_tile *t)
{
    const char *from[MR];
    const float *a = t->a, *b = t->b;
    const int64_t a_k = t->a_k, b_k = t->b_k;
    vec sum[MR][WIDE_NV] = {0};
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        from[i] = (const char *)(a + smaller(i, t->rows - 1) * t->a_row);
        if (!t->add) continue;
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) sum[i][j] = vec_load(t->out + i * t->pitch + j * VEC_LANES);
    }
    int64_t k = 0;
    for (; k + TERMS_UNROLLED <= t->terms; k += TERMS_UNROLLED) {
#pragma GCC unroll 16
        for (int u = 0; u < TERMS_UNROLLED; u++, a += a_k, b += b_k) add_unpacked(rows, nv, asks, turned, from, a, k + u, b, sum);
    }
    for (; k < t->terms; k++, a += a_k, b += b_k) add_unpacked(rows, nv, asks, turned, from, a, k, b, sum);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) vec_store(t->out + i * t->pitch + j * VEC_LANES, sum[i][j]);
}

enum { UNPACKED_MR = WIDE_MR, UNPACKED_HALF = WIDE_MR / 2 };

typedef void (*unpacked_fn)(const unpacked_tile *t);

/* name[asks][turned] */
#define MULTIPLY_UNPACKED(name, rows, nv) \
    static __attribute__((noinline)) void name##_plain(const unpacked_tile *t) { multiply_unpacked(rows, nv, false, false, t); } \
    static __attribute__((noinline)) void name##_turned(const unpacked_tile *t) { multiply_unpacked(rows, nv, false, true, t); } \
    static __attribute__((noinline)) void name##_asks(const unpacked_tile *t) { multiply_unpacked(rows, nv, true, false, t); } \
    static __attribute__((noinline)) void name##_turned_asks(const unpacked_tile *t) \
    { \
        multiply_unpacked(rows, nv, true, true, t); \
    } \
    static const unpacked_fn name[2][2] = {{name##_plain, name##_turned}, {name##_asks, name##_turned_asks}};
MULTIPLY_UNPACKED(unpacked_of_1, UNPACKED_MR, 1)
MULTIPLY_UNPACKED(unpacked_of_2, UNPACKED_MR, 2)
MULTIPLY_UNPACKED(unpacked_of_3, UNPACKED_MR, WIDE_NV)
MULTIPLY_UNPACKED(unpacked_half_of_1, UNPACKED_HALF, 1)
MULTIPLY_UNPACKED(unpacked_half_of_2, UNPACKED_HALF, 2)
MULTIPLY_UNPACKED(unpacked_half_of_3, UNPACKED_HALF, WIDE_NV)
#undef MULTIPLY_UNPACKED

static void multiply_unpacked_tile(bool half, int64_t nv, bool asks, bool turned, const unpacked_tile *t)
{
    if (half)
        (nv == 1 ? unpacked_half_of_1 : nv == 2 ? unpacked_half_of_2 : unpacked_half_of_3)[asks][turned](t);
    else
        (nv == 1 ? unpacked_of_1 : nv == 2 ? unpacked_of_2 : unpacked_of_3)[asks][turned](t);
}

/* ---- Tasks ---- */

typedef struct unpacked_plan {
    int64_t rows, columns; /* of a task */
    int64_t tasks, across; /* how many; so many share rows */
    int64_t step;
    bool direct, from_memory;
    int64_t pitch;          /* of the sums */
    size_t sums, tail, own; /* floats */
} unpacked_plan;

static inline bool is_unpacked_small(const trine_product *p) { return p->k <= UNPACKED_SMALL / (int64_t)sizeof(float) / p->n; }

/* A task for every thread at least: columns are shared as long as all have two panels of them, then rows. a's rows are read once for
 * each panel of columns: of a task they stay in L2. */
static unpacked_plan unpacked_plan_make(const trine_product *p, int threads)
{
    unpacked_plan w = {.from_memory = !is_unpacked_small(p)};
    const int64_t panels = p->n / (2 * WIDE_NR), share = panels < 1 ? 1 : smaller(panels, threads);
    const int64_t most =
        w.from_memory ? smaller(UNPACKED_COLUMNS, UNPACKED_SUMS / (p->m * (int64_t)sizeof(float))) : UNPACKED_COLUMNS;
    w.columns = even_block(p->n, smaller(most, blocks_of(p->n, share)), VEC_LANES);
    const int64_t fit = w.from_memory ? p->m : UNPACKED_A / (p->k * (int64_t)sizeof(float)),
                  along = blocks_of(threads, blocks_of(p->n, w.columns));
    w.rows = even_block(p->m, smaller(blocks_of(p->m, along), fit > UNPACKED_MR ? fit : UNPACKED_MR), UNPACKED_MR);
    const int64_t step = WIDE_NR <= 16 && p->m <= UNPACKED_FEW ? UNPACKED_FEW : UNPACKED_STEP;
    w.step = w.from_memory ? step : smaller(p->k, UNPACKED_WHOLE);
    w.direct = w.step >= p->k && is_plain(p) && p->d_dtype == TRINE_F32;
    w.pitch = w.columns + VEC_LANES; /* rows shall not lie some KiB apart */
    w.sums = (size_t)((w.direct ? UNPACKED_MR : w.rows) * w.pitch);
    w.tail = (size_t)(w.step * (VEC_LANES + UNPACKED_MR));
    w.own = w.sums + w.tail;
    w.across = blocks_of(p->n, w.columns);
    w.tasks = w.across * blocks_of(p->m, w.rows);
    return w;
}

/* What run_products hands on as a product. */
typedef struct unpacked_work {
    trine_product p;
    unpacked_plan plan;
} unpacked_work;

typedef struct unpacked_task {
    const float *a, *b; /* of the first row, of the first column */
    int64_t row, column, rows, columns;
    float *sums, *tail;
} unpacked_task;

/* The last n columns of some terms (or rows, where these are dense), filled up with zeros. */
static void copy_tail(float *tail, int64_t width, const float *from, int64_t apart, int64_t terms, int64_t n)
{
    for (int64_t k = 0; k < terms; k++, tail += width, from += apart) {
        memset(tail, 0, (size_t)width * sizeof *tail);
        memcpy(tail, from, (size_t)n * sizeof *tail);
    }
}

/* A tile's sums after some terms, in d if `direct`. */
static void make_unpacked_tile(const trine_product *p, const product_place *at, const unpacked_plan *w, const unpacked_task *t,
                               int64_t row, int64_t column, int64_t nv, unpacked_tile *tile)
{
    const int64_t rows = smaller(UNPACKED_MR, t->rows - row), wide = nv * VEC_LANES, columns = smaller(wide, t->columns - column);
    const bool half = rows <= UNPACKED_HALF, whole = columns == wide && (rows == UNPACKED_MR || rows == UNPACKED_HALF);
    const bool turned = p->a_k != 1;
    float *const d = (float *)p->d + at->d + (t->row + row) * p->d_m + t->column + column;
    tile->a = t->a + row * p->a_m + tile->k * p->a_k;
    tile->a_k = p->a_k;
    tile->rows = rows;
    if (turned && rows % UNPACKED_HALF) {
        float *copy = t->tail + w->step * VEC_LANES;
        copy_tail(copy, UNPACKED_MR, tile->a, p->a_k, tile->terms, rows);
        tile->a = copy;
        tile->a_k = UNPACKED_MR;
    }
    tile->out = w->direct && whole ? d : t->sums + (w->direct ? 0 : row) * w->pitch + column;
    tile->pitch = w->direct && whole ? p->d_m : w->pitch;
    multiply_unpacked_tile(half, nv, w->from_memory && row == 0, turned, tile);
    for (int64_t r = 0; w->direct && !whole && r < rows; r++)
        memcpy(d + r * p->d_m, tile->out + r * w->pitch, (size_t)columns * sizeof *d);
}

/* All tiles of the task in one step, those that share columns after each other. */
static void make_unpacked_step(const trine_product *p, const product_place *at, const unpacked_plan *w, const unpacked_task *t,
                               unpacked_tile *tile)
{
    for (int64_t column = 0, n; column < t->columns; column += n) {
        const int64_t left = t->columns - column, vectors = left / VEC_LANES;
        const int64_t nv = vectors < 1 ? 1 : smaller(vectors, WIDE_NV);
        n = smaller(left, nv * VEC_LANES);
        tile->b = t->b + tile->k * p->b_k + column;
        tile->b_k = p->b_k;
        if (vectors == 0) {
            copy_tail(t->tail, VEC_LANES, tile->b, p->b_k, tile->terms, left);
            tile->b = t->tail;
            tile->b_k = VEC_LANES;
        }
        for (int64_t row = 0; row < t->rows; row += UNPACKED_MR) make_unpacked_tile(p, at, w, t, row, column, nv, tile);
    }
}

static void unpacked_product(const trine_product *p, const product_place *at, cpu_team *team)
{
    const unpacked_plan *w = &((const unpacked_work *)(const void *)p)->plan;
    float *own = (float *)(void *)team->memory + (size_t)team->thread * w->own;
    if (team->steps++ > 0) team_barrier(team); /* rounds of tasks have to be apart */
    for (int64_t i; (i = team_next(team, w->tasks)) < w->tasks;) {
        unpacked_task t = {
            .row = i / w->across * w->rows, .column = i % w->across * w->columns, .sums = own, .tail = own + w->sums};
        t.rows = smaller(w->rows, p->m - t.row);
        t.columns = smaller(w->columns, p->n - t.column);
        t.a = (const float *)p->a + at->a + t.row * p->a_m;
        t.b = (const float *)p->b + at->b + t.column;
        for (int64_t k = 0; k < p->k; k += w->step) {
            unpacked_tile tile = {.a_row = p->a_m, .terms = smaller(w->step, p->k - k), .k = k, .add = k > 0};
            make_unpacked_step(p, at, w, &t, &tile);
        }
        for (int64_t r = 0; !w->direct && r < t.rows; r++)
            finish_row(p, at, t.row + r, t.column, t.sums + r * w->pitch, t.columns);
    }
}

static inline trine_status matmul_unpacked(trine_call *call, const void *args)
{
    unpacked_work work;
    const trine_product *p = &work.p;
    TRINE_REQUIRE_THAT(call, trine_product_make(&work.p, args), "needs d with stride 1 along N or M");
    TRINE_REQUIRE_THAT(call, p->dtype == TRINE_F32 && p->b_dtype == TRINE_F32 && !p->has_scales, "needs f32");
    TRINE_REQUIRE_THAT(call, (p->a_k == 1 || p->a_m == 1) && p->b_n == 1 && p->k >= VEC_LANES && p->n >= VEC_LANES,
                       "needs a dense along K or M, b along N, and at least a vector of K and N");
    TRINE_REQUIRE_THAT(call, p->m >= UNPACKED_LEAST && p->m <= (is_unpacked_small(p) ? UNPACKED_MANY : UNPACKED_ROWS),
                       "needs 2 to 128 rows, with b of up to 1 MiB 384");
    team_plan team = team_plan_make(p);
    work.plan = unpacked_plan_make(p, team.members);
    team.memory = work.plan.own * (size_t)team.members * sizeof(float);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, p, &team, unpacked_product);
    return TRINE_OK;
}

#endif
