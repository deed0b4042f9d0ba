/* What the core and a backend know of each other. The only header of the core that a plugin includes.
 *
 * A backend is a table: a few functions for devices, streams, memory, events and graphs, and one function an op. The same
 * function serves the query and the run of an op (see trine_call). Plugins export one symbol, `trine_plugin`. */
#ifndef TRINE_CORE_BACKEND_H
#define TRINE_CORE_BACKEND_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "trine/trine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raise it with every change of this file or of a struct in a public header: a plugin with another number is refused. */
enum { TRINE_BACKEND_ABI = 4 };

typedef struct trine_device trine_device; /* a backend's own description of one device, or of an assumed one */

/* One call as a backend sees it. With `query` set, an op runs its guards, states its variant and workspace and returns before it
 * launches. */
typedef struct trine_call {
    const trine_device *device;
    void *native;    /* the vendor's stream */
    void *workspace; /* NULL in a query */
    size_t workspace_size;
    const char *forced; /* the variant asked for, or NULL */
    bool forced_by_op;  /* it was asked of this op by name: one that has no variants refuses it, too */
    bool query;
    bool nondeterministic; /* permission of the stream */
    bool any_variant;      /* in a query: go through all variants, to list them */
    /* answers */
    size_t workspace_needed;
    const char *variant; /* a string constant */
    char accepted[512];
    char why[512];
} trine_call;

/* Adds a reason to call->why. Returns TRINE_ERROR_UNSUPPORTED. */
static inline trine_status trine_refuse(trine_call *call, const char *reason)
{
    size_t used = strlen(call->why);
    snprintf(call->why + used, sizeof call->why - used, "%s%s", used ? "; " : "", reason);
    return TRINE_ERROR_UNSUPPORTED;
}

