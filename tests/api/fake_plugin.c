/* See fake.h. Compiled several times, each time with another fault: FAKE_ABI, FAKE_SIZE, FAKE_VERSION, FAKE_NAME,
 * FAKE_INCOMPLETE, FAKE_HALF_CAPTURE, FAKE_WITHOUT_SYMBOL, FAKE_UNDEFINED. */
#include <stdlib.h>

#include "tests/api/fake.h"

#ifndef FAKE_ABI
#define FAKE_ABI TRINE_BACKEND_ABI
#endif
#ifndef FAKE_SIZE
#define FAKE_SIZE sizeof(trine_backend)
#endif
#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)
#ifndef FAKE_VERSION
#define FAKE_VERSION VERSION_TEXT(TRINE_VERSION_MAJOR, TRINE_VERSION_MINOR, TRINE_VERSION_PATCH)
#endif
#ifndef FAKE_NAME
#define FAKE_NAME "cuda"
#endif

TRINE_API extern fake_control fake_control_block;
fake_control fake_control_block = {.devices = 2};
#define control fake_control_block

struct trine_device {
    trine_device_props props;
};

/* Counts the call and fails if it is the one. */
static trine_status enter(fake_function function, char *why)
{
    if (control.failing[function].at == 0 || --control.failing[function].at > 0) return TRINE_OK;
    if (!control.silent) snprintf(why, TRINE_WHY, "fake failure %d", (int)function);
    return control.failing[function].status;
}

static void *make(size_t bytes, trine_status *status)
{
    void *object = *status == TRINE_OK ? calloc(1, bytes) : NULL;
    if (object)
        control.live++;
    else if (*status == TRINE_OK)
        *status = TRINE_ERROR_OUT_OF_MEMORY;
    return object;
}

static void destroy(void *object)
{
    if (object) control.live--;
    free(object);
}

/* ---- Tasks: what a stream still has to do ---- */

typedef struct fake_task {
    struct fake_task *next;
    void *dst;
    const void *src; /* NULL: sets to value */
    int value;
    bool op;
    size_t bytes;
} fake_task;

static fake_stream default_stream;

static fake_stream *stream_of(void *native) { return native ? native : &default_stream; }

static trine_status append(void *native, fake_task task)
{
    trine_status status = TRINE_OK;
    fake_stream *s = stream_of(native);
    fake_task *added = make(sizeof *added, &status);
    if (!added) return status;
    *added = task;
    added->next = NULL;
    if (s->last)
        s->last->next = added;
    else
        s->first = added;
    s->last = added;
    return TRINE_OK;
}

static void free_tasks(fake_task *task)
{
    while (task) {
        fake_task *next = task->next;
        destroy(task);
        task = next;
    }
}

static void run_tasks(fake_stream *s)
{
    for (fake_task *t = s->first; t; t = t->next) {
        if (t->src)
            memmove(t->dst, t->src, t->bytes);
        else if (t->bytes)
            memset(t->dst, t->value, t->bytes);
        control.ran += t->op;
    }
    free_tasks(s->first);
    s->first = s->last = NULL;
}

/* ---- Devices and streams ---- */

static trine_status device_count(int32_t *count, char *why)
{
    trine_status status = enter(FAKE_COUNT, why);
    *count = status == TRINE_OK ? control.devices : 0;
    return status;
}

static const trine_vtable ops;

static trine_status device_open(int32_t index, const char *arch, trine_device **device, const trine_vtable **table, char *why)
{
    trine_status status = enter(FAKE_OPEN, why);
    if (status == TRINE_OK && arch && strcmp(arch, "sm_90") != 0) {
        snprintf(why, TRINE_WHY, "nothing is known of '%.32s'", arch);
        status = TRINE_ERROR_UNSUPPORTED;
    }
    trine_device *made = make(sizeof *made, &status);
    if (!made) return status;
    made->props =
        (trine_device_props){.backend = FAKE_NAME, .name = "fake device", .arch = "sm_90", .index = index, .wave_size = 32};
    *device = made;
    *table = &ops;
    return TRINE_OK;
}

static void device_close(trine_device *device) { destroy(device); }

static void device_props(const trine_device *device, trine_device_props *props) { *props = device->props; }

static trine_status stream_create(trine_device *device, void **native, char *why)
{
    trine_status status = enter(FAKE_STREAM, why);
    (void)device;
    *native = make(sizeof(fake_stream), &status);
    return status;
}

static void stream_destroy(trine_device *device, void *native)
{
    (void)device;
    free_tasks(((fake_stream *)native)->first);
    destroy(native);
}

/* As the vendors: while a stream is captured, waiting for it and freeing memory are errors. */
static int captures;

__attribute__((unused)) static trine_status stream_synchronize(trine_device *device, void *native, char *why)
{
    trine_status status = enter(FAKE_SYNCHRONIZE, why);
    (void)device;
    if (stream_of(native)->capturing)
        status = TRINE_ERROR_DEVICE;
    else
        run_tasks(stream_of(native)); /* a fault of one does not stop the others */
    control.waited++;
    return status;
}

/* ---- Memory ---- */

static trine_status alloc(trine_device *device, size_t bytes, void **ptr, char *why)
{
    trine_status status = enter(FAKE_ALLOC, why);
    (void)device;
    *ptr = NULL;
    if (status != TRINE_OK) return status;
    if (posix_memalign(ptr, 256, bytes) != 0) return TRINE_ERROR_OUT_OF_MEMORY;
    control.live++;
    return TRINE_OK;
}

