/* The counters of all kernels, their printing, and the modelled time of a launch. */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

#include "device.h"

const char *const amdsim_unit_names[AMDSIM_UNITS] = {"scalar", "branch", "smem",   "valu", "trans", "matrix",
                                                     "load",   "store",  "atomic", "lds",  "wait",  "barrier"};

static struct {
    kernel **kernels;
    int count, room;
} all;

/* ---- Printing at exit ---- */

static const char *destination(void)
{
    static const char *text;
    static bool asked;
    if (!asked) text = getenv("AMDSIM_PROFILE");
    asked = true;
    return text && *text && strcmp(text, "0") != 0 ? text : NULL;
}

static void print_text(FILE *to, const amdsim_kernel *k)
{
    const amdsim_counts *c = &k->counts;
    fprintf(to,
            "%s\n  launches %llu, blocks %llu, waves %llu; vgpr %u, agpr %u, sgpr %u, lds %u, scratch %u, spills %u+%u, waves a "
            "SIMD %u\n",
            k->name, (unsigned long long)c->launches, (unsigned long long)c->blocks, (unsigned long long)c->waves, k->vgprs,
            k->agprs, k->sgprs, k->lds, k->scratch, k->vgpr_spills, k->sgpr_spills, k->waves_per_simd);
    fprintf(to, "  modelled: %.3f us; read %llu B, written %llu B, lines %llu, lds %llu B, bank conflicts %llu cycles\n ",
            1e6 * c->seconds, (unsigned long long)c->bytes_read, (unsigned long long)c->bytes_written,
            (unsigned long long)c->lines, (unsigned long long)c->lds_bytes, (unsigned long long)c->lds_conflicts);
    for (int u = 0; u < AMDSIM_UNITS; u++)
        if (c->instructions[u])
            fprintf(to, " %s %llu (%llu)", amdsim_unit_names[u], (unsigned long long)c->instructions[u],
                    (unsigned long long)c->cycles[u]);
    fprintf(to, "   instructions (modelled cycles)\n");
}

static void print_json(FILE *to, const amdsim_kernel *k)
{
    const amdsim_counts *c = &k->counts;
    fprintf(to,
            "{\"kernel\": \"%s\", \"arch\": \"%s\", \"modelled\": true, \"launches\": %llu, \"blocks\": %llu, \"waves\": %llu, "
            "\"vgprs\": %u, \"agprs\": %u, \"sgprs\": %u, \"lds\": %u, \"scratch\": %u, "
            "\"vgpr_spills\": %u, \"sgpr_spills\": %u, \"waves_per_simd\": %u, \"seconds\": %.9g, \"bytes_read\": %llu, "
            "\"bytes_written\": %llu, \"lines\": %llu, \"lds_bytes\": %llu, \"lds_conflicts\": %llu",
            k->name, chip_now()->name, (unsigned long long)c->launches, (unsigned long long)c->blocks,
            (unsigned long long)c->waves, k->vgprs, k->agprs, k->sgprs, k->lds, k->scratch, k->vgpr_spills, k->sgpr_spills,
            k->waves_per_simd, c->seconds, (unsigned long long)c->bytes_read, (unsigned long long)c->bytes_written,
            (unsigned long long)c->lines, (unsigned long long)c->lds_bytes, (unsigned long long)c->lds_conflicts);
    for (int u = 0; u < AMDSIM_UNITS; u++)
        fprintf(to, ", \"%s\": {\"instructions\": %llu, \"cycles\": %llu}", amdsim_unit_names[u],
                (unsigned long long)c->instructions[u], (unsigned long long)c->cycles[u]);
    fprintf(to, "}\n");
}

static void print_all(void)
{
    const char *name = destination();
    bool text = strcmp(name, "1") == 0;
    FILE *to = text ? stderr : fopen(name, "a");
    amdsim_kernel *found = calloc((size_t)all.count + 1, sizeof *found);
    int count = amdsim_counters(found, all.count);
    for (int k = 0; to && k < count; k++) (text ? print_text : print_json)(to, &found[k]);
    if (to && !text) fclose(to);
    free(found);
}

