/* What each access to memory is held against: bounds, definedness, races between waves.
 *
 * Two accesses to a byte by different waves, one of them a plain store, are a race unless something orders them: a barrier of
 * their block between them, or an atomic of the first one's block after the first and one of the second's block before the
 * second. Every barrier, atomic and block start takes the next tick of one clock; an access is remembered with its wave and tick.
 */
#include <stdio.h>
#include <string.h>

#include "sim.h"

uint32_t sim_clock = 1;

region *memory_at(wave *w, int lane, uint64_t address, uint32_t bytes, region *last, bool write)
{
    region *r = last && address - last->base < last->size && bytes <= last->size - (address - last->base)
                    ? last
                    : region_find(address, bytes);
    if (r && !(write && r->read_only)) return r;
    char text[160];
    region_explain(address, bytes, text, sizeof text);
    if (r) fault(w, lane, "write to read-only memory: the %s", r->what);
    fault(w, lane, "out of bounds: %s of %u bytes at 0x%llx %s", write ? "write" : "read", bytes, (unsigned long long)address,
          text);
}

/* ---- Races ---- */

static uint32_t block_of(const launch *l, uint32_t who) { return who & WHO_BLOCK ? who & ~WHO_BLOCK : (who - 1) / l->waves; }

/* Whether what `who` did at tick `when` comes before anything that w does now. */
static bool ordered(const wave *w, const region *r, uint32_t who, uint32_t when)
{
    const launch *l = w->group->launch;
    if (who == w->who || who == WHO_ATOMIC || when < l->start_clock) return true;
    if (r == &w->group->lds_region) return when < w->group->barrier_clock;
    if (who == WHO_MANY) return w->group->acquired > when;
    uint32_t their_block = block_of(l, who);
    if (their_block == w->group->number && when < w->group->barrier_clock) return true;
    return l->released[their_block] > when && w->group->acquired > when;
}

static _Noreturn void race(wave *w, int lane, const region *r, uint64_t address, const char *mine, const char *theirs,
                           uint32_t who)
{
    const launch *l = w->group->launch;
    char other[64] = "several other waves";
    if (who & WHO_BLOCK && who != WHO_MANY)
        snprintf(other, sizeof other, "several waves of block %u", who & ~WHO_BLOCK);
    else if (who != WHO_MANY)
        snprintf(other, sizeof other, "block %u wave %u", (who - 1) / l->waves, (who - 1) % l->waves);
    bool lds = r == &w->group->lds_region;
    fault(w, lane, "race: %s of %s 0x%llx after a %s by %s with no barrier or atomic between them", mine,
          lds ? "LDS" : "global memory", (unsigned long long)(lds ? address - r->base : address), theirs, other);
}

/* Who has read a cell that both `who`, not yet ordered before w, and w have read. */
static uint32_t together(const wave *w, uint32_t who)
{
    if (who == WHO_MANY || block_of(w->group->launch, who) != w->group->number) return WHO_MANY;
    return WHO_BLOCK | w->group->number;
}

/* A reader's place: the one of the same bytes, or one that says nothing any more. Without either the read is forgotten: what is
 * remembered is exact, so that neighbours in a dword are never taken for each other. */
static __attribute__((noinline)) void remember_read(const wave *w, const region *r, cell *c, uint32_t bytes, uint32_t old)
{
    for (int k = 0; k < 2; k++) {
        uint32_t who = WHO(c->read[k]);
        bool dead = !who || c->read_when[k] < old || (who != w->who && ordered(w, r, who, c->read_when[k])),
             same = c->read[k] >> 28 == bytes >> 28;
        if (!dead && !same && who != w->who) continue;
        if (dead)
            c->read[k] = w->who | bytes;
        else if (who != w->who)
            c->read[k] = together(w, who) | bytes;
        else
            c->read[k] |= bytes;
        c->read_when[k] = sim_clock;
        return;
    }
}

/* What is older than this tick is no race: most of what there is, so that `ordered` need not be asked. */
static inline uint32_t settled(const wave *w, const region *r)
{
    return r == &w->group->lds_region ? w->group->barrier_clock : w->group->launch->start_clock;
}

/* What is the same for all that one instruction accesses in a region. */
typedef struct moment {
    uint32_t who, old, now;
    bool atomic;
} moment;

static inline moment moment_of(const wave *w, const region *r, bool atomic)
{
    return (moment){.who = w->who, .old = settled(w, r), .now = sim_clock, .atomic = atomic};
}

static inline void note_read(wave *w, int lane, region *r, cell *c, uint64_t address, uint32_t bytes, moment m)
{
    if (c->wrote_when >= m.old && WHO(c->wrote) != m.who && c->wrote & bytes && !m.atomic &&
        !ordered(w, r, WHO(c->wrote), c->wrote_when))
        race(w, lane, r, address, "read", "write", WHO(c->wrote));
    if (m.atomic) return;
    if (c->read_when[0] < m.old)
        c->read[0] = m.who | bytes;
    else if (WHO(c->read[0]) == m.who)
        c->read[0] |= bytes;
    else if (c->read[0] != (WHO_BLOCK | w->group->number | bytes) || c->read_when[0] < w->group->barrier_clock) {
        remember_read(w, r, c, bytes, m.old);
        return;
    }
    c->read_when[0] = m.now;
}

