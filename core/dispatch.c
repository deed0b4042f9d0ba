/* From a public op to a backend's function: checks, the call, workspace, fallback, log. Everything an op has here is generated
 * from ops.def. */
#include <time.h>

#include "core/fields.h"
#include "core/internal.h"

/* Descriptions live in check/<family>.c; an op without one does not link. */
#define OP(family, name) extern const trine_op_desc trine_op_desc_##name;
#include "trine/ops.def"
#undef OP

const trine_op_desc *const trine_op_descs[TRINE_OP_COUNT] = {
#define OP(family, name) [TRINE_OP_##name] = &trine_op_desc_##name,
#include "trine/ops.def"
#undef OP
};

const trine_op_info *trine_op_get_info(trine_op op) { return (unsigned)op < TRINE_OP_COUNT ? &trine_op_descs[op]->info : NULL; }

/* The vtable's entries by number, each called with its own type. */
typedef trine_status (*thunk_fn)(const trine_vtable *ops, trine_call *call, const void *args);
#define OP(family, name) \
    static trine_status thunk_##name(const trine_vtable *ops, trine_call *call, const void *args) \
    { \
        return ops->name(call, args); \
    }
#include "trine/ops.def"
#undef OP
static const thunk_fn thunks[TRINE_OP_COUNT] = {
#define OP(family, name) [TRINE_OP_##name] = thunk_##name,
#include "trine/ops.def"
#undef OP
};

static void call_init(trine_call *call, const trine_stream *stream, trine_op op)
{
    call->device = stream->device;
    call->native = stream->native;
    call->workspace = stream->workspace;
    call->workspace_size = stream->workspace_size;
    call->forced = stream->forced[op];
    call->forced_by_op = stream->forced_by_op[op];
    call->query = false;
    call->nondeterministic = stream->nondeterministic;
    call->any_variant = false;
    call->workspace_needed = 0;
    call->variant = NULL;
    call->accepted[0] = '\0'; /* the rest of both arrays stays unset: zeroing them would cost more than the call */
    call->why[0] = '\0';
}

static trine_status call_failed(const trine_stream *stream, trine_op op, trine_status status, const trine_call *call)
{
    return trine_fail(status, "%s (%s): %s: %s", stream->backend->name, stream->props.arch, trine_op_descs[op]->info.name,
                      call->why[0] ? call->why : trine_status_name(status));
}

