/* The table of a GPU backend (core/backend.h), written once for two run times that are call by call alike. Plain C, included
 * at the end of backends/cuda/backend.c and backends/hip/backend.c. Before it they
 *   include   the vendor's run-time header, pthread.h, stdlib.h and backends/simt/device.h
 *   define    VENDOR(name)          cuda##name or hip##name
 *             VENDOR_NAME           "cuda" or "hip"
 *             VENDOR_PROPERTIES     the type that VENDOR(GetDeviceProperties) fills
 *             VENDOR_INSTANTIATE(executable, graph)   makes a graph executable; gives an error code
 *             TRINE_BACKEND_FN(op)  the op's function
 *             TRINE_ARCHS           what the build has machine code for, "gfx90a,gfx942"; from the build
 *   and have  assumed_devices[]     trine_device_props of chips that a query may be about, whether or not they are here
 *             describe(found, props)            what the vendors report differently: arch, clock, shared memory, cache
 *             has_code(arch)                    whether TRINE_ARCHS serves an arch
 *             version_text(number, text, size)  a version number of the vendor as text
 *             open_ranges()                     finds the profiler's marks; false if there are none. Called once
 *             push_range(name), pop_range()     marks of the calling thread, which nest; after open_ranges gave true
 *
 * The calling thread's current device is the same after every call as before: each entry point that needs a device sets it and
 * puts the caller's back. That also serves the ops, which launch on the current device. */

typedef VENDOR(Error_t) vendor_error;
typedef VENDOR(Stream_t) vendor_stream;

/* ---- Errors ---- */

static trine_status status_of(vendor_error error)
{
    switch ((int)error) {
    case VENDOR(Success): return TRINE_OK;
    case VENDOR(ErrorMemoryAllocation): return TRINE_ERROR_OUT_OF_MEMORY;
    case VENDOR(ErrorNotSupported): return TRINE_ERROR_UNSUPPORTED;
    case VENDOR(ErrorNoDevice):
    case VENDOR(ErrorInvalidDevice):
    case VENDOR(ErrorInitializationError):
    case VENDOR(ErrorInsufficientDriver): return TRINE_ERROR_UNAVAILABLE;
    default: return TRINE_ERROR_DEVICE;
    }
}

/* Also takes the error out of the run time's memory, or the next launch of this thread would report it as its own. */
static trine_status check(vendor_error error, const char *function, char *why)
{
    if (error == VENDOR(Success)) return TRINE_OK;
    (void)VENDOR(GetLastError)();
    snprintf(why, TRINE_WHY, "%s%s: %s (%s)", VENDOR_NAME, function, VENDOR(GetErrorName)(error), VENDOR(GetErrorString)(error));
    return status_of(error);
}
#define TRY(function, ...) check(VENDOR(function)(__VA_ARGS__), #function, why)

/* ---- The current device ---- */

static trine_status enter(const trine_device *device, int *before, char *why)
{
    if (device->assumed) {
        snprintf(why, TRINE_WHY, "an assumed %s only answers queries", device->props.arch);
        return TRINE_ERROR_UNSUPPORTED;
    }
    trine_status status = TRY(GetDevice, before);
    if (status != TRINE_OK || *before == device->props.index) return status;
    return TRY(SetDevice, device->props.index);
}

static void leave(const trine_device *device, int before)
{
    if (before != device->props.index) (void)VENDOR(SetDevice)(before);
}

/* The body of a function with `device` and `why`: evaluates `expression`, a status, on the device and returns it. */
#define RETURN_ON_DEVICE(expression) \
    do { \
        int before; \
        trine_status status = enter(device, &before, why); \
        if (status != TRINE_OK) return status; \
        status = (expression); \
        leave(device, before); \
        return status; \
    } while (0)

/* A function that destroys an object by `function`; there is nobody to tell a failure to. */
#define DESTROYER(name, function) \
    static trine_status try_##name(trine_device *device, void *object, char *why) { RETURN_ON_DEVICE(TRY(function, object)); } \
    static void name(trine_device *device, void *object) \
    { \
        char why[TRINE_WHY]; \
        (void)try_##name(device, object, why); \
    }
DESTROYER(stream_destroy, StreamDestroy)
DESTROYER(event_destroy, EventDestroy)
DESTROYER(graph_destroy, GraphExecDestroy)

/* ---- Devices ---- */

static trine_status device_count(int32_t *count, char *why)
{
    int found = 0;
    vendor_error error = VENDOR(GetDeviceCount)(&found);
    *count = error == VENDOR(Success) ? found : 0;
    trine_status status = check(error, "GetDeviceCount", why);
    return error == VENDOR(ErrorNoDevice) ? TRINE_OK : status;
}