static inline void note_write(wave *w, int lane, region *r, cell *c, uint64_t address, uint32_t bytes, moment m)
{
    if (c->wrote_when >= m.old && WHO(c->wrote) != m.who && c->wrote & bytes && !ordered(w, r, WHO(c->wrote), c->wrote_when))
        race(w, lane, r, address, "write", "write", WHO(c->wrote));
    for (int k = 0; k < 2; k++)
        if (c->read_when[k] >= m.old && WHO(c->read[k]) != m.who && c->read[k] & bytes &&
            !ordered(w, r, WHO(c->read[k]), c->read_when[k]))
            race(w, lane, r, address, "write", "read", WHO(c->read[k]));
    c->wrote = (m.atomic ? WHO_ATOMIC : m.who) | bytes;
    c->wrote_when = m.now;
}

/* ---- Accesses ---- */

/* `bytes` from address, dword by dword: the mask of bytes of each in bits 28 to 31. */
#define BYTE_MASK(address, bytes) ((((1u << (bytes)) - 1) << ((address) % 4) & 15u) << 28)

static uint32_t read_small(wave *w, int lane, region *r, uint64_t address, uint32_t bytes, uint32_t *word, bool atomic)
{
    uint32_t known = 0, inside = 4 - address % 4;
    if (bytes > inside) { /* across a dword's end */
        uint32_t high = 0, undefined = read_small(w, lane, r, address, inside, word, atomic);
        undefined &= read_small(w, lane, r, address + inside, bytes - inside, &high, atomic);
        *word |= high << 8 * inside;
        return undefined;
    }
    uint32_t mask = BYTE_MASK(address, bytes);
    known = r->defined ? r->defined[(address - r->base) / 4] & mask >> 28 : 15;
    if (r->cells) note_read(w, lane, r, &r->cells[(address - r->base) / 4], address, mask, moment_of(w, r, atomic));
    *word = 0;
    memcpy(word, (const void *)address, bytes);
    return known == 0;
}

uint32_t memory_read(wave *w, int lane, region *r, uint64_t address, uint32_t bytes, uint32_t *words, bool atomic)
{
    uint32_t undefined = 0, count = (bytes + 3) / 4;
    if (bytes < 4 || address % 4) {
        for (uint32_t k = 0; k < count; k++) {
            uint32_t left = bytes - 4 * k;
            undefined |= read_small(w, lane, r, address + 4 * k, left < 4 ? left : 4, words + k, atomic) << k;
        }
        return undefined;
    }
    const uint8_t *defined = r->defined ? r->defined + (address - r->base) / 4 : NULL;
    cell *c = r->cells ? r->cells + (address - r->base) / 4 : NULL;
    moment m = moment_of(w, r, atomic);
    memcpy(words, (const void *)address, bytes);
    for (uint32_t k = 0; k < count; k++) {
        if (defined && !defined[k]) undefined |= 1u << k;
        if (c) note_read(w, lane, r, c + k, address + 4 * k, 15u << 28, m);
    }
    return undefined;
}

static void write_small(wave *w, int lane, region *r, uint64_t address, uint32_t bytes, uint32_t word, bool undefined,
                        bool atomic)
{
    uint32_t inside = 4 - address % 4;
    if (bytes > inside) {
        write_small(w, lane, r, address, inside, word, undefined, atomic);
        write_small(w, lane, r, address + inside, bytes - inside, word >> 8 * inside, undefined, atomic);
        return;
    }
    uint32_t mask = BYTE_MASK(address, bytes);
    if (r->cells) note_write(w, lane, r, &r->cells[(address - r->base) / 4], address, mask, moment_of(w, r, atomic));
    if (r->defined) {
        uint8_t *d = &r->defined[(address - r->base) / 4];
        *d = (uint8_t)(undefined ? *d & ~(mask >> 28) : *d | mask >> 28);
    }
    memcpy((void *)address, &word, bytes);
}

void memory_write(wave *w, int lane, region *r, uint64_t address, uint32_t bytes, const uint32_t *words, uint32_t undefined,
                  bool atomic)
{
    uint32_t count = (bytes + 3) / 4;
    if (bytes < 4 || address % 4) {
        for (uint32_t k = 0; k < count; k++) {
            uint32_t left = bytes - 4 * k;
            write_small(w, lane, r, address + 4 * k, left < 4 ? left : 4, words[k], undefined >> k & 1, atomic);
        }
        return;
    }
    uint8_t *defined = r->defined ? r->defined + (address - r->base) / 4 : NULL;
    cell *c = r->cells ? r->cells + (address - r->base) / 4 : NULL;
    moment m = moment_of(w, r, atomic);
    for (uint32_t k = 0; k < count; k++) {
        if (c) note_write(w, lane, r, c + k, address + 4 * k, 15u << 28, m);
        if (defined) defined[k] = undefined >> k & 1 ? 0 : 15;
    }
    memcpy((void *)address, words, bytes);
}

