/* Streams: where work runs. */
#include "core/internal.h"

trine_status trine_backend_failed(const trine_stream *stream, const char *function, trine_status status, const char *why)
{
    return trine_fail(status, "%s: %s: %s", stream->backend->name, function, why[0] ? why : trine_status_name(status));
}

trine_status trine_stream_usable(const trine_stream *stream, const char *function)
{
    if (!stream) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "%s: stream is NULL", function);
    if (stream->query_only)
        return trine_fail(TRINE_ERROR_UNAVAILABLE, "%s: %s: this stream for %s only answers queries", stream->backend->name,
                          function, stream->props.arch);
    return TRINE_OK;
}

bool trine_stream_captured(const trine_stream *stream)
{
    return stream->capturing || (stream->backend->is_capturing && stream->backend->is_capturing(stream->device, stream->native));
}

/* TRINE_VARIANT: "name", or "op=name,op=name". */
static trine_status parse_variants(trine_stream *stream, const char *text)
{
    char *rest = NULL;
    if (!text) text = trine_env("TRINE_VARIANT");
    if (!text) return TRINE_OK;
    if (strlen(text) >= sizeof stream->forced_text)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "variant: the text is too long");
    strcpy(stream->forced_text, text);
    for (char *word = strtok_r(stream->forced_text, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) {
        char *equals = strchr(word, '=');
        bool known = !equals;
        if (equals && !equals[1]) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "variant: '%s' names no variant", word);
        if (equals) *equals = '\0';
        for (int op = 0; op < TRINE_OP_COUNT; op++) {
            if (equals && strcmp(trine_op_descs[op]->info.name, word) != 0) continue;
            stream->forced[op] = equals ? equals + 1 : word;
            stream->forced_by_op[op] = equals != NULL;
            known = true;
        }
        if (!known) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "variant: no op is called '%s'", word);
    }
    return TRINE_OK;
}

static trine_status parse_fallback(trine_stream *stream, uint32_t flags)
{
    const char *value = trine_env("TRINE_FALLBACK");
    if (flags & TRINE_STREAM_NO_FALLBACK) return TRINE_OK; /* whatever the variable says */
    if (value && strcmp(value, "cpu") != 0)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "TRINE_FALLBACK=%s: only cpu can be fallen back to", value);
    stream->fallback = value || (flags & TRINE_STREAM_FALLBACK_CPU);
    return TRINE_OK;
}

static trine_status open_device(trine_stream *stream, const trine_stream_options *options)
{
    trine_opened opened = {0};
    trine_status status = trine_device_select(options->backend, options->arch, &opened);
    if (status != TRINE_OK) return status;
    stream->backend = opened.backend;
    stream->device = opened.device;
    stream->ops = opened.ops;
    stream->query_only = opened.assumed;
    stream->backend->device_props(stream->device, &stream->props);
    return TRINE_OK;
}

static trine_status open_native(trine_stream *stream, const trine_stream_options *options)
{
    char why[TRINE_WHY] = "";
    if (stream->query_only) return TRINE_OK;
    if (options->native && stream->backend == &trine_cpu_backend)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "cpu: trine_stream_create: native must be NULL");
    stream->owns_native = !options->native && !(options->flags & TRINE_STREAM_ADOPT);
    stream->native = options->native;
    if (stream->owns_native) {
        trine_status status = stream->backend->stream_create(stream->device, &stream->native, why);
        if (status != TRINE_OK) {
            stream->owns_native = false;
            return trine_backend_failed(stream, "trine_stream_create", status, why);
        }
    }
    stream->workspace = options->workspace;
    stream->workspace_size = options->workspace ? options->workspace_size : 0;
    stream->owns_workspace = !options->workspace;
    return options->workspace ? TRINE_OK : trine_stream_reserve(stream, options->workspace_size);
}

