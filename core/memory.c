/* Host memory of the library, device memory of its callers, events. */
#include <stdlib.h>

#include "core/internal.h"

static void *default_alloc(size_t bytes, void *user)
{
    (void)user;
    return malloc(bytes);
}

static void default_release(void *ptr, void *user)
{
    (void)user;
    free(ptr);
}

static struct {
    void *(*alloc)(size_t bytes, void *user);
    void (*release)(void *ptr, void *user);
    void *user;
} host = {default_alloc, default_release, NULL};

trine_status trine_set_host_allocator(void *(*alloc)(size_t, void *), void (*release)(void *, void *), void *user)
{
    if (!alloc != !release)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_set_host_allocator: alloc and release go together");
    host.alloc = alloc ? alloc : default_alloc;
    host.release = release ? release : default_release;
    host.user = user;
    return TRINE_OK;
}

void *trine_host_alloc(size_t bytes)
{
    void *ptr = host.alloc(bytes ? bytes : 1, host.user);
    return ptr ? memset(ptr, 0, bytes) : NULL;
}

void trine_host_free(void *ptr)
{
    if (ptr) host.release(ptr, host.user);
}

trine_status trine_malloc(trine_stream *stream, size_t bytes, void **ptr)
{
    char why[TRINE_WHY] = "";
    if (!ptr) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_malloc: ptr is NULL");
    *ptr = NULL;
    trine_status status = trine_stream_usable(stream, "trine_malloc");
    if (status != TRINE_OK || bytes == 0) return status;
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_malloc while a graph is captured", stream->backend->name);
    status = stream->backend->alloc(stream->device, bytes, ptr, why);
    return status == TRINE_OK ? status : trine_backend_failed(stream, "trine_malloc", status, why);
}

trine_status trine_free(trine_stream *stream, void *ptr)
{
    char why[TRINE_WHY] = "";
    trine_status status = trine_stream_usable(stream, "trine_free");
    if (status != TRINE_OK || !ptr) return status;
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_free while a graph is captured", stream->backend->name);
    trine_status waited = trine_stream_synchronize(stream);
    status = stream->backend->release(stream->device, ptr, why);
    return status == TRINE_OK ? waited : trine_backend_failed(stream, "trine_free", status, why);
}

trine_status trine_memcpy(trine_stream *stream, void *dst, const void *src, size_t bytes, trine_copy_kind kind)
{
    char why[TRINE_WHY] = "";
    trine_status status = trine_stream_usable(stream, "trine_memcpy");
    if (status != TRINE_OK) return status;
    if (kind < TRINE_HOST_TO_DEVICE || kind > TRINE_DEVICE_TO_DEVICE || (bytes && (!dst || !src)))
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_memcpy: %s",
                          bytes && (!dst || !src) ? "NULL pointer" : "unknown kind");
    if (bytes == 0) return TRINE_OK;
    if (stream->recording) return trine_graph_record_copy(stream->recording, dst, src, bytes);
    status = stream->backend->copy(stream->device, stream->native, dst, src, bytes, kind, why);
    return status == TRINE_OK ? status : trine_backend_failed(stream, "trine_memcpy", status, why);
}

trine_status trine_memset(trine_stream *stream, void *dst, int value, size_t bytes)
{
    char why[TRINE_WHY] = "";
    trine_status status = trine_stream_usable(stream, "trine_memset");
    if (status != TRINE_OK || bytes == 0) return status;
    if (!dst) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_memset: dst is NULL");
    if (stream->recording) return trine_graph_record_set(stream->recording, dst, value, bytes);
    status = stream->backend->set(stream->device, stream->native, dst, value, bytes, why);
    return status == TRINE_OK ? status : trine_backend_failed(stream, "trine_memset", status, why);
}

/* ---- Events ---- */

struct trine_event {
    trine_stream *stream; /* that created it; it may be destroyed before */
    void *native;
    bool recorded;
};

trine_status trine_event_create(trine_stream *stream, trine_event **event)
{
    char why[TRINE_WHY] = "";
    if (!event) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_event_create: event is NULL");
    *event = NULL;
    trine_status status = trine_stream_usable(stream, "trine_event_create");
    if (status != TRINE_OK) return status;
    trine_event *made = trine_host_alloc(sizeof *made);
    if (!made) return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "trine_event_create: no host memory");
    made->stream = stream;
    status = stream->backend->event_create(stream->device, &made->native, why);
    if (status != TRINE_OK) {
        trine_host_free(made);
        return trine_backend_failed(stream, "trine_event_create", status, why);
    }
    trine_stream_add_user(stream);
    *event = made;
    return TRINE_OK;
}

void trine_event_destroy(trine_event *event)
{
    if (!event) return;
    event->stream->backend->event_destroy(event->stream->device, event->native);
    trine_stream_drop_user(event->stream);
    trine_host_free(event);
}

trine_status trine_event_record(trine_event *event, trine_stream *stream)
{
    char why[TRINE_WHY] = "";
    trine_status status = trine_stream_usable(stream, "trine_event_record");
    if (status != TRINE_OK) return status;
    if (!event || event->stream->backend != stream->backend)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_event_record: %s",
                          event ? "the event belongs to another backend" : "event is NULL");
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_event_record while a graph is captured", stream->backend->name);
    status = stream->backend->event_record(stream->device, event->native, stream->native, why);
    if (status != TRINE_OK) return trine_backend_failed(stream, "trine_event_record", status, why);
    event->recorded = true;
    return TRINE_OK;
}

trine_status trine_event_elapsed(trine_event *begin, trine_event *end, double *seconds)
{
    char why[TRINE_WHY] = "";
    if (!begin || !end || !seconds || !begin->recorded || !end->recorded)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_event_elapsed: NULL, or an event that was not recorded");
    const trine_stream *stream = begin->stream;
    if (end->stream->backend != stream->backend)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_event_elapsed: events of two backends");
    trine_status status = stream->backend->event_elapsed(stream->device, begin->native, end->native, seconds, why);
    return status == TRINE_OK ? status : trine_backend_failed(stream, "trine_event_elapsed", status, why);
}
