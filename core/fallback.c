/* TRINE_FALLBACK=cpu: an op that the backend refuses runs on the CPU. Its tensors are staged through host memory: inputs (and
 * outputs, whose gaps between strided elements must survive) come down, outputs go up. Waits for the stream on both ways. */
#include "core/internal.h"

enum { MAX_TENSORS = 16, MAX_ARGS = 4096, HOST_ALIGNMENT = 16 };

/* Device memory that is staged as one. Tensors that are the same, or lie in each other's gaps, share a region: two copies of it
 * would go up one after the other, the second with old values where the first has results. */
typedef struct region {
    uintptr_t begin, end; /* on the device */
    unsigned char *host;
    bool output;
} region;

typedef struct staging {
    trine_stream *from, *cpu;
    const trine_op_info *info;
    region regions[MAX_TENSORS];
    int count;
    _Alignas(16) unsigned char args[MAX_ARGS];
} staging;

static trine_tensor *tensor_of(staging *s, int32_t i) { return (trine_tensor *)(s->args + s->info->fields[i].offset); }

static bool is_staged(const trine_tensor *t)
{
    return t->dtype != TRINE_DTYPE_NONE && t->data && trine_tensor_extent_bytes(t) > 0;
}

static void add_region(staging *s, region added)
{
    for (int r = 0; r < s->count;) {
        const region *old = &s->regions[r];
        if (added.end <= old->begin || old->end <= added.begin) {
            r++;
            continue;
        }
        if (old->begin < added.begin) added.begin = old->begin;
        if (old->end > added.end) added.end = old->end;
        added.output |= old->output;
        s->regions[r] = s->regions[--s->count];
        r = 0; /* the larger one may touch those passed by */
    }
    s->regions[s->count++] = added;
}

static void find_regions(staging *s)
{
    for (int32_t i = 0; i < s->info->field_count; i++) {
        const trine_tensor *t = tensor_of(s, i);
        if (!is_staged(t)) continue;
        uintptr_t begin = (uintptr_t)t->data;
        add_region(s, (region){.begin = begin,
                               .end = begin + (uintptr_t)trine_tensor_extent_bytes(t),
                               .output = s->info->fields[i].flags & TRINE_FIELD_OUT});
    }
}

/* As far from a multiple of HOST_ALIGNMENT as on the device: elements stay aligned. */
static unsigned char *host_of(const region *r, uintptr_t address)
{
    return r->host + r->begin % HOST_ALIGNMENT + (address - r->begin);
}

static trine_status copy_down(staging *s)
{
    for (int i = 0; i < s->count; i++) {
        region *r = &s->regions[i];
        size_t bytes = r->end - r->begin;
        r->host = trine_host_alloc(bytes + HOST_ALIGNMENT);
        if (!r->host)
            return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "%s: %s: no host memory to fall back to the CPU", s->from->backend->name,
                              s->info->name);
        trine_status status = trine_memcpy(s->from, host_of(r, r->begin), (const void *)r->begin, bytes, TRINE_DEVICE_TO_HOST);
        if (status != TRINE_OK) return status;
    }
    return TRINE_OK;
}

/* Waits even when it failed halfway: copies into the buffers may still be under way. */
static trine_status stage_down(staging *s)
{
    trine_status status = copy_down(s), waited = trine_stream_synchronize(s->from);
    return status == TRINE_OK ? waited : status;
}

static void point_to_host(staging *s)
{
    for (int32_t i = 0; i < s->info->field_count; i++) {
        trine_tensor *t = tensor_of(s, i);
        const region *r = s->regions;
        if (!is_staged(t)) continue;
        while ((uintptr_t)t->data < r->begin || (uintptr_t)t->data >= r->end) r++;
        t->data = host_of(r, (uintptr_t)t->data);
    }
}

static trine_status stage_up(const staging *s)
{
    trine_status status = TRINE_OK;
    for (int i = 0; i < s->count && status == TRINE_OK; i++) {
        const region *r = &s->regions[i];
        if (r->output)
            status = trine_memcpy(s->from, (void *)r->begin, host_of(r, r->begin), r->end - r->begin, TRINE_HOST_TO_DEVICE);
    }
    trine_status waited = trine_stream_synchronize(s->from);
    return status == TRINE_OK ? waited : status;
}

static void free_staging(staging *s)
{
    for (int i = 0; i < s->count; i++) trine_host_free(s->regions[i].host);
    trine_stream_destroy(s->cpu);
    trine_host_free(s);
}

trine_status trine_fallback_run(trine_stream *stream, trine_op op, const void *args, const char *why)
{
    const trine_op_info *info = &trine_op_descs[op]->info;
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: %s: can't fall back to the CPU while a graph is captured (%s)",
                          stream->backend->name, info->name, why);
    if (!stream->fallback_logged[op])
        trine_log(TRINE_LOG_WARN, "%s: %s falls back to the CPU: %s", stream->backend->name, info->name, why);
    stream->fallback_logged[op] = true;
    if (info->field_count > MAX_TENSORS || info->args_size > MAX_ARGS)
        return trine_fail(TRINE_ERROR_UNSUPPORTED, "%s: too many tensors to fall back", info->name);
    staging *s = trine_host_alloc(sizeof *s);
    if (!s)
        return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "%s: %s: no host memory to fall back to the CPU", stream->backend->name,
                          info->name);
    s->from = stream;
    s->info = info;
    memcpy(s->args, args, info->args_size);
    trine_stream_options cpu = {
        .backend = "cpu", .variant = "", .flags = stream->nondeterministic ? TRINE_STREAM_NONDETERMINISTIC : 0};
    trine_status status = trine_stream_create(&cpu, &s->cpu);
    if (status == TRINE_OK) find_regions(s);
    if (status == TRINE_OK) status = stage_down(s);
    if (status == TRINE_OK) point_to_host(s);
    if (status == TRINE_OK) status = trine_run(s->cpu, op, s->args);
    if (status == TRINE_OK) status = stage_up(s);
    free_staging(s);
    return status;
}
