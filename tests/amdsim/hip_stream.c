/* Streams, events and graphs. A stream does what it is told at once; while it is captured it records. Time is modelled time. */
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "sim.h"

struct ihipGraph {
    command *first, **end;
};
struct hipGraphExec {
    struct ihipGraph *graph;
};
struct ihipStream_t {
    struct ihipGraph *recording;
};
struct ihipEvent_t {
    double seconds;
    bool recorded;
};

/* ---- Commands ---- */

static hipError_t run(const command *c)
{
    static hipError_t (*const runners[])(const command *) = {
        [COMMAND_LAUNCH] = command_launch, [COMMAND_COPY] = command_copy, [COMMAND_SET] = command_set};
    device_lock();
    hipError_t error = runners[c->what](c);
    device_unlock();
    return device_error(error);
}

static void *duplicate(const void *bytes, size_t size)
{
    void *copy = malloc(size + 1);
    if (copy && bytes) memcpy(copy, bytes, size);
    return copy;
}

static command *command_copy_of(const command *c)
{
    command *own = duplicate(c, sizeof *c);
    if (c->what == COMMAND_LAUNCH) own->packed = duplicate(c->packed, kernel_explicit_bytes(c->kernel));
    own->next = NULL;
    return own;
}

hipError_t stream_submit(hipStream_t stream, const command *c)
{
    if (!stream || !stream->recording) return run(c);
    struct ihipGraph *g = stream->recording;
    *g->end = command_copy_of(c);
    g->end = &(*g->end)->next;
    return hipSuccess;
}

/* ---- Streams ---- */

hipError_t hipStreamCreateWithFlags(hipStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    return device_error(*stream ? hipSuccess : hipErrorOutOfMemory);
}

hipError_t hipStreamCreate(hipStream_t *stream) { return hipStreamCreateWithFlags(stream, 0); }

hipError_t hipStreamDestroy(hipStream_t stream)
{
    free(stream);
    return hipSuccess;
}

hipError_t hipStreamSynchronize(hipStream_t stream)
{
    return device_error(stream && stream->recording ? hipErrorStreamCaptureUnsupported : hipSuccess);
}

hipError_t hipStreamQuery(hipStream_t stream) { return hipStreamSynchronize(stream); }

hipError_t hipDeviceSynchronize(void) { return hipSuccess; }

hipError_t hipStreamWaitEvent(hipStream_t stream, hipEvent_t event, unsigned flags)
{
    (void)stream, (void)event, (void)flags;
    return hipSuccess;
}

/* ---- Events ---- */

hipError_t hipEventCreate(hipEvent_t *event)
{
    *event = calloc(1, sizeof **event);
    return device_error(*event ? hipSuccess : hipErrorOutOfMemory);
}

hipError_t hipEventCreateWithFlags(hipEvent_t *event, unsigned flags)
{
    (void)flags;
    return hipEventCreate(event);
}

hipError_t hipEventDestroy(hipEvent_t event)
{
    free(event);
    return hipSuccess;
}

hipError_t hipEventRecord(hipEvent_t event, hipStream_t stream)
{
    (void)stream;
    device_lock();
    event->seconds = sim_seconds;
    event->recorded = true;
    device_unlock();
    return hipSuccess;
}

hipError_t hipEventSynchronize(hipEvent_t event)
{
    (void)event;
    return hipSuccess;
}

hipError_t hipEventQuery(hipEvent_t event)
{
    (void)event;
    return hipSuccess;
}

hipError_t hipEventElapsedTime(float *milliseconds, hipEvent_t begin, hipEvent_t end)
{
    if (!begin->recorded || !end->recorded) return device_error(hipErrorInvalidHandle);
    *milliseconds = (float)(1e3 * (end->seconds - begin->seconds));
    return hipSuccess;
}

/* ---- Graphs ---- */

hipError_t hipStreamBeginCapture(hipStream_t stream, hipStreamCaptureMode mode)
{
    (void)mode;
    if (!stream || stream->recording) return device_error(hipErrorIllegalState);
    stream->recording = calloc(1, sizeof *stream->recording);
    stream->recording->end = &stream->recording->first;
    return hipSuccess;
}

hipError_t hipStreamEndCapture(hipStream_t stream, hipGraph_t *graph)
{
    *graph = NULL;
    if (!stream || !stream->recording) return device_error(hipErrorIllegalState);
    *graph = stream->recording;
    stream->recording = NULL;
    return hipSuccess;
}

hipError_t hipStreamIsCapturing(hipStream_t stream, hipStreamCaptureStatus *status)
{
    *status = stream && stream->recording ? hipStreamCaptureStatusActive : hipStreamCaptureStatusNone;
    return hipSuccess;
}

static void graph_free(struct ihipGraph *g)
{
    for (command *c = g->first, *next; c; c = next) {
        next = c->next;
        if (c->what == COMMAND_LAUNCH) free(c->packed);
        free(c);
    }
    free(g);
}

hipError_t hipGraphInstantiate(hipGraphExec_t *executable, hipGraph_t graph, hipGraphNode_t *node, char *log, size_t room)
{
    (void)node, (void)log, (void)room;
    struct ihipGraph *own = calloc(1, sizeof *own);
    own->end = &own->first;
    for (const command *c = graph->first; c; c = c->next) {
        *own->end = command_copy_of(c);
        own->end = &(*own->end)->next;
    }
    *executable = calloc(1, sizeof **executable);
    (*executable)->graph = own;
    return hipSuccess;
}

hipError_t hipGraphLaunch(hipGraphExec_t executable, hipStream_t stream)
{
    for (const command *c = executable->graph->first; c; c = c->next) {
        hipError_t error = stream_submit(stream, c);
        if (error != hipSuccess) return error;
    }
    return hipSuccess;
}

hipError_t hipGraphDestroy(hipGraph_t graph)
{
    graph_free(graph);
    return hipSuccess;
}

hipError_t hipGraphExecDestroy(hipGraphExec_t executable)
{
    graph_free(executable->graph);
    free(executable);
    return hipSuccess;
}