static trine_status open_assumed(int32_t index, const char *arch, trine_device *device, char *why)
{
    size_t count = sizeof assumed_devices / sizeof assumed_devices[0], used = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(arch, assumed_devices[i].arch) != 0) continue;
        device->assumed = true;
        device->props = assumed_devices[i];
        device->props.index = index;
        snprintf(device->props.backend, sizeof device->props.backend, VENDOR_NAME);
        snprintf(device->props.driver, sizeof device->props.driver, "none: assumed device");
        return TRINE_OK;
    }
    used += (size_t)snprintf(why, TRINE_WHY, "nothing is known of '%.32s'; known:", arch);
    for (size_t i = 0; i < count && used < TRINE_WHY; i++)
        used += (size_t)snprintf(why + used, TRINE_WHY - used, " %s", assumed_devices[i].arch);
    return TRINE_ERROR_UNSUPPORTED;
}

static void describe_driver(trine_device_props *props)
{
    int driver = 0, runtime = 0;
    char driver_text[24], runtime_text[24];
    (void)VENDOR(DriverGetVersion)(&driver);
    (void)VENDOR(RuntimeGetVersion)(&runtime);
    version_text(driver, driver_text, sizeof driver_text);
    version_text(runtime, runtime_text, sizeof runtime_text);
    snprintf(props->driver, sizeof props->driver, "driver %s, runtime %s", driver_text, runtime_text);
}

static pthread_once_t ranges_once = PTHREAD_ONCE_INIT;
static bool ranges_are_open;

static void open_ranges_once(void) { ranges_are_open = open_ranges(); }

/* Opening may load a library, so the variable is not believed in setuid and setgid programs. */
static bool ranges_wanted(void)
{
    const char *value = secure_getenv("TRINE_RANGES");
    if (!value || !value[0]) return false;
    pthread_once(&ranges_once, open_ranges_once);
    return ranges_are_open;
}

static trine_status open_present(int32_t index, trine_device *device, char *why)
{
    VENDOR_PROPERTIES found;
    trine_device_props *props = &device->props;
    trine_status status = TRY(GetDeviceProperties, &found, index);
    if (status != TRINE_OK) return status;
    device->ranges = ranges_wanted();
    props->index = index;
    snprintf(props->backend, sizeof props->backend, VENDOR_NAME);
    snprintf(props->name, sizeof props->name, "%.127s", found.name);
    props->compute_units = found.multiProcessorCount;
    props->wave_size = found.warpSize;
    props->memory_bytes = (int64_t)found.totalGlobalMem;
    props->l2_bytes = found.l2CacheSize;
    describe(&found, props);
    describe_driver(props);
    if (has_code(props->arch)) return TRINE_OK;
    snprintf(why, TRINE_WHY, "%s is %s, and this build has machine code for %s only", props->name, props->arch, TRINE_ARCHS);
    return TRINE_ERROR_UNSUPPORTED;
}

static const trine_vtable ops;

static trine_status device_open(int32_t index, const char *arch, trine_device **device, const trine_vtable **table, char *why)
{
    *device = NULL;
    trine_device *opened = calloc(1, sizeof *opened);
    if (!opened) {
        snprintf(why, TRINE_WHY, "no host memory");
        return TRINE_ERROR_OUT_OF_MEMORY;
    }
    trine_status status = arch ? open_assumed(index, arch, opened, why) : open_present(index, opened, why);
    if (status != TRINE_OK) {
        free(opened);
        return status;
    }
    *device = opened;
    *table = &ops;
    return TRINE_OK;
}

static void device_close(trine_device *device) { free(device); }

static void device_props(const trine_device *device, trine_device_props *props) { *props = device->props; }

/* ---- Streams ---- */

static trine_status stream_create(trine_device *device, void **native, char *why)
{
    *native = NULL;
    RETURN_ON_DEVICE(TRY(StreamCreateWithFlags, (vendor_stream *)native, VENDOR(StreamNonBlocking)));
}

static trine_status stream_synchronize(trine_device *device, void *native, char *why)
{
    RETURN_ON_DEVICE(TRY(StreamSynchronize, native));
}

/* ---- Memory ---- */

static trine_status alloc(trine_device *device, size_t bytes, void **ptr, char *why)
{
    *ptr = NULL;
    RETURN_ON_DEVICE(TRY(Malloc, ptr, bytes));
}

static trine_status release(trine_device *device, void *ptr, char *why) { RETURN_ON_DEVICE(TRY(Free, ptr)); }

static trine_status copy(trine_device *device, void *native, void *dst, const void *src, size_t bytes, trine_copy_kind kind,
                         char *why)
{
    static const enum VENDOR(MemcpyKind) kinds[] = {
        [TRINE_HOST_TO_DEVICE] = VENDOR(MemcpyHostToDevice),
        [TRINE_DEVICE_TO_HOST] = VENDOR(MemcpyDeviceToHost),
        [TRINE_DEVICE_TO_DEVICE] = VENDOR(MemcpyDeviceToDevice),
    };
    RETURN_ON_DEVICE(TRY(MemcpyAsync, dst, src, bytes, kinds[kind], native));
}

static trine_status set(trine_device *device, void *native, void *dst, int value, size_t bytes, char *why)
{
    RETURN_ON_DEVICE(TRY(MemsetAsync, dst, value, bytes, native));
}

