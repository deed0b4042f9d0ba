/* Grouped products on the CPU: the matmul family's kernels, group by group; a team of all threads makes each, as gemv where it has
 * few rows, else register_tiled, which decodes and scales fp8 on the way. */
#include "backends/cpu/ids.h"
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

typedef struct grouped_work {
    const trine_grouped *g;
    const group_rows *rows;
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
    if (!p.has_scales && trine_thin_make(&thin, &p))
        gemv_product(&p, &at, team);
    else
        register_product(&p, &at, team);
}

/* What the largest group may need: no group's blocks are larger than those of sizes that are one block. */
static size_t memory_of(const trine_product *p, int threads)
{
    trine_product most = *p;
    most.m = smaller(most.m, BLOCK_M);
    most.k = smaller(most.k, BLOCK_K);
    const register_plan plan = register_plan_make(&most);
    const size_t tiled = 2 * (plan.a_size + plan.b_size) + plan.sums_size;
    const size_t longest = (size_t)(p->m > p->n ? p->m : p->n);
    const size_t thin = (size_t)TRINE_THIN_MOST * ((size_t)p->k * (size_t)threads + longest);
    return (tiled > thin ? tiled : thin) * sizeof(float);
}

trine_status TRINE_CPU(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args);
trine_status TRINE_CPU(grouped_matmul)(trine_call *call, const trine_grouped_matmul_args *args)
{
    trine_grouped g;
    TRINE_REQUIRE_THAT(call, trine_grouped_make(&g, args), "needs d with stride 1 along N");
    trine_product all = g.p; /* a row counts once */
    all.batch.numel = g.layout == TRINE_GROUPED_MASKED ? g.p.batch.numel : 1;
    team_plan team = team_plan_make(&all);
    team.members *= team.teams;
    team.teams = 1;
    team.memory = memory_of(&g.p, team.members);
    const size_t own = team_workspace(&team);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, own + (size_t)g.p.batch.numel * sizeof(group_rows));
    if (g.p.m == 0 || g.p.n == 0) return TRINE_OK;
    group_rows *rows = (group_rows *)(void *)((char *)call->workspace + own);
    find_groups(rows, &g);
    run_teams(call, g.p.batch.numel, &team, make_group, &(grouped_work){&g, rows});
    return TRINE_OK;
}
