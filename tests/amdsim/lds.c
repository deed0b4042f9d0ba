/* LDS: loads, stores, atomics, and the permutations that pass through it. Executed at once; registers pend until lgkmcnt covers
 * them. */
#include <stdio.h>
#include <string.h>

#include "decode.h"
#include "profile.h"
#include "run.h"
#include "valu.h"
#include "vmem.h"

/* ---- Addresses ---- */

static void addresses(wave *w, const inst *i, uint32_t *address)
{
    const operand *o = &i->src[0];
    valu_check(w, o);
    need_defined(w, w->v_undef[o->reg], "the LDS address");
    memcpy(address, w->v[o->reg], LANES * sizeof *address);
}

/* The sum wraps at 32 bits: compilers use negative bases. */
static uint64_t place(wave *w, int lane, uint32_t address, int32_t offset, uint32_t bytes)
{
    const region *r = &w->group->lds_region;
    uint64_t at = address + (uint32_t)offset;
    if (at + bytes > r->size)
        fault(w, lane, "out of bounds: LDS offset %llu of %u bytes, of %llu", (unsigned long long)at, bytes,
              (unsigned long long)r->size);
    if (w->group->lds_loads) wait_check_lds(w, lane, at, bytes);
    return r->base + at;
}

/* ---- Loads and stores; of the two-address forms twice ---- */

/* Where the lanes access LDS, as offsets and as addresses. */
typedef struct places {
    uint32_t offset[LANES];
    uint64_t address[LANES];
} places;

static void places_of(const wave *w, const uint32_t *address, int32_t offset, places *p)
{
    uint64_t base = w->group->lds_region.base;
    for (int l = 0; l < LANES; l++) {
        p->offset[l] = address[l] + (uint32_t)offset;
        p->address[l] = base + p->offset[l];
    }
}

/* The region for memory_read_lanes and memory_write_lanes: none while loads straight to LDS are under way, which each lane's
 * place has to be held against. */
static region *plain_region(wave *w) { return w->group->lds_loads ? NULL : &w->group->lds_region; }

static void load_part(wave *w, const mem_format *f, const uint32_t *address, int32_t offset, unsigned reg)
{
    uint32_t values[4][LANES];
    uint64_t undefined[4] = {0, 0, 0, 0}, left = EXEC(w);
    places p;
    places_of(w, address, offset, &p);
    while ((left = memory_read_lanes(w, plain_region(w), p.address, left, f->bytes, values, undefined, false))) {
        int lane = __builtin_ctzll(left);
        uint64_t from = place(w, lane, address[lane], offset, f->bytes);
        uint32_t words[4] = {0}, unknown = memory_read(w, lane, &w->group->lds_region, from, f->bytes, words, false);
        for (unsigned k = 0; k < (f->bytes + 3u) / 4; k++) {
            values[k][lane] = words[k];
            undefined[k] |= (uint64_t)(unknown >> k & 1) << lane;
        }
        left &= left - 1;
    }
    load_result(w, reg, f, values, undefined, EXEC(w));
    profile_lds(w, w->now, p.offset, f->bytes, EXEC(w));
}

static void store_part(wave *w, const mem_format *f, const uint32_t *address, int32_t offset, unsigned reg)
{
    uint64_t left = EXEC(w);
    uint32_t upper[1][LANES];
    const uint32_t(*values)[LANES] = w->v + reg;
    places p;
    places_of(w, address, offset, &p);
    if (f->half == 2) {
        for (int l = 0; l < LANES; l++) upper[0][l] = w->v[reg][l] >> 16;
        values = upper;
    }
    while ((left = memory_write_lanes(w, plain_region(w), p.address, left, f->bytes, values, w->v_undef + reg, false))) {
        int lane = __builtin_ctzll(left);
        uint32_t words[4], unknown = 0;
        uint64_t to = place(w, lane, address[lane], offset, f->bytes);
        for (unsigned k = 0; k < (f->bytes + 3u) / 4; k++) {
            words[k] = values[k][lane];
            unknown |= (uint32_t)(w->v_undef[reg + k] >> lane & 1) << k;
        }
        memory_write(w, lane, &w->group->lds_region, to, f->bytes, words, unknown, false);
        left &= left - 1;
    }
    wait_push(w, QUEUE_LGKM, true, false, 0, 0);
    wait_note_lds(w, QUEUE_LGKM, EXEC(w), p.offset, f->bytes);
    profile_lds(w, w->now, p.offset, f->bytes, EXEC(w));
}

enum { ONE, TWO, TWO_FAR };
static int32_t second_unit(const inst *i, const mem_format *f) { return (int32_t)f->bytes * (i->option == TWO_FAR ? 64 : 1); }

