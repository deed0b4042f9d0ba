/* Graphs: the vendor's where it has them, a list of recorded calls on the CPU. */
#include "core/fields.h"
#include "core/internal.h"

typedef struct recorded {
    struct recorded *next;
    enum { RECORDED_OP, RECORDED_COPY, RECORDED_SET } kind;
    trine_op op;
    void *dst;
    const void *src;
    int value;
    size_t bytes;
    _Alignas(16) unsigned char args[]; /* of an op */
} recorded;

struct trine_graph {
    trine_stream *stream;
    void *native;
    recorded *first, **last;
};

static trine_status record(trine_graph *graph, const recorded *like, const void *args)
{
    const trine_op_info *info = args ? &trine_op_descs[like->op]->info : NULL;
    recorded *entry = trine_host_alloc(sizeof *entry + (args ? trine_args_copy_bytes(info, args) : 0));
    if (!entry) return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "%s: no host memory to record a call", graph->stream->backend->name);
    *entry = *like;
    if (args) trine_args_copy(info, args, entry->args);
    *graph->last = entry;
    graph->last = &entry->next;
    return TRINE_OK;
}

trine_status trine_graph_record_op(trine_graph *graph, trine_op op, const void *args)
{
    return record(graph, &(recorded){.kind = RECORDED_OP, .op = op}, args);
}

trine_status trine_graph_record_copy(trine_graph *graph, void *dst, const void *src, size_t bytes)
{
    return record(graph, &(recorded){.kind = RECORDED_COPY, .dst = dst, .src = src, .bytes = bytes}, NULL);
}

trine_status trine_graph_record_set(trine_graph *graph, void *dst, int value, size_t bytes)
{
    return record(graph, &(recorded){.kind = RECORDED_SET, .dst = dst, .value = value, .bytes = bytes}, NULL);
}

trine_status trine_graph_begin(trine_stream *stream)
{
    char why[TRINE_WHY] = "";
    trine_status status = trine_stream_usable(stream, "trine_graph_begin");
    if (status != TRINE_OK) return status;
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_graph_begin: a graph is being captured already", stream->backend->name);
    trine_graph *graph = trine_host_alloc(sizeof *graph);
    if (!graph) return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "trine_graph_begin: no host memory");
    graph->stream = stream;
    graph->last = &graph->first;
    if (stream->backend->capture_begin) {
        status = stream->backend->capture_begin(stream->device, stream->native, why);
        trine_host_free(graph);
        if (status != TRINE_OK) return trine_backend_failed(stream, "trine_graph_begin", status, why);
    } else {
        stream->recording = graph;
        trine_stream_add_user(stream);
    }
    stream->capturing = true;
    return TRINE_OK;
}

static trine_status end_native(trine_stream *stream, trine_graph **graph)
{
    char why[TRINE_WHY] = "";
    void *native = NULL;
    trine_status status = stream->backend->capture_end(stream->device, stream->native, &native, why);
    if (status != TRINE_OK) return trine_backend_failed(stream, "trine_graph_end", status, why);
    *graph = trine_host_alloc(sizeof **graph);
    if (!*graph) {
        stream->backend->graph_destroy(stream->device, native);
        return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "trine_graph_end: no host memory");
    }
    (*graph)->stream = stream;
    (*graph)->native = native;
    trine_stream_add_user(stream);
    return TRINE_OK;
}

trine_status trine_graph_end(trine_stream *stream, trine_graph **graph)
{
    if (!graph) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_graph_end: graph is NULL");
    *graph = NULL;
    trine_status status = trine_stream_usable(stream, "trine_graph_end");
    if (status != TRINE_OK) return status;
    if (!stream->capturing)
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_graph_end without trine_graph_begin", stream->backend->name);
    stream->capturing = false;
    if (stream->backend->capture_end) return end_native(stream, graph);
    *graph = stream->recording;
    stream->recording = NULL;
    return TRINE_OK;
}

static trine_status replay(const trine_graph *graph, const recorded *entry)
{
    trine_stream *stream = graph->stream;
    switch (entry->kind) {
    case RECORDED_OP: return trine_execute(stream, entry->op, entry->args);
    case RECORDED_COPY: return trine_memcpy(stream, entry->dst, entry->src, entry->bytes, TRINE_DEVICE_TO_DEVICE);
    default: return trine_memset(stream, entry->dst, entry->value, entry->bytes);
    }
}

trine_status trine_graph_launch(trine_graph *graph)
{
    char why[TRINE_WHY] = "";
    if (!graph) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_graph_launch: graph is NULL");
    trine_stream *stream = graph->stream;
    if (stream->destroyed)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "%s: trine_graph_launch: the graph's stream is destroyed",
                          stream->backend->name);
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_graph_launch while a graph is captured", stream->backend->name);
    if (graph->native) {
        trine_status status = stream->backend->graph_launch(stream->device, stream->native, graph->native, why);
        return status == TRINE_OK ? status : trine_backend_failed(stream, "trine_graph_launch", status, why);
    }
    trine_status status = TRINE_OK;
    for (const recorded *entry = graph->first; entry && status == TRINE_OK; entry = entry->next) status = replay(graph, entry);
    return status;
}

void trine_graph_destroy(trine_graph *graph)
{
    if (!graph) return;
    if (graph->native) graph->stream->backend->graph_destroy(graph->stream->device, graph->native);
    for (recorded *entry = graph->first, *next; entry; entry = next) {
        next = entry->next;
        trine_host_free(entry);
    }
    trine_stream_drop_user(graph->stream);
    trine_host_free(graph);
}