/* Guards stand at the top of a kernel's host function; the refused condition is what the caller reads. */
#define TRINE_REQUIRE(call, condition) \
    do { \
        if (!(condition)) return trine_refuse((call), "needs " #condition); \
    } while (0)
#define TRINE_REQUIRE_THAT(call, condition, reason) \
    do { \
        if (!(condition)) return trine_refuse((call), (reason)); \
    } while (0)

/* States the workspace; true if the launch must not happen now: a query, too little of it, or a variant that an op without
 * variants does not have (*status says which). */
static inline bool trine_stop_before_launch(trine_call *call, size_t workspace, trine_status *status)
{
    if (call->forced_by_op && !(call->variant && strcmp(call->forced, call->variant) == 0)) {
        *status = trine_refuse(call, "the forced variant does not exist: this op has one way to run");
        return true;
    }
    if (call->workspace_needed < workspace) call->workspace_needed = workspace;
    *status = !call->query && workspace > call->workspace_size ? TRINE_ERROR_WORKSPACE_TOO_SMALL : TRINE_OK;
    return call->query || *status != TRINE_OK;
}
#define TRINE_END_OF_QUERY(call, workspace) \
    do { \
        trine_status trine_end_status; \
        if (trine_stop_before_launch((call), (workspace), &trine_end_status)) return trine_end_status; \
    } while (0)

/* Every kind of args as one type for the tables below. */
typedef trine_status (*trine_op_fn)(trine_call *call, const void *args);

/* An op with several variants: a table, best first; the first that does not refuse wins. Each entry's fn is trine_op_fn or casts
 * its args. */
typedef struct trine_variant {
    const char *name;
    trine_op_fn fn;
} trine_variant;

static inline trine_status trine_run_variants(trine_call *call, const trine_variant *table, size_t count, const void *args)
{
    trine_status result = TRINE_ERROR_UNSUPPORTED;
    const char *winner = NULL;
    size_t winner_workspace = 0;
    bool known = false;
    call->forced_by_op = false; /* seen to here */
    for (size_t i = 0; i < count; i++) {
        if (call->forced && strcmp(call->forced, table[i].name) != 0) continue;
        known = true;
        size_t used = strlen(call->why);
        snprintf(call->why + used, sizeof call->why - used, "%s%s: ", used ? " | " : "", table[i].name);
        size_t named = strlen(call->why);
        call->workspace_needed = 0;
        trine_status status = table[i].fn(call, args);
        if (status == TRINE_ERROR_UNSUPPORTED) {
            /* the reason follows the name without the separator that trine_refuse puts between reasons */
            if (call->why[named] == ';' && call->why[named + 1] == ' ')
                memmove(call->why + named, call->why + named + 2, strlen(call->why + named + 2) + 1);
            continue;
        }
        if (status != TRINE_OK) { /* an error, whose text stays */
            call->variant = table[i].name;
            return status;
        }
        call->why[used] = '\0';
        const size_t length = strlen(call->accepted), left = sizeof call->accepted - length;
        if (strlen(table[i].name) + 2 <= left) /* a name that was cut would be another's */
            snprintf(call->accepted + length, left, "%s%s", length ? "," : "", table[i].name);
        if (!winner) {
            winner = table[i].name;
            winner_workspace = call->workspace_needed;
            result = TRINE_OK;
        }
        if (!(call->query && call->any_variant)) break;
    }
    if (call->forced && !known) return trine_refuse(call, "the forced variant does not exist here");
    call->variant = winner;
    call->workspace_needed = winner_workspace;
    return result;
}

/* ---- The backend ---- */

typedef struct trine_vtable {
#define OP(family, name) trine_status (*name)(trine_call * call, const trine_##name##_args *args);
#include "trine/ops.def"
#undef OP
} trine_vtable;

/* All functions return TRINE_OK, UNAVAILABLE, OUT_OF_MEMORY, UNSUPPORTED or DEVICE, and write the vendor's reason into why (size
 * TRINE_WHY, never NULL). */
enum { TRINE_WHY = 512 };

typedef struct trine_backend {
    uint32_t abi;  /* TRINE_BACKEND_ABI */
    uint32_t size; /* sizeof(trine_backend), catches a table of another build */
    const char *name;
    const char *version; /* of Trine, as a string */
    const char *archs;   /* comma-separated: what this build has machine code for */

    trine_status (*device_count)(int32_t *count, char *why);
    /* The device `index`; with arch not NULL, a device of that arch which need not exist (query only), or for cpu the level to
     * run at. *ops is what its calls go through. Lives until device_close. */
    trine_status (*device_open)(int32_t index, const char *arch, trine_device **device, const trine_vtable **ops, char *why);
    void (*device_close)(trine_device *device);
    void (*device_props)(const trine_device *device, trine_device_props *props);

    trine_status (*stream_create)(trine_device *device, void **native, char *why);
    void (*stream_destroy)(trine_device *device, void *native);
    trine_status (*stream_synchronize)(trine_device *device, void *native, char *why);

    trine_status (*alloc)(trine_device *device, size_t bytes, void **ptr, char *why);
    trine_status (*release)(trine_device *device, void *ptr, char *why);
    trine_status (*copy)(trine_device *device, void *native, void *dst, const void *src, size_t bytes, trine_copy_kind kind,
                         char *why);
    trine_status (*set)(trine_device *device, void *native, void *dst, int value, size_t bytes, char *why);

    trine_status (*event_create)(trine_device *device, void **event, char *why);
    void (*event_destroy)(trine_device *device, void *event);
    trine_status (*event_record)(trine_device *device, void *event, void *native, char *why);
    trine_status (*event_elapsed)(trine_device *device, void *begin, void *end, double *seconds, char *why);

    /* NULL where the core records calls itself (cpu) */
    trine_status (*capture_begin)(trine_device *device, void *native, char *why);
    trine_status (*capture_end)(trine_device *device, void *native, void **graph, char *why);
    trine_status (*graph_launch)(trine_device *device, void *native, void *graph, char *why);
    void (*graph_destroy)(trine_device *device, void *graph);
    /* true while the native stream is being captured, by whomever; NULL as above */
    bool (*is_capturing)(trine_device *device, void *native);

    /* Runs a probe; *flops is what it did. */
    trine_status (*probe)(trine_device *device, void *native, trine_probe_kind probe, double *flops, char *why);
} trine_backend;

/* The symbol of a plugin. */
#define TRINE_PLUGIN_SYMBOL "trine_plugin"
extern const trine_backend trine_cpu_backend;

#ifdef __cplusplus
}
#endif
#endif