/* ---- Accesses of many lanes: what memory_read and memory_write do, with all that is not the lane's own asked once ---- */

/* Within one dword, or whole ones. */
static inline bool in_place(uint64_t address, uint32_t bytes) { return bytes < 4 ? address % 4 + bytes <= 4 : address % 4 == 0; }

/* Made once for each number of bytes, so that its loops are unrolled. */
static inline __attribute__((always_inline)) uint64_t read_lanes(wave *w, region *r, const uint64_t *address, uint64_t lanes,
                                                                 uint32_t bytes, uint32_t values[][LANES], uint64_t *undefined,
                                                                 bool atomic)
{
    moment m = moment_of(w, r, atomic);
    uint64_t base = r->base, last = r->size - bytes;
    const uint8_t *defined = r->defined;
    cell *cells = r->cells;
    for (; lanes; lanes &= lanes - 1) {
        int lane = __builtin_ctzll(lanes);
        uint64_t at = address[lane], dword = (at - base) / 4;
        uint32_t words[4] = {0}, mask = bytes < 4 ? BYTE_MASK(at, bytes) : 15u << 28;
        if (at - base > last || !in_place(at, bytes)) return lanes;
        memcpy(words, (const void *)at, bytes);
        for (uint32_t k = 0; 4 * k < bytes; k++) {
            values[k][lane] = words[k];
            if (defined && !(defined[dword + k] & mask >> 28)) undefined[k] |= 1ull << lane;
            if (cells) note_read(w, lane, r, cells + dword + k, at + 4 * k, mask, m);
        }
    }
    return 0;
}

static inline __attribute__((always_inline)) uint64_t write_lanes(wave *w, region *r, const uint64_t *address, uint64_t lanes,
                                                                  uint32_t bytes, const uint32_t values[][LANES],
                                                                  const uint64_t *undefined, bool atomic)
{
    moment m = moment_of(w, r, atomic);
    uint64_t base = r->base, last = r->size - bytes;
    uint8_t *defined = r->defined;
    cell *cells = r->cells;
    for (; lanes; lanes &= lanes - 1) {
        int lane = __builtin_ctzll(lanes);
        uint64_t at = address[lane], dword = (at - base) / 4;
        uint32_t words[4], mask = bytes < 4 ? BYTE_MASK(at, bytes) : 15u << 28;
        if (at - base > last || !in_place(at, bytes)) return lanes;
        for (uint32_t k = 0; 4 * k < bytes; k++) {
            words[k] = values[k][lane];
            if (cells) note_write(w, lane, r, cells + dword + k, at + 4 * k, mask, m);
            if (!defined) continue;
            uint8_t *d = &defined[dword + k];
            *d = (uint8_t)(undefined[k] >> lane & 1 ? *d & ~(mask >> 28) : *d | mask >> 28);
        }
        memcpy((void *)at, words, bytes);
    }
    return 0;
}

uint64_t memory_read_lanes(wave *w, region *r, const uint64_t *address, uint64_t lanes, uint32_t bytes, uint32_t values[][LANES],
                           uint64_t *undefined, bool atomic)
{
    if (!r || r->size < bytes) return lanes;
    switch (bytes) {
    case 1: return read_lanes(w, r, address, lanes, 1, values, undefined, atomic);
    case 2: return read_lanes(w, r, address, lanes, 2, values, undefined, atomic);
    case 4: return read_lanes(w, r, address, lanes, 4, values, undefined, atomic);
    case 8: return read_lanes(w, r, address, lanes, 8, values, undefined, atomic);
    case 12: return read_lanes(w, r, address, lanes, 12, values, undefined, atomic);
    case 16: return read_lanes(w, r, address, lanes, 16, values, undefined, atomic);
    default: return lanes;
    }
}

uint64_t memory_write_lanes(wave *w, region *r, const uint64_t *address, uint64_t lanes, uint32_t bytes,
                            const uint32_t values[][LANES], const uint64_t *undefined, bool atomic)
{
    if (!r || r->read_only || r->size < bytes) return lanes;
    switch (bytes) {
    case 1: return write_lanes(w, r, address, lanes, 1, values, undefined, atomic);
    case 2: return write_lanes(w, r, address, lanes, 2, values, undefined, atomic);
    case 4: return write_lanes(w, r, address, lanes, 4, values, undefined, atomic);
    case 8: return write_lanes(w, r, address, lanes, 8, values, undefined, atomic);
    case 12: return write_lanes(w, r, address, lanes, 12, values, undefined, atomic);
    case 16: return write_lanes(w, r, address, lanes, 16, values, undefined, atomic);
    default: return lanes;
    }
}
