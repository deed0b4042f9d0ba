/* A launch: blocks in order, the waves of a block in a random order, each up to its next barrier. */
#include "run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "profile.h"

enum { SLICE = 20000, SPINS = 2000 /* slices in which no wave of a block ends or meets a barrier: a hang */ };

/* ---- Faults ---- */

void fault(wave *w, int lane, const char *format, ...)
{
    launch *l = w->group->launch;
    const uint32_t *b = w->group->id;
    char reason[320], where[64] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (lane >= 0) snprintf(where, sizeof where, " lane %d", lane);
    snprintf(l->error, l->error_room, "%s: at 0x%llx (+0x%llx) `%.120s`, block (%u,%u,%u) wave %u%s of kernel %.200s", reason,
             (unsigned long long)(w->now ? w->now->address : w->pc),
             (unsigned long long)((w->now ? w->now->address : w->pc) - l->kernel->entry),
             w->now ? w->now->text : "(no instruction)", b[0], b[1], b[2], w->number, where, l->kernel->name);
    longjmp(l->fault, 1);
}

/* ---- Random order ---- */

static uint64_t next_random(launch *l)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return l->random;
}

/* ---- Synchronisation ---- */

void run_synchronise(wave *w)
{
    sim_clock++;
    w->group->acquired = sim_clock;
    w->group->launch->released[w->group->number] = sim_clock;
}

/* The block's waves have all arrived. */
static void barrier_pass(block *g)
{
    g->barrier_clock = ++sim_clock;
    g->at_barrier = 0;
    for (uint32_t k = 0; k < g->waves; k++) {
        if (g->wave[k].state != WAVE_AT_BARRIER) continue;
        g->wave[k].state = WAVE_RUNS;
        wait_restamp(&g->wave[k]);
    }
}

/* ---- A wave's first registers (AMDGPU backend guide, "Initial Kernel Execution State") ---- */

enum {
    P_PRIVATE_BUFFER = 1,
    P_DISPATCH_PTR = 2,
    P_QUEUE_PTR = 4,
    P_KERNARG_PTR = 8,
    P_DISPATCH_ID = 16,
    P_FLAT_SCRATCH = 32,
    P_PRIVATE_SIZE = 64
};

static void give(wave *w, unsigned *at, uint32_t value)
{
    w->s[*at] = value;
    w->s_undef[(*at)++] = 0;
}
static void give64(wave *w, unsigned *at, uint64_t value)
{
    give(w, at, (uint32_t)value);
    give(w, at, (uint32_t)(value >> 32));
}

static void first_scalars(wave *w)
{
    const launch *l = w->group->launch;
    const kernel *k = w->kernel;
    unsigned at = 0, p = k->properties, user = k->rsrc2 >> 1 & 31;
    if (p & P_PRIVATE_BUFFER) { /* swizzled: what vmem.c takes for scratch */
        give64(w, &at, 0xffff00000000ull | 1ull << 63);
        give64(w, &at, 0xffffffffull);
    }
    if (p & P_DISPATCH_PTR) give64(w, &at, (uint64_t)l->packet);
    if (p & P_QUEUE_PTR) give64(w, &at, 0);
    if (p & P_KERNARG_PTR) give64(w, &at, (uint64_t)l->kernarg);
    if (p & P_DISPATCH_ID) give64(w, &at, 0);
    if (p & P_FLAT_SCRATCH) give64(w, &at, PRIVATE_BASE);
    if (p & P_PRIVATE_SIZE) give(w, &at, k->scratch);
    for (unsigned n = 0, length = k->kernarg_preload & 127, first = k->kernarg_preload >> 7; n < length; n++) {
        uint32_t word;
        memcpy(&word, l->kernarg + 4 * (first + n), 4);
        give(w, &at, word);
    }
    at = user;
    for (int d = 0; d < 3; d++)
        if (k->rsrc2 >> (7 + d) & 1) give(w, &at, w->group->id[d]);
    if (k->rsrc2 >> 10 & 1) give(w, &at, 0);
    if (k->rsrc2 & 1 && !chip_now()->architected_scratch) give(w, &at, 0); /* the wave's offset */
}

static void first_vectors(wave *w)
{
    const launch *l = w->group->launch;
    uint32_t size = w->kernel->wave_size, *s = (uint32_t *)l->size;
    uint64_t active = 0;
    for (uint32_t lane = 0; lane < size; lane++) {
        uint32_t t = w->number * size + lane;
        if (t >= l->threads) break;
        active |= 1ull << lane;
        w->v[0][lane] = t % s[0] | t / s[0] % s[1] << 10 | t / (s[0] * s[1]) << 20; /* packed ids: gfx90a and later, gfx11 */
    }
    w->v_undef[0] = 0;
    EXEC(w) = active;
    w->s64_undef[S_EXEC / 2] = 0;
}

