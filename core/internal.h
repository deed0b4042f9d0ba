/* What the files of the core share. Not for backends. */
#ifndef TRINE_CORE_INTERNAL_H
#define TRINE_CORE_INTERNAL_H

#include <stdatomic.h>

#include "core/backend.h"
#include "core/error.h"

/* ---- env.c: an empty variable counts as unset; the second form also ignores it in setuid and setgid programs ---- */
const char *trine_env(const char *name);
const char *trine_env_trusted(const char *name);

/* ---- log.c ---- */
bool trine_log_wants(trine_log_level level);
void trine_log(trine_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- memory.c: the host allocator ---- */
void *trine_host_alloc(size_t bytes); /* zeroed; NULL when there is none */
void trine_host_free(void *ptr);

/* ---- registry.c ---- */
/* The backend of that name, its plugin opened if need be. */
trine_status trine_backend_open(const char *name, const trine_backend **backend);
/* A device that was opened, and what its ops go through. */
typedef struct trine_opened {
    const trine_backend *backend;
    trine_device *device;
    const trine_vtable *ops;
    bool assumed; /* need not be here: answers queries only */
} trine_opened;
/* Takes a selection ("auto", "cuda:1,cpu"; NULL for the environment's) and opens the first device that can be had. */
trine_status trine_device_select(const char *selection, const char *arch, trine_opened *opened);

/* ---- stream.c ---- */
struct trine_stream {
    const trine_backend *backend;
    trine_device *device;
    const trine_vtable *ops;
    trine_device_props props;
    void *native;
    void *workspace;
    size_t workspace_size;
    bool owns_native, owns_workspace;
    bool query_only, nondeterministic, fallback;
    trine_graph *recording; /* of a backend that can't capture by itself */
    bool capturing;         /* between trine_graph_begin and _end */
    bool destroyed;         /* what is left is for the events and graphs that were made from it */
    atomic_int users;       /* those, and the caller until it destroys the stream */
    bool fallback_logged[TRINE_OP_COUNT];
    const char *forced[TRINE_OP_COUNT]; /* into forced_text */
    bool forced_by_op[TRINE_OP_COUNT];  /* by "op=name" */
    char forced_text[256];
};

/* UNAVAILABLE for a query-only stream, INVALID_ARGUMENT for NULL. */
trine_status trine_stream_usable(const trine_stream *stream, const char *function);
/* Events and graphs keep the stream's device open, since they are destroyed through it. The last user closes it. */
void trine_stream_add_user(trine_stream *stream);
void trine_stream_drop_user(trine_stream *stream);
/* True while nothing may be allocated. */
bool trine_stream_captured(const trine_stream *stream);
/* `function`, an op or a function, is for the text of errors. */
trine_status trine_stream_grow_workspace(trine_stream *stream, const char *function, size_t bytes);
/* trine_fail with the backend's reason. */
trine_status trine_backend_failed(const trine_stream *stream, const char *function, trine_status status, const char *why);

/* ---- graph.c: recording for backends that can't ---- */
trine_status trine_graph_record_op(trine_graph *graph, trine_op op, const void *args);
trine_status trine_graph_record_copy(trine_graph *graph, void *dst, const void *src, size_t bytes);
trine_status trine_graph_record_set(trine_graph *graph, void *dst, int value, size_t bytes);

/* ---- dispatch.c ---- */
/* The call itself: checked arguments, no recording. */
trine_status trine_execute(trine_stream *stream, trine_op op, const void *args);

/* ---- fallback.c ---- */
trine_status trine_fallback_run(trine_stream *stream, trine_op op, const void *args, const char *why);

/* ---- check.c and check/<family>.c ---- */
typedef struct trine_check trine_check;
typedef trine_status (*trine_check_fn)(const trine_check *check, const void *args);
typedef struct trine_op_desc {
    trine_op_info info;
    trine_check_fn check; /* what the generic checks can't know */
} trine_op_desc;
extern const trine_op_desc *const trine_op_descs[TRINE_OP_COUNT];
/* Everything that makes a call INVALID_ARGUMENT, whatever the backend. */
trine_status trine_check_args(trine_op op, const char *backend, const void *args, bool query);

#endif
