/* Backends, devices, streams, workspaces, memory, events, graphs and queries.
 *
 * A stream names where work runs: a backend, a device of it, and the vendor's own stream. Ops are asynchronous in
 * the stream's order on cuda and hip; on cpu they have finished when the call returns. One stream may be used by one thread at a
 * time; different streams by different threads at once. */
#ifndef TRINE_STREAM_H
#define TRINE_STREAM_H

#include "trine/op.h"
#include "trine/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Environment, read when a stream is created (TRINE_LOG: at first use; TRINE_PLUGIN_DIR: when a plugin is opened); an empty
 * variable counts as unset ----
 *   TRINE_BACKEND     auto (default: the first of cuda, hip, cpu that has a device), a name, name:index, or a comma-separated
 *                     list in order of preference: the first that can be had. An unknown name is an error wherever it stands.
 *   TRINE_FALLBACK    cpu: an op that the backend refuses runs on the CPU, staged through host memory. Gaps between an
 *                     output's elements are then written back as they were: no other stream may write there at that time.
 *   TRINE_VARIANT     forces a variant: NAME for every op that has variants, or OP=NAME[,OP=NAME...]. A name that the op does
 *                     not have makes its calls UNSUPPORTED; an op without variants has the one name that trine_query tells.
 *   TRINE_LOG         error, warn, info, dispatch, profile (to stderr).
 *   TRINE_PLUGIN_DIR  where the plugins are, instead of the library's own folder. (*)
 *   TRINE_RANGES      set to anything: every op is a range, trine_<op>, for the vendor's profiler (cuda: NVTX, if the plugin was
 *                     built with its header; hip: roctx, if it is installed; cpu: none). (*)
 *   TRINE_CPU_ISA     x86-64-v2, -v3, -v4 or generic: at most what the processor has. (*)
 * (*) ignored in a program that runs setuid or setgid. */

/* ---- Backends and devices ---- */

/* The names that this build knows: "cuda", "hip", "cpu"; NULL past the last. */
TRINE_API const char *trine_backend_name(int32_t index);

typedef struct trine_device_props {
    char backend[16];
    int32_t index;
    char name[128];        /* "NVIDIA H100 80GB HBM3" */
    char arch[32];         /* "sm_90", "gfx942", "x86-64-v4" */
    char driver[64];       /* driver and run-time versions, for reports */
    int32_t compute_units; /* SMs, CUs or threads of the CPU */
    int32_t wave_size;     /* 32, 64; 1 on the CPU */
    int32_t clock_khz;     /* 0 where unknown */
    int64_t memory_bytes;
    int64_t l2_bytes;     /* last-level cache */
    int64_t shared_bytes; /* largest shared memory (LDS) of a block; 0 on the CPU */
} trine_device_props;

/* Devices of a backend. Errors: UNKNOWN_BACKEND; UNAVAILABLE (plugin or driver is not there), ABI_MISMATCH. A backend that
 * opens and finds no device gives TRINE_OK and 0. */
TRINE_API trine_status trine_device_count(const char *backend, int32_t *count);
TRINE_API trine_status trine_device_get_props(const char *backend, int32_t index, trine_device_props *props);

/* ---- Streams ---- */

typedef struct trine_stream trine_stream;

enum {
    TRINE_STREAM_NONDETERMINISTIC = 1, /* variants whose result depends on timing are allowed */
    TRINE_STREAM_FALLBACK_CPU = 2,     /* as TRINE_FALLBACK=cpu */
    TRINE_STREAM_NO_FALLBACK = 4,      /* as TRINE_FALLBACK unset, whatever it says */
    TRINE_STREAM_ADOPT = 8             /* take `native` as it is, NULL (the vendor's default stream) included */
};

enum { TRINE_WORKSPACE_ALIGNMENT = 256 }; /* bytes; what trine_malloc, cudaMalloc and hipMalloc give */

typedef struct trine_stream_options {
    const char *backend; /* NULL: TRINE_BACKEND. Otherwise the same syntax, "cuda:1" */
    const char *arch;    /* NULL: the device's. cpu: a level to run at ("x86-64-v3"). cuda, hip: a stream that
                            only answers queries, for a device that need not be there ("sm_90", "gfx942") */
    const char *variant; /* NULL: TRINE_VARIANT. Otherwise the same syntax; "" forces none */
    void *native; /* the caller's cudaStream_t or hipStream_t, taken if not NULL or if ADOPT is set; not destroyed. cpu: NULL */
    void *workspace;       /* device memory for the ops' use, aligned to TRINE_WORKSPACE_ALIGNMENT (INVALID_ARGUMENT otherwise);
                              NULL: the stream has its own, which grows */
    size_t workspace_size; /* bytes at `workspace`, or, with workspace NULL, bytes to reserve now */
    uint32_t flags;        /* TRINE_STREAM_... */
} trine_stream_options;

/* options may be NULL: all defaults. Errors: INVALID_ARGUMENT, UNKNOWN_BACKEND, UNAVAILABLE, ABI_MISMATCH, OUT_OF_MEMORY,
 * DEVICE, UNSUPPORTED (an arch that the backend or the processor does not have); *stream is then NULL. */
TRINE_API trine_status trine_stream_create(const trine_stream_options *options, trine_stream **stream);
/* Waits for the stream's work, frees its workspace. NULL is fine. Events and graphs that were made from it may be destroyed
 * later, but such a graph is launched no more. */