static void wave_start(block *g, uint32_t number)
{
    wave *w = &g->wave[number];
    launch *l = g->launch;
    kernel *k = l->kernel;
    uint8_t *scratch = w->scratch, *defined = w->scratch_defined;
    memset(w, 0, offsetof(wave, v)); /* the values of vector registers stay, undefined */
    w->group = g;
    w->kernel = k;
    w->pc = k->entry;
    w->number = number;
    w->all_lanes = l->all_lanes;
    w->scratch = scratch;
    w->scratch_defined = defined;
    w->who = g->number * g->waves + number + 1;
    w->mode = (k->rsrc1 >> 12 & 255);
    memset(w->s_undef, 0xff, sizeof w->s_undef);
    memset(w->v_undef, 0xff, sizeof w->v_undef);
    for (int r = S_FLAT_SCRATCH; r < SGPRS; r++) w->s_undef[r] = 0;
    w->s64[S_FLAT_SCRATCH / 2] = PRIVATE_BASE;
    w->scc_undef = true;
    if (k->wave_size == 32) w->s_undef[S_VCC + 1] = 0;
    if (k->scratch) memset(w->scratch_defined, 0, (size_t)k->scratch * LANES);
    first_scalars(w);
    first_vectors(w);
}

const char *run_mode_problem(uint32_t mode)
{
    if (mode & 15) return "rounding modes other than to nearest are not simulated";
    if ((mode >> 6 & 3) != 3) return "flushing of f16 and f64 denormals is not simulated";
    return NULL;
}

/* ---- The loop ---- */

/* AMDSIM_TRACE=block.wave.lane: each instruction of that wave, with what its result is in that lane. */
static bool traced(const wave *w, unsigned *lane)
{
    static unsigned at[3];
    static int state;
    if (!state) {
        const char *text = getenv("AMDSIM_TRACE");
        state = text && sscanf(text, "%u.%u.%u", at, at + 1, at + 2) == 3 ? 1 : -1;
    }
    *lane = at[2] % LANES;
    return state == 1 && w->group->number == at[0] && w->number == at[1];
}

static void trace(const wave *w, const inst *i, unsigned lane)
{
    fprintf(stderr, "%6llx %016llx %-70s", (unsigned long long)i->address, (unsigned long long)EXEC(w), i->text);
    for (unsigned k = 0; k < i->dst.count && k < 4; k++) {
        if (i->dst.where == IN_VGPR)
            fprintf(stderr, " %08x%s", w->v[i->dst.reg + k][lane], w->v_undef[i->dst.reg + k] >> lane & 1 ? "?" : "");
        if (i->dst.where == IN_SGPR) fprintf(stderr, " %08x%s", w->s[i->dst.reg + k], w->s_undef[i->dst.reg + k] ? "?" : "");
    }
    fprintf(stderr, "\n");
}

static void run_slice(wave *w)
{
    code_object *code = w->kernel->code;
    profile *p = w->kernel->profile;
    unsigned lane;
    bool tracing = traced(w, &lane);
    uint64_t begin = code->text_begin, words = (code->text_end - begin) / 4;
    for (int left = SLICE; left && w->state == WAVE_RUNS; left--) {
        uint64_t index = (w->pc - begin) / 4;
        const inst *i = index < words ? code->at[index] : NULL;
        if (!i && !(i = code_decode(code, w->pc))) {
            w->now = NULL;
            fault(w, -1, "execution leaves the code, at 0x%llx", (unsigned long long)w->pc);
        }
        w->now = i;
        w->pc = i->next;
        profile_count(p, i);
        i->run(w, i);
        if (tracing) trace(w, i, lane);
    }
}

static void shuffle(launch *l, uint32_t *order, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) order[k] = k;
    for (uint32_t k = count; k > 1; k--) {
        uint32_t other = (uint32_t)(next_random(l) % k), swap = order[k - 1];
        order[k - 1] = order[other];
        order[other] = swap;
    }
}

/* A barrier counts the waves that have not ended. */
static void block_run(block *g)
{
    uint32_t order[MAX_WAVES], spins = 0;
    while (g->done < g->waves) {
        uint32_t before = g->done + g->at_barrier;
        shuffle(g->launch, order, g->waves);
        for (uint32_t k = 0; k < g->waves; k++)
            if (g->wave[order[k]].state == WAVE_RUNS) run_slice(&g->wave[order[k]]);
        spins = g->done + g->at_barrier > before ? 0 : spins + 1;
        if (g->at_barrier && g->at_barrier + g->done == g->waves) barrier_pass(g);
        if (spins > SPINS) fault(&g->wave[order[0]], -1, "the block does not end");
    }
}

static void block_start(block *g, uint32_t number)
{
    launch *l = g->launch;
    g->number = number;
    g->id[0] = number % l->grid[0];
    g->id[1] = number / l->grid[0] % l->grid[1];
    g->id[2] = number / (l->grid[0] * l->grid[1]);
    g->at_barrier = g->done = 0;
    g->barrier_clock = ++sim_clock;
    g->acquired = 0;
    if (g->lds_loads) memset(g->lds_loading, 0, 65536 / 4 * sizeof *g->lds_loading); /* of waves that ended before they waited */
    g->lds_loads = 0;
    if (g->lds_region.defined) memset(g->lds_region.defined, 0, g->lds_region.size / 4 + 1);
    for (uint32_t k = 0; k < g->waves; k++) wave_start(g, k);
}

void run_blocks(launch *l, block *g)
{
    if (setjmp(l->fault)) return;
    for (uint32_t b = 0; b < l->blocks; b++) {
        block_start(g, b);
        block_run(g);
    }
}
