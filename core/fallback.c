/* TRINE_FALLBACK=cpu: an op that the backend refuses runs on the CPU. Its tensors are staged through host memory: inputs (and
 * outputs, whose gaps between strided elements must survive) come down, outputs go up. Waits for the stream on both ways. */
#include "core/fields.h"
#include "core/internal.h"

enum { HOST_ALIGNMENT = 16 };

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
    region *regions; /* room for one a tensor, behind the arguments */
    int count;
    _Alignas(16) unsigned char args[];
} staging;

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
    for (int32_t f = 0; f < s->info->field_count; f++) {
        const trine_op_field *field = &s->info->fields[f];
        for (int32_t i = 0; i < trine_field_count(s->args, field); i++) {
            const trine_tensor *t = trine_field_tensor(s->args, field, i);
            if (!is_staged(t)) continue;
            uintptr_t begin = (uintptr_t)t->data;
            add_region(s, (region){.begin = begin,
                                   .end = begin + (uintptr_t)trine_tensor_extent_bytes(t),
                                   .output = field->flags & TRINE_FIELD_OUT});
        }
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

static void point_to_host(staging *s, trine_tensor *t)
{
    const region *r = s->regions;
    if (!is_staged(t)) return;
    while ((uintptr_t)t->data < r->begin || (uintptr_t)t->data >= r->end) r++;
    t->data = host_of(r, (uintptr_t)t->data);
}

static void point_all_to_host(staging *s)
{
    for (int32_t f = 0; f < s->info->field_count; f++)
        for (int32_t i = 0; i < trine_field_count(s->args, &s->info->fields[f]); i++)
            point_to_host(s, trine_field_tensor(s->args, &s->info->fields[f], i));
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
    const size_t args_bytes = trine_args_copy_bytes(info, args);
    staging *s = trine_host_alloc(sizeof *s + args_bytes + (size_t)trine_args_tensors(info, args) * sizeof(region));
    if (!s)
        return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "%s: %s: no host memory to fall back to the CPU", stream->backend->name,
                          info->name);
    s->from = stream;
    s->info = info;
    s->regions = (region *)(void *)(s->args + args_bytes);
    trine_args_copy(info, args, s->args);
    trine_stream_options cpu = {
        .backend = "cpu", .variant = "", .flags = stream->nondeterministic ? TRINE_STREAM_NONDETERMINISTIC : 0};
    trine_status status = trine_stream_create(&cpu, &s->cpu);
    if (status == TRINE_OK) find_regions(s);
    if (status == TRINE_OK) status = stage_down(s);
    if (status == TRINE_OK) point_all_to_host(s);
    if (status == TRINE_OK) status = trine_run(s->cpu, op, s->args);
    if (status == TRINE_OK) status = stage_up(s);
    free_staging(s);
    return status;
}
