/* What a launch needs before its first block and after its last. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "decode.h"
#include "profile.h"
#include "run.h"

double sim_seconds;

/* ---- Memory ---- */

/* What every launch uses again. */
static struct {
    wave *waves;
    uint8_t *lds, *lds_defined, *scratch, *scratch_defined;
    cell *lds_cells;
    uint16_t *lds_loading;
    size_t scratch_size;
} arena;

static void *pages(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void arena_for(block *g, const kernel *k)
{
    size_t scratch = (size_t)k->scratch * LANES;
    if (!arena.waves) {
        arena.waves = pages(MAX_WAVES * sizeof(wave));
        arena.lds = pages(65536 + 64);
        arena.lds_defined = pages(65536);
        arena.lds_loading = pages(65536 / 4 * sizeof *arena.lds_loading);
        arena.lds_cells = pages(65536 / 4 * sizeof(cell) + 64);
    }
    if (scratch * MAX_WAVES > arena.scratch_size) {
        arena.scratch_size = scratch * MAX_WAVES;
        arena.scratch = pages(arena.scratch_size);
        arena.scratch_defined = pages(arena.scratch_size);
    }
    g->wave = arena.waves;
    g->lds = arena.lds;
    g->lds_loading = arena.lds_loading;
    memset(g->lds_loading, 0, 65536 / 4 * sizeof *g->lds_loading);
    for (uint32_t w = 0; w < g->waves; w++) {
        g->wave[w].scratch = arena.scratch + w * scratch;
        g->wave[w].scratch_defined = arena.scratch_defined + w * scratch;
    }
}

/* hsa_kernel_dispatch_packet_t, of which kernels read sizes. */
static void fill_packet(launch *l)
{
    uint16_t dims = 3;
    memset(l->packet, 0, sizeof l->packet);
    memcpy(l->packet + 2, &dims, 2);
    for (int d = 0; d < 3; d++) {
        uint16_t size = (uint16_t)l->size[d];
        uint32_t all = l->size[d] * l->grid[d];
        memcpy(l->packet + 4 + 2 * d, &size, 2);
        memcpy(l->packet + 12 + 4 * d, &all, 4);
    }
}

/* The hidden arguments of code object version 5 that have a meaning here; the others are 0. */
static uint64_t hidden_value(const launch *l, const char *kind)
{
    static const char axis[] = "xyz";
    const struct {
        const char *name;
        const uint32_t *values;
    } vectors[] = {{"hidden_block_count_", l->grid}, {"hidden_group_size_", l->size}};
    for (size_t v = 0; v < 2; v++) {
        size_t length = strlen(vectors[v].name);
        if (strncmp(kind, vectors[v].name, length) == 0) return vectors[v].values[strchr(axis, kind[length]) - axis];
    }
    if (strcmp(kind, "hidden_grid_dims") == 0) return l->grid[2] * l->size[2] > 1 ? 3 : l->grid[1] * l->size[1] > 1 ? 2 : 1;
    if (strcmp(kind, "hidden_dynamic_lds_size") == 0) return l->dynamic_lds;
    if (strcmp(kind, "hidden_private_base") == 0) return PRIVATE_BASE >> 32;
    if (strcmp(kind, "hidden_shared_base") == 0) return SHARED_BASE >> 32;
    return 0;
}

uint32_t kernel_explicit_bytes(const kernel *k)
{
    uint32_t bytes = 0;
    for (int a = 0; a < k->argument_count; a++)
        if (!k->arguments[a].hidden && k->arguments[a].offset + k->arguments[a].size > bytes)
            bytes = k->arguments[a].offset + k->arguments[a].size;
    return bytes;
}

static region *fill_kernarg(launch *l, const void *packed)
{
    const kernel *k = l->kernel;
    size_t size = k->kernarg_size ? k->kernarg_size : 8;
    const size_t room = (size + 64 + 255) / 256 * 256; /* at a cache line's begin, as the figures depend on it */
    l->kernarg = aligned_alloc(256, room);
    memset(l->kernarg, 0, room);
    memcpy(l->kernarg, packed, kernel_explicit_bytes(k));
    for (int a = 0; a < k->argument_count; a++) {
        const kernel_argument *g = &k->arguments[a];
        uint64_t value = g->hidden ? hidden_value(l, g->kind) : 0;
        if (g->hidden) memcpy(l->kernarg + g->offset, &value, g->size < 8 ? g->size : 8);
    }
    return region_add(l->kernarg, size, true, true, "kernel's arguments");
}

static const char *refusal(const launch *l, const chip *c)
{
    const kernel *k = l->kernel;
    if (!l->threads || !l->blocks) return "a launch of nothing";
    if (l->threads > 1024 || (k->max_threads && l->threads > k->max_threads))
        return "more threads a block than the kernel was compiled for";
    if (k->lds + l->dynamic_lds > (uint32_t)c->lds_bytes) return "more LDS than there is";
    return run_mode_problem(k->rsrc1 >> 12 & 255);
}

/* ---- The launch ---- */

static uint64_t seed(void)
{
    static uint64_t value;
    const char *text = getenv("AMDSIM_SEED");
    if (!value) value = (text ? strtoull(text, NULL, 0) : 1) * 0x9e3779b97f4a7c15ull | 1;
    return value;
}

bool launch_run(kernel *k, const launch_dims *dims, uint32_t dynamic_lds, const void *packed, char *error, size_t room)
{
    launch l = {.kernel = k, .dynamic_lds = dynamic_lds, .random = seed(), .error = error, .error_room = room};
    block g = {.launch = &l};
    memcpy(l.grid, dims->grid, sizeof l.grid);
    memcpy(l.size, dims->block, sizeof l.size);
    l.threads = l.size[0] * l.size[1] * l.size[2];
    l.blocks = l.grid[0] * l.grid[1] * l.grid[2];
    l.waves = g.waves = (l.threads + k->wave_size - 1) / k->wave_size;
    error[0] = '\0';
    const char *refused = refusal(&l, chip_now());
    if (refused) {
        snprintf(error, room, "%s: kernel %.200s, blocks %u x %u x %u of %u x %u x %u threads, %u bytes of LDS", refused, k->name,
                 l.grid[0], l.grid[1], l.grid[2], l.size[0], l.size[1], l.size[2], k->lds + dynamic_lds);
        return false;
    }
    arena_for(&g, k);
    g.lds_region = (region){.base = (uint64_t)g.lds,
                            .size = k->lds + dynamic_lds,
                            .defined = arena.lds_defined,
                            .cells = arena.lds_cells,
                            .what = "LDS"};
    l.released = calloc(l.blocks, sizeof *l.released);
    l.start_clock = ++sim_clock;
    l.all_lanes = k->wave_size == 64 ? ~0ull : 0xffffffffu;
    fill_packet(&l);
    region *packet = region_add(l.packet, sizeof l.packet, true, true, "dispatch packet"), *kernarg = fill_kernarg(&l, packed);
    k->profile = profile_of(k);
    amdsim_counts before = k->profile->counts;
    run_blocks(&l, &g);
    k->profile->counts.launches++;
    k->profile->counts.blocks += l.blocks;
    k->profile->counts.waves += (uint64_t)l.blocks * l.waves;
    sim_seconds += profile_launch(k, &l, &before);
    region_remove(kernarg);
    region_remove(packet);
    free(l.kernarg);
    free(l.released);
    return error[0] == '\0';
}