/* ---- Events ---- */

static trine_status event_create(trine_device *device, void **event, char *why)
{
    *event = NULL;
    RETURN_ON_DEVICE(TRY(EventCreate, (VENDOR(Event_t) *)event));
}

static trine_status event_record(trine_device *device, void *event, void *native, char *why)
{
    RETURN_ON_DEVICE(TRY(EventRecord, event, native));
}

static trine_status elapsed(void *begin, void *end, double *seconds, char *why)
{
    float milliseconds = 0;
    trine_status status = TRY(EventSynchronize, end);
    if (status == TRINE_OK) status = TRY(EventElapsedTime, &milliseconds, begin, end);
    *seconds = 1e-3 * milliseconds;
    return status;
}

static trine_status event_elapsed(trine_device *device, void *begin, void *end, double *seconds, char *why)
{
    *seconds = 0;
    RETURN_ON_DEVICE(elapsed(begin, end, seconds, why));
}

/* ---- Graphs ---- */

/* Thread-local: what other threads do to their own streams meanwhile is none of this capture's business. */
static trine_status capture_begin(trine_device *device, void *native, char *why)
{
    RETURN_ON_DEVICE(TRY(StreamBeginCapture, native, VENDOR(StreamCaptureModeThreadLocal)));
}

static trine_status end_capture(void *native, void **graph, char *why)
{
    VENDOR(Graph_t) recorded = NULL;
    VENDOR(GraphExec_t) executable = NULL;
    trine_status status = TRY(StreamEndCapture, native, &recorded);
    if (status != TRINE_OK) return status;
    status = check(VENDOR_INSTANTIATE(&executable, recorded), "GraphInstantiate", why);
    (void)VENDOR(GraphDestroy)(recorded);
    *graph = executable;
    return status;
}

static trine_status capture_end(trine_device *device, void *native, void **graph, char *why)
{
    *graph = NULL;
    RETURN_ON_DEVICE(end_capture(native, graph, why));
}

static trine_status graph_launch(trine_device *device, void *native, void *graph, char *why)
{
    RETURN_ON_DEVICE(TRY(GraphLaunch, graph, native));
}

/* An implicit-capture error is what the legacy default stream gives while another stream is captured: the same things are
 * forbidden. */
static bool is_capturing(trine_device *device, void *native)
{
    char why[TRINE_WHY];
    int before;
    enum VENDOR(StreamCaptureStatus) status = VENDOR(StreamCaptureStatusNone);
    if (enter(device, &before, why) != TRINE_OK) return false;
    vendor_error error = VENDOR(StreamIsCapturing)(native, &status);
    (void)check(error, "StreamIsCapturing", why);
    leave(device, before);
    bool active = error == VENDOR(Success) && status != VENDOR(StreamCaptureStatusNone);
    return active || error == VENDOR(ErrorStreamCaptureImplicit);
}

/* ---- Probes and ops ---- */

static trine_status start_probe(trine_device *device, void *native, trine_probe_kind which, double *flops, char *why)
{
    trine_call call = {.device = device, .native = native};
    trine_status status = TRINE_BACKEND_FN(run_probe)(&call, which, flops);
    if (status != TRINE_OK) snprintf(why, TRINE_WHY, "%s", call.why);
    return status;
}

static trine_status probe(trine_device *device, void *native, trine_probe_kind which, double *flops, char *why)
{
    RETURN_ON_DEVICE(start_probe(device, native, which, flops, why));
}

/* Each op, on its device. A query about an assumed device touches no run time. */
#define OP(family, name) \
    static trine_status run_##name(trine_call *call, const trine_##name##_args *args) \
    { \
        const trine_device *device = call->device; \
        char *why = call->why; \
        if (device->assumed && call->query) return TRINE_BACKEND_FN(name)(call, args); \
        RETURN_ON_DEVICE(TRINE_BACKEND_FN(name)(call, args)); \
    } \
    static trine_status op_##name(trine_call *call, const trine_##name##_args *args) \
    { \
        bool marked = call->device->ranges && !call->query; \
        if (marked) push_range("trine_" #name); \
        trine_status status = run_##name(call, args); \
        if (marked) pop_range(); \
        return status; \
    }
#include "trine/ops.def"
#undef OP

static const trine_vtable ops = {
#define OP(family, name) .name = op_##name,
#include "trine/ops.def"
#undef OP
};

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

TRINE_API extern const trine_backend trine_plugin;
const trine_backend trine_plugin = {
    .abi = TRINE_BACKEND_ABI,
    .size = sizeof(trine_backend),
    .name = VENDOR_NAME,
    .version = VERSION_TEXT(TRINE_VERSION_MAJOR, TRINE_VERSION_MINOR, TRINE_VERSION_PATCH),
    .archs = TRINE_ARCHS,
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_props = device_props,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_synchronize = stream_synchronize,
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
    .graph_destroy = graph_destroy,
    .is_capturing = is_capturing,
    .probe = probe,
};
