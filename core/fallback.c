/* TRINE_FALLBACK=cpu: an op that the backend refuses runs on the CPU. Its tensors are staged through host memory: inputs (and
 * outputs, whose gaps between strided elements must survive) come down, outputs go up. Waits for the stream on both ways. */
#include "core/internal.h"

enum { MAX_TENSORS = 16, MAX_ARGS = 4096 };

typedef struct staging {
    trine_stream *from, *cpu;
    const trine_op_info *info;
    void *device[MAX_TENSORS], *host[MAX_TENSORS];
    size_t bytes[MAX_TENSORS];
    _Alignas(16) unsigned char args[MAX_ARGS];
} staging;

static trine_tensor *tensor_of(staging *s, int32_t i) { return (trine_tensor *)(s->args + s->info->fields[i].offset); }

/* In-place arguments share one staging buffer. */
static void *already_staged(const staging *s, int32_t before, const void *device, size_t bytes)
{
    for (int32_t i = 0; i < before; i++)
        if (s->device[i] == device && s->bytes[i] == bytes) return s->host[i];
    return NULL;
}

static trine_status copy_down(staging *s)
{
    for (int32_t i = 0; i < s->info->field_count; i++) {
        trine_tensor *t = tensor_of(s, i);
        if (t->dtype == TRINE_DTYPE_NONE || !t->data) continue;
        size_t bytes = (size_t)trine_tensor_extent_bytes(t);
        void *host = already_staged(s, i, t->data, bytes);
        if (!host) {
            host = trine_host_alloc(bytes);
            if (!host)
                return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "%s: %s: no host memory to fall back to the CPU",
                                  s->from->backend->name, s->info->name);
            trine_status status = trine_memcpy(s->from, host, t->data, bytes, TRINE_DEVICE_TO_HOST);
            if (status != TRINE_OK) {
                trine_host_free(host);
                return status;
            }
        }
        s->host[i] = host;
        s->device[i] = t->data;
        s->bytes[i] = bytes;
        t->data = host;
    }
    return TRINE_OK;
}

/* Waits even when it failed halfway: copies into the buffers may still be under way. */
static trine_status stage_down(staging *s)
{
    trine_status status = copy_down(s), waited = trine_stream_synchronize(s->from);
    return status == TRINE_OK ? waited : status;
}

static trine_status stage_up(const staging *s)
{
    trine_status status = TRINE_OK;
    for (int32_t i = 0; i < s->info->field_count && status == TRINE_OK; i++)
        if (s->host[i] && (s->info->fields[i].flags & TRINE_FIELD_OUT))
            status = trine_memcpy(s->from, s->device[i], s->host[i], s->bytes[i], TRINE_HOST_TO_DEVICE);
    trine_status waited = trine_stream_synchronize(s->from);
    return status == TRINE_OK ? waited : status;
}

static void free_staging(staging *s)
{
    for (int32_t i = 0; i < s->info->field_count; i++)
        if (s->host[i] && already_staged(s, i, s->device[i], s->bytes[i]) == NULL) trine_host_free(s->host[i]);
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
    if (status == TRINE_OK) status = stage_down(s);
    if (status == TRINE_OK) status = trine_run(s->cpu, op, s->args);
    if (status == TRINE_OK) status = stage_up(s);
    free_staging(s);
    return status;
}