static void run_load(wave *w, const inst *i)
{
    const mem_format *f = i->format;
    uint32_t address[LANES];
    unsigned count = (f->bytes + 3u) / 4;
    addresses(w, i, address);
    if (i->option == ONE) {
        load_part(w, f, address, i->offset, i->dst.reg);
    } else {
        uint32_t next[LANES]; /* the result may overwrite the address */
        memcpy(next, address, sizeof next);
        load_part(w, f, address, i->offset * second_unit(i, f), i->dst.reg);
        load_part(w, f, next, i->offset2 * second_unit(i, f), i->dst.reg + count);
    }
    wait_push(w, QUEUE_LGKM, true, false, i->dst.reg, i->option == ONE ? count : 2 * count);
}

static void run_store(wave *w, const inst *i)
{
    const mem_format *f = i->format;
    uint32_t address[LANES];
    addresses(w, i, address);
    valu_check(w, &i->src[1]);
    if (i->option == ONE) {
        store_part(w, f, address, i->offset, i->src[1].reg);
        return;
    }
    valu_check(w, &i->src[2]);
    store_part(w, f, address, i->offset * second_unit(i, f), i->src[1].reg);
    store_part(w, f, address, i->offset2 * second_unit(i, f), i->src[2].reg);
}

static void run_atomic(wave *w, const inst *i)
{
    const mem_format *f = i->format;
    uint32_t address[LANES], values[4][LANES];
    uint64_t undefined[4] = {0, 0, 0, 0};
    bool returns = i->dst.where == IN_VGPR, reversed = i->option; /* ds_cmpst compares with the first data */
    unsigned words = f->bytes / 4u;
    addresses(w, i, address);
    for (int d = 1; d <= (f->compares ? 2 : 1); d++) {
        valu_check(w, &i->src[d]);
        for (unsigned k = 0; k < words; k++) need_defined(w, w->v_undef[i->src[d].reg + k], "the data of an atomic");
    }
    EACH_LANE(EXEC(w))
    {
        uint32_t data[4], old[2];
        for (unsigned k = 0; k < words; k++) {
            data[k] = w->v[i->src[reversed ? 2 : 1].reg + k][lane];
            if (f->compares) data[words + k] = w->v[i->src[reversed ? 1 : 2].reg + k][lane];
        }
        lane_atomic(w, (int)lane, f, &w->group->lds_region, place(w, (int)lane, address[lane], i->offset, f->bytes), data, old);
        for (unsigned k = 0; k < words; k++) values[k][lane] = old[k];
    }
    profile_lds(w, i, address, f->bytes, EXEC(w));
    if (returns) load_result(w, i->dst.reg, f, values, undefined, EXEC(w));
    wait_push(w, QUEUE_LGKM, true, false, i->dst.reg, returns ? words : 0);
}

/* ---- Permutations ---- */

static void finish_permutation(wave *w, const inst *i, uint32_t values[][LANES], uint64_t undefined, uint64_t lanes)
{
    static const mem_format dword = {.bytes = 4};
    load_result(w, i->dst.reg, &dword, values, &undefined, lanes);
    profile_permutation(w, i);
    wait_push(w, QUEUE_LGKM, true, false, i->dst.reg, 1);
}

/* What an inactive lane would give is undefined here, though the chip gives 0. */
static void run_bpermute(wave *w, const inst *i)
{
    uint32_t address[LANES], values[1][LANES];
    uint64_t undefined = 0;
    addresses(w, i, address);
    valu_check(w, &i->src[1]);
    for (int l = 0; l < LANES; l++) {
        uint32_t from = (address[l] + (uint32_t)i->offset) / 4 % w->kernel->wave_size;
        bool active = EXEC(w) >> from & 1;
        values[0][l] = active ? w->v[i->src[1].reg][from] : 0;
        if (!active || w->v_undef[i->src[1].reg] >> from & 1) undefined |= 1ull << l;
    }
    finish_permutation(w, i, values, undefined, EXEC(w));
}

static void run_permute(wave *w, const inst *i)
{
    uint32_t address[LANES], values[1][LANES] = {{0}};
    uint64_t undefined = 0;
    addresses(w, i, address);
    valu_check(w, &i->src[1]);
    EACH_LANE(EXEC(w))
    {
        uint32_t to = (address[lane] + (uint32_t)i->offset) / 4 % w->kernel->wave_size;
        values[0][to] = w->v[i->src[1].reg][lane];
        undefined = (undefined & ~(1ull << to)) | (w->v_undef[i->src[1].reg] >> lane & 1) << to;
    }
    finish_permutation(w, i, values, undefined, EXEC(w));
}

