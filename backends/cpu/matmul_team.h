/* Threads for matrix products. A team of threads makes one product together; a batch of small ones goes to teams of one. */
#ifndef TRINE_CPU_MATMUL_TEAM_H
#define TRINE_CPU_MATMUL_TEAM_H

#include <sched.h>

#include "backends/cpu/span.h"
#include "core/backend.h"
#include "core/matmul_shape.h"

enum { TEAM_SPINS = 2000 };

/* What the members count together, each on a line of its own. */
typedef struct team_shared {
    _Alignas(64) int64_t tasks;    /* that are taken */
    _Alignas(64) int64_t arrivals; /* at barriers */
} team_shared;

typedef struct cpu_team {
    int thread, threads;
    team_shared *shared;
    int64_t taken, arrived; /* tasks and arrivals of the earlier rounds and barriers */
    int64_t steps;          /* of packing, so far */
    bool begun;             /* the round */
    char *memory;           /* shared: the team's part of the workspace, 64-byte aligned */
} cpu_team;

/* This member's part of [0, n), in multiples of grain. */
static inline cpu_range team_range(const cpu_team *team, int64_t n, int64_t grain)
{
    int64_t grains = (n + grain - 1) / grain;
    int64_t begin = grains * team->thread / team->threads * grain, end = grains * (team->thread + 1) / team->threads * grain;
    return (cpu_range){begin < n ? begin : n, end < n ? end : n};
}

/* A member that waits long lets others have the processor: perhaps the one that it waits for. */
static inline void team_barrier(cpu_team *team)
{
    team->arrived += team->threads;
    __atomic_fetch_add(&team->shared->arrivals, 1, __ATOMIC_ACQ_REL);
    for (int spins = 0; __atomic_load_n(&team->shared->arrivals, __ATOMIC_ACQUIRE) < team->arrived; spins++) {
        if (spins >= TEAM_SPINS) sched_yield();
#ifdef __SSE2__
        else
            _mm_pause();
#endif
    }
}

/* A task of this round that nobody has taken yet, or `tasks`: the round is over, and every member will have seen that once; a barrier
 * has to come before the next round. A member's first task has its own number: products that are made again find in a core's caches
 * what it used before. */
static inline int64_t team_next(cpu_team *team, int64_t tasks)
{
    const int64_t given = tasks < team->threads ? tasks : team->threads;
    if (!team->begun && team->thread < given) {
        team->begun = true;
        return team->thread;
    }
    const int64_t task = given + __atomic_fetch_add(&team->shared->tasks, 1, __ATOMIC_RELAXED) - team->taken;
    if (task < tasks) return task;
    team->taken += tasks - given + team->threads;
    team->begun = false;
    return tasks;
}

/* ---- Running a product of every place in the batch ---- */

typedef struct product_place {
    int64_t d, a, b, c; /* offsets in elements */
    int64_t a_scale, b_scale;
} product_place;

static inline product_place place_of_product(const trine_product *p, int64_t index)
{
    int64_t offset[TRINE_ITER_OPERANDS] = {0};
    trine_iter_offsets(&p->batch, index, offset);
    return (product_place){offset[TRINE_PRODUCT_D], offset[TRINE_PRODUCT_A],       offset[TRINE_PRODUCT_B],
                           offset[TRINE_PRODUCT_C], offset[TRINE_PRODUCT_A_SCALE], offset[TRINE_PRODUCT_B_SCALE]};
}

/* Makes this member's part of one product. It may be called for the next one while others are still busy with this one. */
typedef void (*product_fn)(const trine_product *p, const product_place *at, cpu_team *team);

/* How the work is shared: `teams` of `members`. */
typedef struct team_plan {
    int teams, members;
    size_t memory; /* bytes a team */
} team_plan;

/* A thread is worth starting for a million multiply-adds. `memory` is what a team of the given size needs. */
static inline team_plan team_plan_make(const trine_product *p)
{
    const double work = (double)p->m * (double)p->n * (double)(p->k + 16) * (double)p->batch.numel;
    const int threads = cpu_threads(work < 1e15 ? (int64_t)work : (int64_t)1e15, 1 << 20);
    const bool apart = p->batch.numel >= threads;
    return (team_plan){apart ? threads : 1, apart ? 1 : threads, 0};
}

static inline size_t team_workspace(const team_plan *plan)
{
    return (size_t)plan->teams * ((plan->memory + 63) / 64 * 64) + sizeof(team_shared) + 64;
}

/* Makes this member's part of item `index`. */
typedef void (*team_fn)(const void *context, int64_t index, cpu_team *team);

/* The workspace: what a team of several shares, then the teams' memory. */
static void run_teams(trine_call *call, int64_t count, const team_plan *plan, team_fn fn, const void *context)
{
    const size_t apart = (plan->memory + 63) / 64 * 64;
    team_shared *const all = (team_shared *)(((uintptr_t)call->workspace + 63) / 64 * 64);
    char *const memory = (char *)(all + 1);
    *all = (team_shared){0};
#ifdef _OPENMP
#pragma omp parallel num_threads(plan->teams * plan->members) if (plan->teams * plan->members > 1)
#endif
    {
        int thread = 0, threads = 1;
#ifdef _OPENMP
        thread = omp_get_thread_num();
        threads = omp_get_num_threads();
#endif
        team_shared own = {0};
        const bool apart_teams = plan->teams > 1;
        cpu_team team = {0, 1, &own, 0, 0, 0, false, memory + (apart_teams ? (size_t)thread * apart : 0)};
        if (!apart_teams) team = (cpu_team){thread, threads, all, 0, 0, 0, false, memory};
        for (int64_t index = apart_teams ? thread : 0; index < count; index += apart_teams ? threads : 1)
            fn(context, index, &team);
    }
}

typedef struct product_work {
    const trine_product *p;
    product_fn fn;
} product_work;

static void product_of_batch(const void *context, int64_t index, cpu_team *team)
{
    const product_work *w = context;
    const product_place at = place_of_product(w->p, index);
    w->fn(w->p, &at, team);
}

static inline void run_products(trine_call *call, const trine_product *p, const team_plan *plan, product_fn fn)
{
    const product_work w = {p, fn};
    if (p->m > 0 && p->n > 0) run_teams(call, p->batch.numel, plan, product_of_batch, &w);
}

#endif