trine_status trine_stream_create(const trine_stream_options *options, trine_stream **stream)
{
    static const trine_stream_options defaults;
    const uint32_t known =
        TRINE_STREAM_NONDETERMINISTIC | TRINE_STREAM_FALLBACK_CPU | TRINE_STREAM_NO_FALLBACK | TRINE_STREAM_ADOPT;
    if (!stream) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_stream_create: stream is NULL");
    *stream = NULL;
    if (!options) options = &defaults;
    if (options->flags & ~known)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_stream_create: unknown flags 0x%x", (unsigned)options->flags);
    if ((uintptr_t)options->workspace % TRINE_WORKSPACE_ALIGNMENT)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_stream_create: workspace %p is not aligned to %d bytes",
                          options->workspace, (int)TRINE_WORKSPACE_ALIGNMENT);
    trine_stream *made = trine_host_alloc(sizeof *made);
    if (!made) return trine_fail(TRINE_ERROR_OUT_OF_MEMORY, "trine_stream_create: no host memory");
    atomic_init(&made->users, 1);
    made->nondeterministic = options->flags & TRINE_STREAM_NONDETERMINISTIC;
    trine_status status = parse_variants(made, options->variant);
    if (status == TRINE_OK) status = parse_fallback(made, options->flags);
    if (status == TRINE_OK) status = open_device(made, options);
    if (status == TRINE_OK) status = open_native(made, options);
    if (status != TRINE_OK) {
        trine_stream_destroy(made);
        return status;
    }
    *stream = made;
    return TRINE_OK;
}

static void release_workspace(trine_stream *stream)
{
    char why[TRINE_WHY];
    if (stream->owns_workspace && stream->workspace) stream->backend->release(stream->device, stream->workspace, why);
    stream->workspace = NULL;
    stream->workspace_size = 0;
}

/* A stream that is being captured can neither be waited for nor give its memory back. */
static void abandon_capture(trine_stream *stream)
{
    trine_graph *graph = NULL;
    if (stream->capturing && trine_graph_end(stream, &graph) == TRINE_OK) trine_graph_destroy(graph);
}

void trine_stream_add_user(trine_stream *stream) { atomic_fetch_add(&stream->users, 1); }

void trine_stream_drop_user(trine_stream *stream)
{
    if (atomic_fetch_sub(&stream->users, 1) > 1) return;
    if (stream->device) stream->backend->device_close(stream->device);
    trine_host_free(stream);
}

void trine_stream_destroy(trine_stream *stream)
{
    char why[TRINE_WHY];
    if (!stream) return;
    abandon_capture(stream);
    if (stream->device) {
        if (!stream->query_only && (stream->owns_native || stream->workspace))
            stream->backend->stream_synchronize(stream->device, stream->native, why);
        release_workspace(stream);
        if (stream->owns_native) stream->backend->stream_destroy(stream->device, stream->native);
    }
    stream->destroyed = true;
    stream->native = NULL;
    trine_stream_drop_user(stream);
}

trine_status trine_stream_synchronize(trine_stream *stream)
{
    char why[TRINE_WHY] = "";
    trine_status status = trine_stream_usable(stream, "trine_stream_synchronize");
    if (status != TRINE_OK) return status;
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_stream_synchronize while a graph is captured", stream->backend->name);
    status = stream->backend->stream_synchronize(stream->device, stream->native, why);
    return status == TRINE_OK ? status : trine_backend_failed(stream, "trine_stream_synchronize", status, why);
}

trine_status trine_stream_grow_workspace(trine_stream *stream, const char *function, size_t bytes)
{
    char why[TRINE_WHY] = "";
    void *larger = NULL;
    if (bytes <= stream->workspace_size) return TRINE_OK;
    if (!stream->owns_workspace || trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_WORKSPACE_TOO_SMALL, "%s: %s: %zu bytes of workspace are needed, %s has %zu",
                          stream->backend->name, function, bytes,
                          stream->owns_workspace ? "the stream (which can't grow while a graph is captured)"
                                                 : "the caller's workspace",
                          stream->workspace_size);
    /* work in flight may still use the old one */
    trine_status status = trine_stream_synchronize(stream);
    if (status != TRINE_OK) return status;
    status = stream->backend->alloc(stream->device, bytes, &larger, why);
    if (status != TRINE_OK) {
        if (!why[0]) snprintf(why, sizeof why, "%zu bytes of workspace", bytes);
        return trine_backend_failed(stream, function, status, why);
    }
    release_workspace(stream);
    stream->workspace = larger;
    stream->workspace_size = bytes;
    return TRINE_OK;
}

trine_status trine_stream_reserve(trine_stream *stream, size_t bytes)
{
    trine_status status = trine_stream_usable(stream, "trine_stream_reserve");
    return status == TRINE_OK ? trine_stream_grow_workspace(stream, "trine_stream_reserve", bytes) : status;
}

trine_status trine_stream_get_props(const trine_stream *stream, trine_device_props *props)
{
    if (!stream || !props) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_stream_get_props: NULL argument");
    *props = stream->props;
    return TRINE_OK;
}

void *trine_stream_native(const trine_stream *stream) { return stream ? stream->native : NULL; }
