/* Grouped products on the CPU: the matmul family's kernels, group by group; a team of all threads makes each, as gemv where it has
 * few rows, else by amx, or as register_tiled, which decodes and scales fp8 on the way. */
#include "backends/cpu/ids.h"
#include "backends/cpu/matmul_amx.h"
#include "backends/cpu/matmul_gemv.h"
#include "backends/cpu/matmul_register.h"
#include "core/grouped_shape.h"

typedef struct group_rows {
    int64_t begin, end; /* rows, or terms */
} group_rows;

static int64_t clamped(int64_t i, int64_t most) { return i < 0 ? 0 : i < most ? i : most; }

static int64_t size_at(const trine_grouped *g, int64_t i)
{
    const trine_dtype dtype = g->sizes_wide ? TRINE_I64 : TRINE_I32;
    const int64_t most = g->layout == TRINE_GROUPED_SUMS ? g->p.k : g->p.m;
    return clamped(cpu_id((const char *)g->sizes + i * (g->sizes_wide ? 8 : 4), dtype), most);
}

/* Of every group: offsets only rise. */
static void find_groups(group_rows *rows, const trine_grouped *g)
{
    int64_t last = g->from_zero ? 0 : size_at(g, 0);
    for (int64_t i = 0; i < g->p.batch.numel; i++) {
        const int64_t size = size_at(g, g->from_zero ? i : i + 1);
        if (g->layout == TRINE_GROUPED_MASKED) {
            rows[i] = (group_rows){0, size};
            continue;
        }
        rows[i] = (group_rows){last, size > last ? size : last};
        last = rows[i].end;
    }
}

/* Groups of few rows stream their matrix; amx_plan serves any product that has no more of M, N and K. */
typedef struct grouped_work {
    const trine_grouped *g;
    const group_rows *rows;
    bool amx;
    amx_plan few, many;
} grouped_work;

static void make_group(const void *context, int64_t index, cpu_team *team)
{
    const grouped_work *w = context;
    const group_rows rows = w->rows[index];
    trine_product p = w->g->p;
    product_place at = place_of_product(&p, index);
    trine_thin thin;
    if (p.has_bias) p.bias = element(p.bias, p.bias_dtype, index * w->g->bias_group);
    if (w->g->layout == TRINE_GROUPED_SUMS) {
        at.a += rows.begin * p.a_k;
        at.b += rows.begin * p.b_k;
        p.k = rows.end - rows.begin;
    } else {
        at.a += rows.begin * p.a_m;
        at.d += rows.begin * p.d_m;
        at.a_scale += rows.begin * p.a_scale.row; /* where rows begin past the first, scales are one a row or one for all */
        p.m = rows.end - rows.begin;
    }
    if (p.m == 0) return;
    team_barrier(team); /* the last group had the memory divided in another way */
    if (!p.has_scales && trine_thin_at_most(&thin, &p, w->amx ? AMX_LEAST - 1 : TRINE_THIN_MOST))
        gemv_product(&p, &at, team);
    else if (w->amx)
        make_amx_blocks(&p, &at, team, p.m <= AMX_FEW_ROWS ? &w->few : &w->many);
    else
        register_product(&p, &at, team);
}

/* What the largest group may need: no group's blocks are larger than those of sizes that are one block. */
static size_t memory_of(grouped_work *w, int threads)
{
    const trine_product *p = &w->g->p;
    const size_t longest = (size_t)(p->m > p->n ? p->m : p->n);
    const size_t thin = (size_t)TRINE_THIN_MOST * ((size_t)p->k * (size_t)threads + longest) * sizeof(float);
    trine_product most = *p;
    size_t tiled;
    if (w->amx) {
        w->many = amx_plan_make(&most, NULL);
        most.m = smaller(most.m, AMX_FEW_ROWS);
        w->few = amx_plan_make(&most, NULL);
        tiled = amx_bytes(&w->many, threads);
        if (amx_bytes(&w->few, threads) > tiled) tiled = amx_bytes(&w->few, threads);
    } else {
        most.m = smaller(most.m, BLOCK_M);
        most.k = smaller(most.k, BLOCK_K);
        const register_plan plan = register_plan_make(&most);
        tiled = (2 * (plan.a_size + plan.b_size) + plan.sums_size) * sizeof(float);
    }
    return tiled > thin ? tiled : thin;
}

static trine_status run_groups(trine_call *call, const trine_grouped *g, bool amx)
{
    grouped_work work = {.g = g, .amx = amx};
    trine_product all = g->p; /* a row counts once */
    all.batch.numel = g->layout == TRINE_GROUPED_MASKED ? g->p.batch.numel : 1;
    team_plan team = team_plan_make(&all);
    team.members *= team.teams;
    team.teams = 1;
    team.memory = memory_of(&work, team.members);
    const size_t own = team_workspace(&team);
    TRINE_END_OF_QUERY(call, own + (size_t)g->p.batch.numel * sizeof(group_rows));
    if (g->p.m == 0 || g->p.n == 0) return TRINE_OK;
    group_rows *rows = (group_rows *)(void *)((char *)call->workspace + own);
    find_groups(rows, g);
    work.rows = rows;
    run_teams(call, g->p.batch.numel, &team, make_group, &work);
    return TRINE_OK;
}

static trine_status grouped_amx(trine_call *call, const void *args)
{
    trine_grouped g;
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&g, args), "needs d with stride 1 along N");
    TRINE_REQUIRE_THAT(call, suits_amx(&g.p), "needs bf16 and AMX-BF16");
    return run_groups(call, &g, true);
}

static trine_status grouped_vectors(trine_call *call, const void *args)
{
    trine_grouped g;
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&g, args), "needs d with stride 1 along N");
    return run_groups(call, &g, false);
}

trine_status TRINE_CPU(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args);
trine_status TRINE_CPU(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args)
{
    static const trine_variant variants[] = {{"amx", grouped_amx}, {TRINE_CPU_VARIANT, grouped_vectors}};
    return trine_run_variants(call, variants, sizeof variants / sizeof *variants, args);
}
