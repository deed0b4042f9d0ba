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

static void finish_first(wave *w, queue *q)
{
    const pending *p = &q->entry[q->first];
    mark(w, p, -1);
    q->scalar_memory -= p->scalar_memory;
    q->first = (q->first + 1) % QUEUE_ROOM;
    q->count--;
}

void wait_push(wave *w, int which, bool vector, bool scalar_memory, unsigned reg, unsigned count, int note)
{
    queue *q = &w->queue[which];
    if (q->count == QUEUE_ROOM) finish_first(w, q); /* the counter saturates: the chip itself would stall */
    pending *p = &q->entry[(q->first + q->count++) % QUEUE_ROOM];
    *p = (pending){.vector = vector,
                   .scalar_memory = scalar_memory,
                   .reg = (uint16_t)reg,
                   .count = (uint16_t)count,
                   .lds_note = (int16_t)note};
    q->scalar_memory += scalar_memory;
    mark(w, p, 1);
}

void wait_until(wave *w, int which, uint32_t left)
{
    queue *q = &w->queue[which];
    if (left && q->scalar_memory) return;
    while (q->count > left) finish_first(w, q);
}

int wait_note_lds(wave *w, uint64_t lanes, const uint32_t *address, uint32_t bytes)
{
    int index = w->next_note++ % LDS_NOTES;
    lds_note *n = &w->note[index];
    n->lanes = lanes;
    n->bytes = bytes;
    memcpy(n->address, address, sizeof n->address);
    return index;
}

void wait_restamp(wave *w)
{
    queue *q = &w->queue[QUEUE_LGKM];
    for (uint32_t k = 0; k < q->count; k++) {
        const pending *p = &q->entry[(q->first + k) % QUEUE_ROOM];
        if (p->lds_note < 0) continue;
        const lds_note *n = &w->note[p->lds_note];
        for (int lane = 0; lane < LANES; lane++) {
            if (!(n->lanes >> lane & 1)) continue;
            for (uint32_t b = 0; b < n->bytes; b += 4) {
                cell *c = &w->group->lds_region.cells[(n->address[lane] + b) / 4];
                if (WHO(c->wrote) == w->who) c->wrote_when = sim_clock;
            }
        }
    }
}
