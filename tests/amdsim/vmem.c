/* Vector memory: global, flat, scratch and buffer accesses. Executed at once; the registers count as pending until the wait. */
#include "vmem.h"

#include <string.h>

#include "cost.h"
#include "decode.h"
#include "profile.h"
#include "run.h"
#include "valu.h"

/* ---- Shared with LDS ---- */

void need_defined(wave *w, uint64_t undefined, const char *use)
{
    undefined &= EXEC(w);
    if (undefined) fault(w, __builtin_ctzll(undefined), "%s is an undefined register", use);
}

static uint32_t shaped(const mem_format *f, uint32_t value, uint32_t old)
{
    if (f->bytes == 1) value = f->sign_extend ? (uint32_t)(int8_t)value : value & 0xff;
    if (f->bytes == 2) value = f->sign_extend ? (uint32_t)(int16_t)value : value & 0xffff;
    if (f->half == 1) return (old & 0xffff0000u) | (value & 0xffff);
    if (f->half == 2) return (old & 0xffff) | value << 16;
    return value;
}

void load_result(wave *w, unsigned reg, const mem_format *f, uint32_t values[][LANES], const uint64_t *undefined, uint64_t lanes)
{
    unsigned count = (f->bytes + 3u) / 4;
    for (unsigned k = 0; k < count; k++) {
        uint32_t *d = w->v[reg + k];
        if (f->bytes < 4)
            for (int l = 0; l < LANES; l++) values[k][l] = shaped(f, values[k][l], d[l]);
        if (lanes == w->all_lanes)
            memcpy(d, values[k], sizeof values[k]);
        else
            for (int l = 0; l < LANES; l++) d[l] = lanes >> l & 1 ? values[k][l] : d[l];
        w->v_undef[reg + k] = (w->v_undef[reg + k] & ~lanes) | (undefined[k] & lanes);
    }
}

void lane_atomic(wave *w, int lane, const mem_format *f, region *r, uint64_t address, const uint32_t *data, uint32_t *old)
{
    uint64_t values[3] = {0, 0, 0};
    unsigned words = f->bytes / 4u;
    if (address % f->bytes) fault(w, lane, "an atomic at 0x%llx, which is not aligned", (unsigned long long)address);
    if (memory_read(w, lane, r, address, f->bytes, old, true))
        fault(w, lane, "an atomic on memory that was never written, at 0x%llx", (unsigned long long)address);
    memcpy(&values[0], old, f->bytes);
    memcpy(&values[1], data, f->bytes);
    if (f->compares) memcpy(&values[2], data + words, f->bytes);
    uint64_t result = f->atomic(values[0], values[1], values[2]);
    memory_write(w, lane, r, address, f->bytes, (const uint32_t *)&result, 0, true);
}

/* ---- Addresses ---- */

typedef struct target {
    uint64_t address[LANES];
    uint64_t lanes;   /* that access memory */
    uint64_t dropped; /* that a buffer's range check left out: read 0 */
    bool scratch;     /* the addresses are offsets into the lane's scratch */
} target;

/* The address registers of all lanes: 64 bits, or 32 zero-extended. */
static void vector_address(wave *w, const operand *o, uint64_t *address)
{
    const uint32_t *low = w->v[o->reg], *high = o->count > 1 ? w->v[o->reg + 1] : NULL;
    uint64_t undefined = w->v_undef[o->reg] | (high ? w->v_undef[o->reg + 1] : 0);
    valu_check(w, o);
    need_defined(w, undefined, "the address");
    for (int l = 0; l < LANES; l++) address[l] = low[l] | (high ? (uint64_t)high[l] << 32 : 0);
}

static void add_scalar(wave *w, const operand *o, int32_t offset, target *t)
{
    uint64_t more = (uint64_t)(int64_t)offset;
    if (o->where != IN_NOTHING) more += o->count > 1 ? scalar_need64(w, o, "an address") : scalar_need(w, o, "an address");
    for (int l = 0; l < LANES; l++) t->address[l] += more;
}

static void global_target(wave *w, const inst *i, target *t)
{
    vector_address(w, &i->src[0], t->address);
    add_scalar(w, &i->src[2], i->offset, t);
}

static void scratch_target(wave *w, const inst *i, target *t)
{
    t->scratch = true;
    memset(t->address, 0, sizeof t->address);
    if (i->src[0].where == IN_VGPR) vector_address(w, &i->src[0], t->address);
    add_scalar(w, &i->src[2], i->offset, t);
    for (int l = 0; l < LANES; l++) t->address[l] &= 0xffffffffu;
}