/* DS_SWIZZLE_B32: four lanes by selectors, or 32 by and, or, xor of the lane's number. */
static void run_swizzle(wave *w, const inst *i)
{
    uint32_t values[1][LANES], code = (uint32_t)i->offset;
    uint64_t undefined = 0;
    valu_check(w, &i->src[0]);
    for (int l = 0; l < LANES; l++) {
        int from = code >> 15 ? (l & ~3) + (int)(code >> 2 * (l & 3) & 3)
                              : (l & 32) + (int)(((((uint32_t)l & 31) & (code & 31)) | (code >> 5 & 31)) ^ (code >> 10 & 31));
        bool active = EXEC(w) >> from & 1;
        values[0][l] = active ? w->v[i->src[0].reg][from] : 0;
        if (!active || w->v_undef[i->src[0].reg] >> from & 1) undefined |= 1ull << l;
    }
    finish_permutation(w, i, values, undefined, EXEC(w));
}

static void run_nothing(wave *w, const inst *i) { (void)w, (void)i; }

/* ---- Decoding ---- */

/* The beginnings of names; what follows is a format's or an atomic's name. */
static const struct {
    const char *prefix;
    run_fn *run;
    uint8_t what, option;
} names[] = {
    {"ds_read2st64_", run_load, LOAD, TWO_FAR},
    {"ds_load_2addr_stride64_", run_load, LOAD, TWO_FAR},
    {"ds_read2_", run_load, LOAD, TWO},
    {"ds_load_2addr_", run_load, LOAD, TWO},
    {"ds_read_", run_load, LOAD, ONE},
    {"ds_load_", run_load, LOAD, ONE},
    {"ds_write2st64_", run_store, STORE, TWO_FAR},
    {"ds_store_2addr_stride64_", run_store, STORE, TWO_FAR},
    {"ds_write2_", run_store, STORE, TWO},
    {"ds_store_2addr_", run_store, STORE, TWO},
    {"ds_write_", run_store, STORE, ONE},
    {"ds_store_", run_store, STORE, ONE},
};
static const struct {
    const char *name, *kinds;
    run_fn *run;
} others[] = {{"ds_bpermute_b32", "dad", run_bpermute},
              {"ds_permute_b32", "dad", run_permute},
              {"ds_swizzle_b32", "da", run_swizzle},
              {"ds_nop", "", run_nothing}};

static bool registers(inst *i, line *t, bool result, const chip *chip)
{
    int at = 0;
    bool good = !result || (t->count > 0 && decode_one(t->piece[at++], 'v', &i->dst, chip));
    for (int k = 0; at < t->count && k < 3; k++) good = good && decode_one(t->piece[at++], 'v', &i->src[k], chip);
    for (int k = 0; k < t->options; k++) good = good && decode_memory_option(i, t->option[k]);
    return good && at == t->count && !(i->flags & M_GDS);
}

static bool atomic_name(inst *i, const char *name, bool *returns)
{
    char plain[64];
    const char *rtn = strstr(name, "rtn_");
    size_t before = rtn ? (size_t)(rtn - name) : strlen(name);
    snprintf(plain, sizeof plain, "%.*s%s", (int)before, name, rtn ? rtn + 4 : "");
    const mem_format *f = atomic_of(plain);
    if (!f) return false;
    *returns = rtn != NULL;
    i->format = format_copy(f, ATOMIC, LDS);
    i->run = run_atomic;
    i->option = strncmp(plain, "cmpst_", 6) == 0;
    return true;
}

static bool access_name(inst *i, const char *name)
{
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        size_t length = strlen(names[k].prefix);
        if (strncmp(name, names[k].prefix, length) != 0) continue;
        const mem_format *f = format_of(name + length);
        if (!f) return false;
        i->format = format_copy(f, names[k].what, LDS);
        i->run = names[k].run;
        i->option = names[k].option;
        return true;
    }
    return false;
}

bool decode_lds(inst *i, const char *name, line *t, const chip *chip)
{
    bool result = false, known = false;
    if (strncmp(name, "ds_", 3) != 0) return false;
    i->unit = UNIT_LDS;
    for (size_t k = 0; k < sizeof others / sizeof others[0] && !known; k++) {
        known = strcmp(name, others[k].name) == 0;
        if (!known) continue;
        i->run = others[k].run;
        result = others[k].kinds[0] == 'd';
        if (i->run == run_nothing) return true;
    }
    if (!known && access_name(i, name)) {
        known = true;
        result = i->run == run_load;
    }
    if (!known) known = atomic_name(i, name + 3, &result);
    if (!known)
        i->why_not = "unknown instruction";
    else if (!registers(i, t, result, chip))
        i->why_not = "operands that the simulator does not understand";
    return true;
}
