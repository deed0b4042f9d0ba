/* Wait counters: a memory instruction's registers may not be touched before an s_waitcnt that covers it.
 *
 * Each counter is a queue. Vector memory and LDS answer in order; scalar memory does not, so while any of it is under way in a
 * queue only a wait for nothing left says anything (ISA manuals, "S_WAITCNT", "Manually Inserted Wait States"). */
#include <string.h>

#include "sim.h"

static void mark(wave *w, const pending *p, int change)
{
    uint8_t *count = (p->vector ? w->v_pending : w->s_pending) + p->reg;
    for (unsigned i = 0; i < p->count; i++) count[i] = (uint8_t)(count[i] + change);
}

/* The dwords of LDS that a load straight to it covers. */
static void mark_lds(wave *w, const lds_note *n, int change)
{
    for (uint64_t left = n->lanes; left; left &= left - 1) {
        uint16_t *count = &w->group->lds_loading[n->address[__builtin_ctzll(left)] / 4];
        *count = (uint16_t)(*count + change);
    }
    w->group->lds_loads += (uint32_t)change;
}

static void finish_first(wave *w, int which)
{
    queue *q = &w->queue[which];
    const pending *p = &q->entry[q->first];
    mark(w, p, -1);
    if (p->noted && which == QUEUE_VM) mark_lds(w, &w->note[which][q->first], -1);
    q->scalar_memory -= p->scalar_memory;
    q->first = (q->first + 1) % QUEUE_ROOM;
    q->count--;
}

void wait_push(wave *w, int which, bool vector, bool scalar_memory, unsigned reg, unsigned count)
{
    queue *q = &w->queue[which];
    if (q->count == QUEUE_ROOM) finish_first(w, which); /* the counter saturates: the chip itself would stall */
    pending *p = &q->entry[(q->first + q->count++) % QUEUE_ROOM];
    *p = (pending){.vector = vector, .scalar_memory = scalar_memory, .reg = (uint16_t)reg, .count = (uint16_t)count};
    q->scalar_memory += scalar_memory;
    mark(w, p, 1);
}

void wait_until(wave *w, int which, uint32_t left)
{
    queue *q = &w->queue[which];
    if (left && q->scalar_memory) return;
    while (q->count > left) finish_first(w, which);
}

void wait_note_lds(wave *w, int which, uint64_t lanes, const uint32_t *address, uint32_t bytes)
{
    queue *q = &w->queue[which];
    uint32_t last = (q->first + q->count - 1) % QUEUE_ROOM;
    lds_note *n = &w->note[which][last];
    q->entry[last].noted = true;
    n->lanes = lanes;
    n->bytes = bytes;
    memcpy(n->address, address, sizeof n->address);
    if (which == QUEUE_VM) mark_lds(w, n, 1);
}

void wait_check_lds(wave *w, int lane, uint64_t offset, uint32_t bytes)
{
    for (uint64_t at = offset / 4; at <= (offset + bytes - 1) / 4; at++)
        if (w->group->lds_loading[at])
            fault(w, lane, "LDS offset %llu is used before the s_waitcnt of the load straight into it",
                  (unsigned long long)offset);
}

static void restamp(wave *w, const lds_note *n)
{
    for (uint64_t left = n->lanes; left; left &= left - 1) {
        uint32_t address = n->address[__builtin_ctzll(left)];
        for (uint32_t b = 0; b < n->bytes; b += 4) {
            cell *c = &w->group->lds_region.cells[(address + b) / 4];
            if (WHO(c->wrote) == w->who) c->wrote_when = sim_clock;
        }
    }
}

void wait_restamp(wave *w)
{
    for (int which = 0; which < QUEUES; which++) {
        const queue *q = &w->queue[which];
        for (uint32_t k = 0; k < q->count; k++) {
            uint32_t at = (q->first + k) % QUEUE_ROOM;
            if (q->entry[at].noted) restamp(w, &w->note[which][at]);
        }
    }
}