/* A buffer resource (ISA manuals, "Buffer Resource Descriptor"): base, stride, records, swizzle. The scratch one of gfx90a is
 * swizzled. */
static void buffer_target(wave *w, const inst *i, const mem_format *f, target *t)
{
    uint64_t index[LANES] = {0};
    operand o = i->src[0];
    const uint32_t *v = w->s + i->src[2].reg;
    valu_check(w, &i->src[2]);
    for (int k = 0; k < 4; k++)
        if (w->s_undef[i->src[2].reg + k]) fault(w, -1, "the buffer resource is undefined");
    uint64_t base = v[0] | (uint64_t)(v[1] & 0xffff) << 32;
    uint32_t stride = v[1] >> 16 & 0x3fff, records = v[2];
    uint32_t soffset = scalar_need(w, &i->src[3], "a buffer offset");
    memset(t->address, 0, sizeof t->address);
    if (i->flags & M_IDXEN) {
        operand first = o;
        first.count = 1;
        vector_address(w, &first, index);
        if (i->flags & M_OFFEN) o.reg++;
    }
    o.count = 1;
    if (i->flags & M_OFFEN) vector_address(w, &o, t->address);
    t->scratch = v[1] >> 31 && chip_now()->major == 9;
    for (int l = 0; l < LANES; l++) {
        uint64_t offset = t->address[l] + (uint32_t)i->offset;
        t->address[l] = t->scratch ? offset + soffset / 64 : base + soffset + offset + index[l] * stride;
        uint64_t end = chip_now()->major == 9 ? offset + soffset : offset;
        bool outside = i->flags & M_IDXEN && stride ? index[l] >= records : end + f->bytes > records;
        if (outside && !t->scratch) t->dropped |= 1ull << l;
    }
    t->dropped &= t->lanes;
    t->lanes &= ~t->dropped;
}

/* ---- Scratch ---- */

static uint8_t *scratch_at(wave *w, int lane, uint64_t offset, uint32_t bytes)
{
    uint32_t size = w->kernel->scratch;
    if (offset + bytes > size)
        fault(w, lane, "out of bounds: scratch offset %llu of %u bytes, of %u", (unsigned long long)offset, bytes, size);
    return w->scratch + (uint64_t)lane * size + offset;
}

static uint32_t scratch_read(wave *w, int lane, uint64_t offset, uint32_t bytes, uint32_t *words)
{
    uint32_t undefined = 0;
    const uint8_t *from = scratch_at(w, lane, offset, bytes), *known = w->scratch_defined + (from - w->scratch);
    words[0] = 0;
    memcpy(words, from, bytes);
    for (uint32_t k = 0; k < bytes; k += 4) {
        bool any = false;
        for (uint32_t b = k; b < k + 4 && b < bytes; b++) any |= known[b];
        undefined |= (uint32_t)!any << k / 4;
    }
    return undefined;
}

static void scratch_write(wave *w, int lane, uint64_t offset, uint32_t bytes, const uint32_t *words, uint32_t undefined)
{
    uint8_t *to = scratch_at(w, lane, offset, bytes), *known = w->scratch_defined + (to - w->scratch);
    memcpy(to, words, bytes);
    for (uint32_t b = 0; b < bytes; b++) known[b] = !(undefined >> b / 4 & 1);
}

/* ---- One lane ---- */

/* Where a lane's access goes; a flat address may lie in LDS or scratch. */
static int space_of(const mem_format *f, const target *t, uint64_t address)
{
    if (t->scratch) return SCRATCH;
    if (f->space != FLAT) return GLOBAL;
    return address >> 56 == SHARED_BASE >> 56 ? LDS : address >> 56 == PRIVATE_BASE >> 56 ? SCRATCH : GLOBAL;
}

static region *lds_at(wave *w, int lane, uint64_t *address, uint32_t bytes)
{
    region *r = &w->group->lds_region;
    uint64_t offset = *address & 0xffffffffu;
    if (offset + bytes > r->size)
        fault(w, lane, "out of bounds: LDS offset %llu of %u bytes, of %llu", (unsigned long long)offset, bytes,
              (unsigned long long)r->size);
    *address = r->base + offset;
    return r;
}