static trine_status release(trine_device *device, void *ptr, char *why)
{
    trine_status status = enter(FAKE_RELEASE, why);
    (void)device;
    if (captures > 0) return TRINE_ERROR_DEVICE;
    destroy(ptr);
    return status;
}

static trine_status copy(trine_device *device, void *native, void *dst, const void *src, size_t bytes, trine_copy_kind kind,
                         char *why)
{
    trine_status status = enter(FAKE_COPY, why);
    (void)device, (void)kind;
    return status == TRINE_OK ? append(native, (fake_task){.dst = dst, .src = src, .bytes = bytes}) : status;
}

static trine_status set(trine_device *device, void *native, void *dst, int value, size_t bytes, char *why)
{
    trine_status status = enter(FAKE_SET, why);
    (void)device;
    return status == TRINE_OK ? append(native, (fake_task){.dst = dst, .value = value, .bytes = bytes}) : status;
}

/* ---- Events ---- */

static trine_status event_create(trine_device *device, void **event, char *why)
{
    trine_status status = enter(FAKE_EVENT, why);
    (void)device;
    *event = make(1, &status);
    return status;
}

static void event_destroy(trine_device *device, void *event)
{
    (void)device;
    destroy(event);
}

static trine_status event_record(trine_device *device, void *event, void *native, char *why)
{
    (void)device, (void)event, (void)native;
    return enter(FAKE_RECORD, why);
}

static trine_status event_elapsed(trine_device *device, void *begin, void *end, double *seconds, char *why)
{
    (void)device, (void)begin, (void)end;
    *seconds = 0.25;
    return enter(FAKE_ELAPSED, why);
}

/* ---- Graphs: a list of tasks ---- */

static trine_status capture_begin(trine_device *device, void *native, char *why)
{
    trine_status status = enter(FAKE_CAPTURE_BEGIN, why);
    (void)device;
    if (status == TRINE_OK) {
        run_tasks(stream_of(native));
        stream_of(native)->capturing = true;
        captures++;
    }
    return status;
}

static trine_status capture_end(trine_device *device, void *native, void **graph, char *why)
{
    trine_status status = enter(FAKE_CAPTURE_END, why);
    fake_stream *s = stream_of(native), *made = make(sizeof *made, &status);
    (void)device;
    if (made)
        made->first = s->first;
    else
        free_tasks(s->first);
    *s = (fake_stream){0};
    captures--;
    *graph = made;
    return status;
}

static trine_status graph_launch(trine_device *device, void *native, void *graph, char *why)
{
    trine_status status = enter(FAKE_LAUNCH, why);
    (void)device;
    for (const fake_task *t = ((fake_stream *)graph)->first; t && status == TRINE_OK; t = t->next) status = append(native, *t);
    return status;
}

__attribute__((unused)) static void graph_destroy(trine_device *device, void *graph) { stream_destroy(device, graph); }

static bool is_capturing(trine_device *device, void *native)
{
    (void)device;
    return stream_of(native)->capturing;
}

/* ---- Probes and ops ---- */

static trine_status probe(trine_device *device, void *native, trine_probe_kind which, double *flops, char *why)
{
    (void)device, (void)native;
    *flops = which == TRINE_PROBE_FMA_F32 ? 1e6 : 0;
    return enter(FAKE_PROBE, why);
}

static trine_status run_slow(trine_call *call, const void *args)
{
    (void)args;
    TRINE_END_OF_QUERY(call, control.workspace);
    trine_status status = enter(FAKE_OP, call->why);
    return status == TRINE_OK
               ? append(call->native, (fake_task){.dst = call->workspace, .value = 0x77, .op = true, .bytes = control.workspace})
               : status;
}

static trine_status run_fast(trine_call *call, const void *args)
{
    TRINE_REQUIRE_THAT(call, control.fast, "is not fast today");
    return run_slow(call, args);
}

static trine_status run_op(trine_call *call, const void *args)
{
    static const trine_variant variants[] = {{"fast", run_fast}, {"slow", run_slow}};
    TRINE_REQUIRE(call, !control.refuse);
    return trine_run_variants(call, variants, 2, args);
}

#define OP(family, name) \
    static trine_status op_##name(trine_call *call, const trine_##name##_args *args) { return run_op(call, args); }
#include "trine/ops.def"
#undef OP

static const trine_vtable ops = {
#define OP(family, name) .name = op_##name,
#include "trine/ops.def"
#undef OP
};

#ifdef FAKE_UNDEFINED
extern int fake_function_that_nobody_has(void);
TRINE_API int fake_caller(void);
int fake_caller(void) { return fake_function_that_nobody_has(); }
#endif

#ifdef FAKE_WITHOUT_SYMBOL
#define trine_plugin some_other_symbol
#endif
TRINE_API extern const trine_backend trine_plugin;
const trine_backend trine_plugin = {
    .abi = FAKE_ABI,
    .size = FAKE_SIZE,
    .name = FAKE_NAME,
    .version = FAKE_VERSION,
    .archs = "sm_90",
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_props = device_props,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
#ifndef FAKE_INCOMPLETE
    .stream_synchronize = stream_synchronize,
#endif
    .alloc = alloc,
    .release = release,
    .copy = copy,
    .set = set,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_elapsed = event_elapsed,
    .capture_begin = capture_begin,
    .capture_end = capture_end,
    .graph_launch = graph_launch,
#ifndef FAKE_HALF_CAPTURE
    .graph_destroy = graph_destroy,
#endif
    .is_capturing = is_capturing,
    .probe = probe,
};