TRINE_API void trine_stream_destroy(trine_stream *stream);
/* Waits until all work of the stream is done; faults of kernels surface here. */
TRINE_API trine_status trine_stream_synchronize(trine_stream *stream);
/* Makes the stream's own workspace at least that large, so that no later call has to grow it. */
TRINE_API trine_status trine_stream_reserve(trine_stream *stream, size_t bytes);
/* What the stream runs on. For a query-only stream, the properties assumed. */
TRINE_API trine_status trine_stream_get_props(const trine_stream *stream, trine_device_props *props);
/* The vendor's stream; NULL on the CPU. */
TRINE_API void *trine_stream_native(const trine_stream *stream);

/* ---- Memory of the stream's device ---- */

/* At least 256-byte aligned. bytes 0 gives NULL. Not while a graph is captured. */
TRINE_API trine_status trine_malloc(trine_stream *stream, size_t bytes, void **ptr);
/* Waits for the stream first. NULL is fine. */
TRINE_API trine_status trine_free(trine_stream *stream, void *ptr);
typedef enum trine_copy_kind { TRINE_HOST_TO_DEVICE = 1, TRINE_DEVICE_TO_HOST, TRINE_DEVICE_TO_DEVICE } trine_copy_kind;
/* In the stream's order. Host memory must stay as it is until the stream is synchronised. */
TRINE_API trine_status trine_memcpy(trine_stream *stream, void *dst, const void *src, size_t bytes, trine_copy_kind kind);
/* Sets bytes to `value`, in the stream's order. */
TRINE_API trine_status trine_memset(trine_stream *stream, void *dst, int value, size_t bytes);

/* Host memory that the library itself takes (streams, graphs, staging): replaces malloc and free, for the whole process, before
 * any stream exists. Both NULL restores them. alloc returns 16-byte aligned memory or NULL. */
TRINE_API trine_status trine_set_host_allocator(void *(*alloc)(size_t bytes, void *user), void (*release)(void *ptr, void *user),
                                                void *user);

/* ---- Time ---- */

typedef struct trine_event trine_event;
/* An event may be recorded in any stream of its backend and device, and may outlive the stream that it was created with. */
TRINE_API trine_status trine_event_create(trine_stream *stream, trine_event **event);
TRINE_API void trine_event_destroy(trine_event *event);
TRINE_API trine_status trine_event_record(trine_event *event, trine_stream *stream);
/* Seconds between two recorded events of one stream; waits for the second. */
TRINE_API trine_status trine_event_elapsed(trine_event *begin, trine_event *end, double *seconds);

/* ---- Probes: what a device can do at best, to be timed by events ---- */

typedef enum trine_probe_kind {
    TRINE_PROBE_FMA_F32, /* f32 multiply-adds from registers, without dependencies, on every compute unit */
    TRINE_PROBE_EMPTY    /* a kernel that does nothing: a bare launch */
} trine_probe_kind;
/* Starts a probe in the stream's order. *flops is what it computes, 0 for EMPTY; flops may be NULL. Not while a graph is
 * captured. Errors: UNSUPPORTED where the backend has no such probe. */
TRINE_API trine_status trine_probe(trine_stream *stream, trine_probe_kind kind, double *flops);

/* ---- Graphs: record calls once, replay them with one launch ---- */

typedef struct trine_graph trine_graph;
/* Between begin and end, ops and memcpy/memset of the stream are recorded and not run. Nothing is allocated: an op that needs
 * more workspace than the stream has gives WORKSPACE_TOO_SMALL (reserve before). A native capture of an adopted stream that the
 * caller began with the vendor's functions is respected in the same way. */
TRINE_API trine_status trine_graph_begin(trine_stream *stream);
TRINE_API trine_status trine_graph_end(trine_stream *stream, trine_graph **graph);
/* Runs the graph in the order of the stream that recorded it; INVALID_ARGUMENT once that is destroyed. */
TRINE_API trine_status trine_graph_launch(trine_graph *graph);
TRINE_API void trine_graph_destroy(trine_graph *graph);

/* ---- Queries ---- */

typedef struct trine_query_result {
    size_t workspace;   /* bytes that the call would need */
    char variant[32];   /* that would run; "" if refused */
    char accepted[512]; /* every variant that accepts the call, best first, comma-separated, as far as there is room */
    char why[512];      /* why the others (or all) refuse */
} trine_query_result;

/* Would this call run, with what, and why not? Goes through the same code as the call itself, up to the launch. Data pointers may
 * be NULL (they then count as aligned and disjoint). Returns the status that the call would return; result is filled for OK and
 * UNSUPPORTED and zeroed otherwise. */
TRINE_API trine_status trine_query(trine_stream *stream, trine_op op, const void *args, trine_query_result *result);
/* Any op by its number: the same as its own function. */
TRINE_API trine_status trine_run(trine_stream *stream, trine_op op, const void *args);

/* ---- Log ---- */

typedef enum trine_log_level {
    TRINE_LOG_OFF = 0,
    TRINE_LOG_ERROR,
    TRINE_LOG_WARN,
    TRINE_LOG_INFO,
    TRINE_LOG_DISPATCH,
    TRINE_LOG_PROFILE
} trine_log_level;
/* Overrides TRINE_LOG. sink NULL: stderr. The sink may be called from any thread that calls Trine. */
TRINE_API void trine_set_log(trine_log_level level, void (*sink)(trine_log_level level, const char *line, void *user),
                             void *user);

#ifdef __cplusplus
}
#endif
#endif
