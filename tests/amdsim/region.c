/* Live memory, sorted by address, and the shadow memory that belongs to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim.h"

static region **regions;
static size_t region_count, region_room;

static size_t place_of(uint64_t address)
{
    size_t low = 0, high = region_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (regions[middle]->base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void *zeroed(uint64_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* Shadow of regions that were removed, for later ones, without new pages: what it holds is older than any launch to come, and so
 * says nothing any more. */
enum { SPARES = 32, SPARE_MOST = 8 << 20 };
static struct {
    cell *cells;
    uint64_t bytes;
} spare[SPARES];

static void take_cells(region *r)
{
    r->cell_bytes = (r->size / 4 + 2) * sizeof(cell) + 64;
    for (int k = 0; k < SPARES; k++) {
        if (spare[k].bytes < r->cell_bytes) continue;
        r->cells = spare[k].cells;
        r->cell_bytes = spare[k].bytes;
        spare[k].bytes = 0;
        return;
    }
    r->cells = zeroed(r->cell_bytes);
}

static void give_cells(region *r)
{
    for (int k = 0; k < SPARES && r->cell_bytes <= SPARE_MOST; k++) {
        if (spare[k].bytes) continue;
        spare[k].cells = r->cells;
        spare[k].bytes = r->cell_bytes;
        return;
    }
    munmap(r->cells, r->cell_bytes);
}

/* Of a large region only the pages that are touched are to exist. */
static bool large(const region *r) { return r->size > SPARE_MOST; }

region *region_add(void *base, uint64_t size, bool defined, bool read_only, const char *what)
{
    region *r = calloc(1, sizeof *r);
    *r = (region){.base = (uint64_t)base, .size = size, .read_only = read_only, .what = what};
    if (!defined) r->defined = large(r) ? zeroed(size / 4 + 65) : calloc(size / 4 + 65, 1);
    if (!read_only) take_cells(r);
    if (region_count == region_room) {
        region_room = region_room ? 2 * region_room : 64;
        regions = realloc(regions, region_room * sizeof(region *));
    }
    size_t at = place_of(r->base);
    memmove(regions + at + 1, regions + at, (region_count++ - at) * sizeof *regions);
    regions[at] = r;
    return r;
}

void region_remove(region *r)
{
    size_t at = place_of(r->base) - 1;
    memmove(regions + at, regions + at + 1, (--region_count - at) * sizeof *regions);
    if (!large(r))
        free(r->defined);
    else if (r->defined)
        munmap(r->defined, r->size / 4 + 65);
    if (r->cells) give_cells(r);
    r->size = 0;
}

region *region_find(uint64_t address, uint64_t size)
{
    size_t at = place_of(address);
    if (at == 0) return NULL;
    region *r = regions[at - 1];
    return address - r->base < r->size && size <= r->size - (address - r->base) ? r : NULL;
}

void region_define(region *r, uint64_t address, uint64_t size)
{
    if (!r->defined || !size) return;
    uint64_t begin = address - r->base, end = begin + size;
    for (; begin % 4 && begin < end; begin++) r->defined[begin / 4] |= (uint8_t)(1u << begin % 4);
    if (end > begin + 3) memset(r->defined + begin / 4, 15, (end - begin) / 4);
    for (begin += (end - begin) & ~3ull; begin < end; begin++) r->defined[begin / 4] |= (uint8_t)(1u << begin % 4);
}

void region_explain(uint64_t address, uint64_t size, char *text, size_t room)
{
    size_t at = place_of(address);
    if (at > 0 && address - regions[at - 1]->base < regions[at - 1]->size + (1 << 20)) {
        const region *r = regions[at - 1];
        int64_t past = (int64_t)(address + size - (r->base + r->size));
        snprintf(text, room, "ends %lld bytes past a %s of %llu bytes", (long long)past, r->what, (unsigned long long)r->size);
    } else if (at < region_count && regions[at]->base - address < 1 << 20) {
        const region *r = regions[at];
        snprintf(text, room, "begins %llu bytes before a %s of %llu bytes", (unsigned long long)(r->base - address), r->what,
                 (unsigned long long)r->size);
    } else {
        snprintf(text, room, "in no allocation");
    }
}