static region *region_for(wave *w, const inst *i, const mem_format *f, int lane, int space, uint64_t *address, bool write)
{
    if (space == LDS) {
        region *lds = lds_at(w, lane, address, f->bytes);
        if (w->group->lds_loads) wait_check_lds(w, lane, *address - lds->base, f->bytes);
        return lds;
    }
    region *r = memory_at(w, lane, *address, f->bytes, i->cache, write);
    ((inst *)i)->cache = r;
    return r;
}

/* ---- The three kinds ---- */

static bool synchronises(const inst *i)
{
    if (i->flags & M_SC1) return true;
    return !chip_now()->cdna3 && i->flags & M_GLC && !(i->flags & M_SLC);
}

static void load_lane(wave *w, const inst *i, const mem_format *f, const target *t, int lane, uint32_t values[][LANES],
                      uint64_t *undefined, bool atomic)
{
    uint32_t words[4] = {0}, unknown;
    uint64_t address = t->address[lane];
    int space = space_of(f, t, address);
    if (space == SCRATCH) {
        unknown = scratch_read(w, lane, address & 0xffffffffu, f->bytes, words);
    } else {
        region *r = region_for(w, i, f, lane, space, &address, false);
        unknown = memory_read(w, lane, r, address, f->bytes, words, atomic);
    }
    for (unsigned k = 0; k < (f->bytes + 3u) / 4; k++) {
        values[k][lane] = words[k];
        undefined[k] |= (uint64_t)(unknown >> k & 1) << lane;
    }
}

/* Most instructions find all their lanes in the region that they met last; a lane that is not there is looked at alone. */
static void load(wave *w, const inst *i, const mem_format *f, const target *t)
{
    uint32_t values[4][LANES];
    uint64_t undefined[4] = {0, 0, 0, 0}, left = t->lanes;
    unsigned count = (f->bytes + 3u) / 4;
    bool atomic = synchronises(i);
    if (atomic) run_synchronise(w);
    EACH_LANE(t->dropped)
    for (unsigned k = 0; k < count; k++) values[k][lane] = 0;
    while (left) {
        if (!t->scratch) left = memory_read_lanes(w, i->cache, t->address, left, f->bytes, values, undefined, atomic);
        if (!left) break;
        load_lane(w, i, f, t, __builtin_ctzll(left), values, undefined, atomic);
        left &= left - 1;
    }
    load_result(w, i->dst.reg, f, values, undefined, t->lanes | t->dropped);
}

/* Straight to LDS, at m0 plus the instruction's offset plus 4 bytes a lane; less than a dword is extended to one. With a buffer
 * an offset is refused: the manuals do not say plainly whether it moves the place in LDS too. */
static void load_to_lds(wave *w, const inst *i, const mem_format *f, const target *t)
{
    operand m0 = {.where = IN_SGPR, .reg = S_M0, .count = 1};
    uint64_t base = (scalar_need(w, &m0, "the place in LDS") & 0xffff) + (uint32_t)i->offset;
    uint32_t places[LANES] = {0};
    if (f->space == BUFFER && i->offset) fault(w, -1, "an offset with a buffer's load to LDS is not simulated");
    if (t->scratch) fault(w, -1, "a load from scratch to LDS is not simulated");
    EACH_LANE(t->lanes | t->dropped)
    {
        uint32_t word[4] = {0}, unknown = 0;
        uint64_t address = t->address[lane], to = base + 4 * lane;
        if (t->lanes >> lane & 1) {
            region *r = region_for(w, i, f, (int)lane, GLOBAL, &address, false);
            unknown = memory_read(w, (int)lane, r, address, f->bytes, word, false);
        }
        word[0] = shaped(f, word[0], 0);
        region *l = lds_at(w, (int)lane, &to, 4);
        memory_write(w, (int)lane, l, to, 4, word, unknown, false);
        places[lane] = (uint32_t)(to - l->base);
    }
    wait_push(w, QUEUE_VM, true, false, 0, 0);
    wait_note_lds(w, QUEUE_VM, t->lanes | t->dropped, places, 4);
}

static uint32_t stored(const mem_format *f, uint32_t value) { return f->half == 2 ? value >> 16 : value; }