/* ---- Counting ---- */

profile *profile_of(kernel *k)
{
    if (k->profile) return k->profile;
    if (all.count == 0 && destination()) atexit(print_all);
    if (all.count == all.room) {
        all.room = all.room ? 2 * all.room : 64;
        all.kernels = realloc(all.kernels, (size_t)all.room * sizeof *all.kernels);
    }
    all.kernels[all.count++] = k;
    return calloc(1, sizeof(profile));
}

/* Lines of 128 bytes, in the order of the lanes: a line that comes again later counts again. */
void profile_memory(wave *w, const inst *i, const mem_format *f, const uint64_t *address, uint64_t lanes, bool scratch)
{
    amdsim_counts *c = &w->kernel->profile->counts;
    uint64_t bytes = (uint64_t)__builtin_popcountll(lanes) * f->bytes, lines = 0, last = ~0ull;
    if (scratch) {
        c->scratch_bytes += bytes;
        lines = bytes / 128 + 1;
    } else {
        for (uint64_t left = lanes; left; left &= left - 1) {
            uint64_t at = address[__builtin_ctzll(left)], line = at / 128, end = (at + f->bytes - 1) / 128;
            lines += (line != last) + (end != line);
            last = end;
        }
        if (f->what != STORE) c->bytes_read += bytes;
        if (f->what != LOAD) c->bytes_written += bytes;
    }
    c->lines += lines;
    c->cycles[i->unit] += lines * 128 / (uint64_t)chip_now()->global_bytes_per_clock;
}

/* 32 banks of 4 bytes: lanes go in groups of 128 bytes at best; a group takes as many cycles as its fullest bank has different
 * words. */
static uint32_t lds_cycles(const uint32_t *address, uint32_t words, uint64_t lanes)
{
    uint32_t first[32], used = 0, clashes[32] = {0}, clash_count = 0, other[32];
    for (uint64_t left = lanes; left; left &= left - 1) {
        uint32_t at = address[__builtin_ctzll(left)] / 4;
        for (uint32_t word = at; word < at + words; word++) {
            uint32_t bank = word % 32, seen = 0;
            if (!(used >> bank & 1)) {
                used |= 1u << bank;
                first[bank] = word;
            } else if (first[bank] != word) { /* a clash, unless another lane has brought the same */
                while (seen < clash_count && other[seen] != word) seen++;
                if (seen == clash_count) other[clash_count++] = word, clashes[bank]++;
            }
        }
    }
    uint32_t most = 0;
    for (int bank = 0; clash_count && bank < 32; bank++)
        if (clashes[bank] > most) most = clashes[bank];
    return most + (used != 0);
}

/* Lanes in groups of 128 bytes. `best`: cycles if no bank had two words. */
static void lds_pattern_cycles(lds_pattern *p, const uint32_t *address, uint32_t bytes, uint64_t lanes)
{
    uint32_t words = (bytes + 3) / 4, group = 32 / words;
    memcpy(p->address, address, sizeof p->address);
    p->lanes = lanes;
    p->cycles = p->best = 0;
    for (uint32_t begin = 0; begin < LANES && lanes >> begin; begin += group) {
        uint64_t part = lanes & ((1ull << group) - 1) << begin;
        p->cycles += lds_cycles(address, words, part);
        p->best += part != 0;
    }
}

/* Whether the same lanes access the same places, all moved by the same number of words: then the banks clash as often. */
static bool same_pattern(const lds_pattern *p, const uint32_t *address, uint64_t lanes)
{
    if (lanes != p->lanes) return false;
    uint32_t first = (uint32_t)__builtin_ctzll(lanes), moved = address[first] - p->address[first];
    uint8_t differs[LANES];
    for (int l = 0; l < LANES; l++) differs[l] = address[l] - p->address[l] != moved;
    return moved % 4 == 0 && !(gather_lanes(differs) & lanes);
}