/* "softmax x f32[8,1024] y f32[8,1024]"; of a list the first tensor and how many there are, "x f32[8,1024]*20" */
static void describe(trine_op op, const void *args, char *text, size_t size)
{
    const trine_op_info *info = &trine_op_descs[op]->info;
    size_t used = (size_t)snprintf(text, size, "%s", info->name);
    for (int32_t i = 0; i < info->field_count && used < size; i++) {
        const int32_t count = trine_field_count(args, &info->fields[i]);
        const trine_tensor *t = trine_field_tensor(args, &info->fields[i], 0);
        if (count == 0 || t->dtype == TRINE_DTYPE_NONE) continue;
        used += (size_t)snprintf(text + used, size - used, " %s %s[", info->fields[i].name, trine_dtype_name(t->dtype));
        for (int32_t d = 0; d < t->ndim && used < size; d++)
            used += (size_t)snprintf(text + used, size - used, d ? ",%lld" : "%lld", (long long)t->shape[d]);
        if (used < size) used += (size_t)snprintf(text + used, size - used, "]");
        if (used < size && count > 1) used += (size_t)snprintf(text + used, size - used, "*%d", (int)count);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A status other than OK and UNSUPPORTED (which a fallback may still mend) comes with its text. */
static trine_status execute_with_workspace(trine_stream *stream, trine_op op, const void *args, trine_call *call)
{
    call_init(call, stream, op);
    trine_status status = thunks[op](stream->ops, call, args);
    if (status == TRINE_ERROR_WORKSPACE_TOO_SMALL) {
        status = trine_stream_grow_workspace(stream, trine_op_descs[op]->info.name, call->workspace_needed);
        if (status != TRINE_OK) return status;
        call_init(call, stream, op);
        status = thunks[op](stream->ops, call, args);
    }
    return status == TRINE_OK || status == TRINE_ERROR_UNSUPPORTED ? status : call_failed(stream, op, status, call);
}

/* The same with a line in the log. The time of `profile` is the host's, from a drained stream to a drained stream. */
static trine_status execute_logged(trine_stream *stream, trine_op op, const void *args, trine_call *call)
{
    char text[512], time_text[32] = "";
    bool profile = trine_log_wants(TRINE_LOG_PROFILE) && !trine_stream_captured(stream);
    describe(op, args, text, sizeof text);
    trine_status status = profile ? trine_stream_synchronize(stream) : TRINE_OK;
    if (status != TRINE_OK) return status; /* a fault of what ran before */
    double begin = now();
    status = execute_with_workspace(stream, op, args, call);
    if (profile && status == TRINE_OK) {
        status = trine_stream_synchronize(stream);
        snprintf(time_text, sizeof time_text, " %.1f us", 1e6 * (now() - begin));
    }
    trine_log(profile ? TRINE_LOG_PROFILE : TRINE_LOG_DISPATCH, "%s %s -> %s%s%s%s", stream->backend->name, text,
              status == TRINE_OK && call->variant ? call->variant : trine_status_name(status), time_text,
              call->why[0] ? "; " : "", call->why);
    return status;
}

trine_status trine_execute(trine_stream *stream, trine_op op, const void *args)
{
    trine_call call;
    trine_status status = trine_log_wants(TRINE_LOG_DISPATCH) ? execute_logged(stream, op, args, &call)
                                                              : execute_with_workspace(stream, op, args, &call);
    if (status != TRINE_ERROR_UNSUPPORTED) return status;
    if (stream->fallback && stream->backend != &trine_cpu_backend) return trine_fallback_run(stream, op, args, call.why);
    return call_failed(stream, op, status, &call);
}

trine_status trine_run(trine_stream *stream, trine_op op, const void *args)
{
    if ((unsigned)op >= TRINE_OP_COUNT) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_run: there is no op %d", (int)op);
    trine_status status = trine_stream_usable(stream, trine_op_descs[op]->info.name);
    if (status != TRINE_OK) return status;
    status = trine_check_args(op, stream->backend->name, args, false);
    if (status != TRINE_OK) return status;
    if (!stream->recording) return trine_execute(stream, op, args);
    /* a recorded call must be one that will run */
    trine_query_result answer;
    status = trine_query(stream, op, args, &answer);
    if (status != TRINE_OK) return status;
    if (answer.workspace > stream->workspace_size)
        return trine_fail(TRINE_ERROR_WORKSPACE_TOO_SMALL,
                          "%s: %s: %zu bytes of workspace are needed and nothing is allocated while a graph is captured",
                          stream->backend->name, trine_op_descs[op]->info.name, answer.workspace);
    return trine_graph_record_op(stream->recording, op, args);
}

/* As far as there is room. (snprintf would take a third of a query's time.) */
static void put_text(char *to, size_t room, const char *text)
{
    const size_t length = strnlen(text, room - 1);
    memcpy(to, text, length);
    to[length] = '\0';
}

trine_status trine_query(trine_stream *stream, trine_op op, const void *args, trine_query_result *result)
{
    if (!result) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_query: result is NULL");
    memset(result, 0, sizeof *result);
    if (!stream) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_query: stream is NULL");
    if ((unsigned)op >= TRINE_OP_COUNT)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_query: there is no op %d", (int)op);
    trine_status status = trine_check_args(op, stream->backend->name, args, true);
    if (status != TRINE_OK) return status;
    trine_call call;
    call_init(&call, stream, op);
    call.workspace = NULL;
    call.query = call.any_variant = true;
    status = thunks[op](stream->ops, &call, args);
    if (status == TRINE_OK || status == TRINE_ERROR_UNSUPPORTED) put_text(result->why, sizeof result->why, call.why);
    if (status != TRINE_OK) return call_failed(stream, op, status, &call);
    result->workspace = call.workspace_needed;
    if (call.variant) put_text(result->variant, sizeof result->variant, call.variant);
    put_text(result->accepted, sizeof result->accepted, call.accepted[0] ? call.accepted : result->variant);
    return TRINE_OK;
}

/* One without a prototype in its public header would be hidden in the library. */
#pragma GCC diagnostic error "-Wmissing-prototypes"
#define OP(family, name) \
    trine_status trine_##name(trine_stream *stream, const trine_##name##_args *args) \
    { \
        return trine_run(stream, TRINE_OP_##name, args); \
    }
#include "trine/ops.def"
#undef OP
