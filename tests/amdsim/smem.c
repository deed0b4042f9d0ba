/* Scalar loads: s_load_dwordx8 s[4:11], s[0:1], 0x10; s_buffer_load_... with a resource of four registers. */
#include "smem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "valu.h"

static void load(wave *w, const inst *i)
{
    uint64_t base = scalar_need64(w, &i->src[0], "the address of a scalar load");
    uint64_t offset = (uint64_t)(int64_t)i->offset;
    uint32_t words[16], count = i->dst.count, limit = ~0u;
    if (i->src[1].where != IN_NOTHING) offset += scalar_need(w, &i->src[1], "the address of a scalar load");
    if (i->option) { /* a buffer resource: base of 48 bits, size */
        base &= 0xffffffffffffull;
        limit = w->s[i->src[0].reg + 2];
    }
    uint64_t address = (base + offset) & ~3ull;
    valu_check(w, &i->dst);
    for (uint32_t k = 0; k < count; k++) {
        words[k] = 0;
        uint32_t undefined = 0;
        if (offset + 4 * k + 4 <= limit) {
            region *r = memory_at(w, -1, address + 4 * k, 4, i->cache, false);
            ((inst *)i)->cache = r;
            undefined = memory_read(w, -1, r, address + 4 * k, 4, &words[k], false);
        }
        w->s[i->dst.reg + k] = words[k];
        w->s_undef[i->dst.reg + k] = undefined ? ~0u : 0;
    }
    wait_push(w, QUEUE_LGKM, false, true, i->dst.reg, count);
}

/* dword, dwordx2 ..., b32, b64 ...: nothing to read, the result's registers say it. */
bool decode_smem(inst *i, const char *name, line *t, const chip *chip)
{
    bool buffer = strncmp(name, "s_buffer_load_", 14) == 0;
    if (!buffer && strncmp(name, "s_load_", 7) != 0) return false;
    i->run = load;
    i->unit = UNIT_SMEM;
    i->cycles = 1;
    i->option = buffer;
    char *end = t->count == 3 ? t->piece[2] : "";
    bool number = *end == '0' || *end == '-' || (*end >= '1' && *end <= '9');
    bool good = t->count == 3 && decode_one(t->piece[0], 'v', &i->dst, chip) && decode_one(t->piece[1], 'q', &i->src[0], chip);
    if (good && number)
        i->offset = (int32_t)strtol(end, NULL, 0);
    else if (good && strcmp(end, "null") != 0)
        good = decode_one(end, 'i', &i->src[1], chip);
    for (int k = 0; k < t->options; k++) good = good && decode_memory_option(i, t->option[k]);
    if (!good) i->why_not = "operands that the simulator does not understand";
    return true;
}