/* An instruction in a loop mostly repeats its pattern, so that its cycles are remembered. */
void profile_lds(wave *w, const inst *i, const uint32_t *address, uint32_t bytes, uint64_t lanes)
{
    amdsim_counts *c = &w->kernel->profile->counts;
    if (!lanes) return;
    if (!i->pattern) ((inst *)i)->pattern = calloc(1, sizeof *i->pattern);
    if (!same_pattern(i->pattern, address, lanes)) lds_pattern_cycles(i->pattern, address, bytes, lanes);
    c->lds_bytes += (uint64_t)__builtin_popcountll(lanes) * bytes;
    c->lds_conflicts += i->pattern->cycles - i->pattern->best;
    c->cycles[i->unit] += i->pattern->cycles;
}

void profile_permutation(wave *w, const inst *i) { w->kernel->profile->counts.cycles[i->unit] += w->kernel->wave_size / 32; }

/* ---- Modelled time and occupancy ---- */

static uint32_t occupancy(const kernel *k, uint32_t waves_in_block, uint32_t lds)
{
    const chip *c = chip_now();
    uint32_t granule = (uint32_t)c->vgpr_granule, used = (k->vgprs + granule - 1) / granule * granule;
    uint32_t by_registers = (uint32_t)c->vgprs_per_simd_lane / (used ? used : granule), most = (uint32_t)c->waves_per_simd;
    uint32_t by_lds = lds ? (uint32_t)c->lds_bytes / lds * waves_in_block / (uint32_t)c->simds : most;
    if (by_registers < most) most = by_registers;
    return by_lds < most ? (by_lds ? by_lds : 1) : most;
}

/* The busiest unit decides. Vector, transcendental and matrix work is spread over the SIMDs of a compute unit, the rest shared by
 * them. */
double profile_launch(kernel *k, const launch *l, const amdsim_counts *before)
{
    const chip *c = chip_now();
    amdsim_counts *now = &k->profile->counts;
    uint64_t busy[UNITS], per_simd = (uint64_t)c->simds, most = 1;
    for (int u = 0; u < UNITS; u++) busy[u] = now->cycles[u] - before->cycles[u];
    const uint64_t parts[AMDSIM_PARTS] = {(busy[UNIT_VALU] + busy[UNIT_TRANS]) / per_simd, busy[UNIT_MATRIX] / per_simd,
                                          busy[UNIT_LDS], busy[UNIT_LOAD] + busy[UNIT_STORE] + busy[UNIT_ATOMIC],
                                          busy[UNIT_SCALAR] / per_simd};
    for (int u = 0; u < AMDSIM_PARTS; u++) {
        now->part_cycles[u] += parts[u];
        if (parts[u] > most) most = parts[u];
    }
    uint64_t filled = l->blocks < (uint32_t)device_compute_units() ? l->blocks : (uint64_t)device_compute_units();
    double seconds = (double)most / (double)filled / (1e3 * c->clock_khz) + 2e-6; /* and what a launch takes */
    now->seconds += seconds;
    k->lds_launched = k->lds + l->dynamic_lds;
    k->waves_per_simd = occupancy(k, l->waves, k->lds_launched);
    return seconds;
}

int amdsim_counters(amdsim_kernel *kernels, int room)
{
    for (int n = 0; n < all.count && n < room; n++) {
        const kernel *k = all.kernels[n];
        kernels[n] = (amdsim_kernel){.name = k->name,
                                     .vgprs = k->vgprs,
                                     .agprs = k->agprs,
                                     .sgprs = k->sgprs,
                                     .vgpr_spills = k->vgpr_spills,
                                     .sgpr_spills = k->sgpr_spills,
                                     .lds = k->lds_launched,
                                     .scratch = k->scratch,
                                     .waves_per_simd = k->waves_per_simd,
                                     .counts = k->profile->counts};
    }
    return all.count;
}

double amdsim_memory_bytes_per_clock(void)
{
    const chip *c = chip_now();
    return c->memory_bandwidth / (c->compute_units * 1e3 * c->clock_khz);
}