static void store_lane(wave *w, const inst *i, const mem_format *f, const target *t, int lane, bool atomic)
{
    unsigned count = (f->bytes + 3u) / 4, reg = i->src[1].reg;
    uint32_t words[4], unknown = 0;
    uint64_t address = t->address[lane];
    int space = space_of(f, t, address);
    for (unsigned k = 0; k < count; k++) {
        words[k] = stored(f, w->v[reg + k][lane]);
        unknown |= (uint32_t)(w->v_undef[reg + k] >> lane & 1) << k;
    }
    if (space == SCRATCH) {
        scratch_write(w, lane, address & 0xffffffffu, f->bytes, words, unknown);
        return;
    }
    if (unknown == (1u << count) - 1 && space == GLOBAL) /* some of several may be a struct's padding: undefined in memory */
        fault(w, lane, "%c%u, which is stored, is an undefined register", reg >= ACC ? 'a' : 'v',
              (reg + (unsigned)__builtin_ctz(unknown)) % ACC);
    region *r = region_for(w, i, f, lane, space, &address, true);
    memory_write(w, lane, r, address, f->bytes, words, unknown, atomic);
}

/* As load. Lanes of which nothing is defined are looked at alone too. */
static void store(wave *w, const inst *i, const mem_format *f, const target *t)
{
    unsigned reg = i->src[1].reg;
    uint64_t left = t->lanes, nothing = t->lanes;
    bool atomic = synchronises(i);
    for (unsigned k = 0; k < (f->bytes + 3u) / 4; k++) nothing &= w->v_undef[reg + k];
    bool plain = !t->scratch && !nothing && f->half != 2;
    while (left) {
        if (plain) left = memory_write_lanes(w, i->cache, t->address, left, f->bytes, w->v + reg, w->v_undef + reg, atomic);
        if (!left) break;
        store_lane(w, i, f, t, __builtin_ctzll(left), atomic);
        left &= left - 1;
    }
    if (atomic) run_synchronise(w);
}

static void atomic(wave *w, const inst *i, const mem_format *f, const target *t)
{
    uint32_t values[4][LANES];
    uint64_t undefined[4] = {0, 0, 0, 0};
    unsigned words = f->bytes / 4u * (f->compares ? 2 : 1), reg = i->src[1].reg;
    for (unsigned k = 0; k < words; k++) need_defined(w, w->v_undef[reg + k] & t->lanes, "the data of an atomic");
    run_synchronise(w);
    EACH_LANE(t->lanes)
    {
        uint32_t data[4], old[2];
        uint64_t address = t->address[lane];
        int space = space_of(f, t, address);
        if (space == SCRATCH) fault(w, (int)lane, "an atomic on scratch");
        region *r = region_for(w, i, f, (int)lane, space, &address, true);
        for (unsigned k = 0; k < words; k++) data[k] = w->v[reg + k][lane];
        lane_atomic(w, (int)lane, f, r, address, data, old);
        for (unsigned k = 0; k < f->bytes / 4u; k++) values[k][lane] = old[k];
    }
    run_synchronise(w);
    if (i->flags & M_GLC) load_result(w, i->dst.reg, f, values, undefined, t->lanes);
}

static void set_pending(wave *w, const inst *i, const mem_format *f)
{
    bool result = f->what == LOAD || (f->what == ATOMIC && i->flags & M_GLC);
    unsigned count = result ? (f->bytes + 3u) / 4 : 0;
    wait_push(w, chip_now()->store_counter && !result ? QUEUE_VS : QUEUE_VM, true, false, i->dst.reg, count);
    if (f->space == FLAT) wait_push(w, QUEUE_LGKM, true, false, i->dst.reg, count);
}

void vmem_run(wave *w, const inst *i)
{
    const mem_format *f = i->format;
    target t;
    t.lanes = EXEC(w);
    t.dropped = 0;
    t.scratch = false;
    if (f->space == GLOBAL || f->space == FLAT)
        global_target(w, i, &t);
    else if (f->space == SCRATCH)
        scratch_target(w, i, &t);
    else
        buffer_target(w, i, f, &t);
    if (i->src[1].where == IN_VGPR) valu_check(w, &i->src[1]);
    if (f->what == STORE)
        store(w, i, f, &t);
    else if (f->what == ATOMIC)
        atomic(w, i, f, &t);
    else if (i->flags & M_LDS)
        load_to_lds(w, i, f, &t);
    else
        load(w, i, f, &t);
    profile_memory(w, i, f, t.address, t.lanes, t.scratch);
    if (!(i->flags & M_LDS)) set_pending(w, i, f);
}
