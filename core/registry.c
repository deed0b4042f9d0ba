/* Backends: the CPU is built in; the others are plugins beside the library, opened when asked for and never closed. */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/internal.h"

typedef struct known_backend {
    const char *name;
    const trine_backend *backend; /* NULL until opened */
} known_backend;

/* In the order of preference of "auto". */
static known_backend known[] = {{"cuda", NULL}, {"hip", NULL}, {"cpu", &trine_cpu_backend}};
enum { KNOWN_COUNT = sizeof known / sizeof known[0] };
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;

const char *trine_backend_name(int32_t index) { return index >= 0 && index < KNOWN_COUNT ? known[index].name : NULL; }

/* Why a backend can't be had, kept apart from the thread's text: a selection may go on with another one, and then nothing has
 * failed. */
enum { REASON = 768 };

__attribute__((format(printf, 3, 4))) static trine_status because(char why[REASON], trine_status status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, REASON, format, list);
    va_end(list);
    return status;
}

/* The folder of the plugins: TRINE_PLUGIN_DIR, or the one this library was loaded from. */
static trine_status plugin_path(const char *name, char path[PATH_MAX], char why[REASON])
{
    char library[PATH_MAX];
    Dl_info info;
    const char *folder = trine_env_trusted("TRINE_PLUGIN_DIR");
    if (!folder) {
        if (!dladdr((void *)&known, &info) || !info.dli_fname || !realpath(info.dli_fname, library))
            return because(why, TRINE_ERROR_UNAVAILABLE, "%s: can't find the folder of libtrine", name);
        char *slash = strrchr(library, '/');
        if (slash) *slash = '\0';
        folder = library;
    }
    int length = snprintf(path, PATH_MAX, "%s/libtrine-%s.so", folder, name);
    if (length < 0 || length >= PATH_MAX) return because(why, TRINE_ERROR_UNAVAILABLE, "%s: the plugin's path is too long", name);
    return TRINE_OK;
}

/* Every function that the core calls without asking; capture is all or nothing. */
static bool is_complete(const trine_backend *b)
{
    bool devices = b->device_count && b->device_open && b->device_close && b->device_props;
    bool streams = b->stream_create && b->stream_destroy && b->stream_synchronize;
    bool memory = b->alloc && b->release && b->copy && b->set;
    bool events = b->event_create && b->event_destroy && b->event_record && b->event_elapsed;
    int capture = !!b->capture_begin + !!b->capture_end + !!b->graph_launch + !!b->graph_destroy + !!b->is_capturing;
    return devices && streams && memory && events && (capture == 0 || capture == 5) && b->probe && b->archs;
}

static trine_status check_plugin(const char *name, const char *path, const trine_backend *plugin, char why[REASON])
{
    if (!plugin) return because(why, TRINE_ERROR_ABI_MISMATCH, "%s: %s has no symbol " TRINE_PLUGIN_SYMBOL, name, path);
    if (plugin->abi != TRINE_BACKEND_ABI || plugin->size != sizeof *plugin)
        return because(why, TRINE_ERROR_ABI_MISMATCH, "%s: %s has ABI %u and size %u, this library wants %u and %u", name, path,
                       (unsigned)plugin->abi, (unsigned)plugin->size, (unsigned)TRINE_BACKEND_ABI, (unsigned)sizeof *plugin);
    if (!plugin->version || strcmp(plugin->version, trine_version()) != 0 || !plugin->name || strcmp(plugin->name, name) != 0)
        return because(why, TRINE_ERROR_ABI_MISMATCH, "%s: %s is %s %s, this library is %s", name, path,
                       plugin->name ? plugin->name : "without a name", plugin->version ? plugin->version : "without a version",
                       trine_version());
    return is_complete(plugin) ? TRINE_OK : because(why, TRINE_ERROR_ABI_MISMATCH, "%s: %s lacks functions", name, path);
}

static trine_status open_plugin(const char *name, const trine_backend **backend, char why[REASON])
{
    char path[PATH_MAX];
    trine_status status = plugin_path(name, path, why);
    if (status != TRINE_OK) return status;
    if (access(path, F_OK) != 0) return because(why, TRINE_ERROR_UNAVAILABLE, "%s: there is no plugin %s", name, path);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return because(why, TRINE_ERROR_UNAVAILABLE, "%s: %s", name, dlerror());
    const trine_backend *plugin = dlsym(handle, TRINE_PLUGIN_SYMBOL);
    status = check_plugin(name, path, plugin, why);
    if (status != TRINE_OK) {
        dlclose(handle); /* nothing of it has run */
        return status;
    }
    trine_log(TRINE_LOG_INFO, "opened %s (machine code for %s)", path, plugin->archs);
    *backend = plugin;
    return TRINE_OK;
}

/* Index into known, -1 if there is no such name. */
static int find_known(const char *name, size_t length)
{
    for (int i = 0; i < KNOWN_COUNT; i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0) return i;
    return -1;
}

static trine_status open_known(int i, const trine_backend **backend, char why[REASON])
{
    pthread_mutex_lock(&registry_lock);
    trine_status status = known[i].backend ? TRINE_OK : open_plugin(known[i].name, &known[i].backend, why);
    *backend = known[i].backend;
    pthread_mutex_unlock(&registry_lock);
    return status;
}

static trine_status unknown_backend(const char *name)
{
    return trine_fail(TRINE_ERROR_UNKNOWN_BACKEND, "no backend is called '%s'; there are cuda, hip and cpu", name);
}

trine_status trine_backend_open(const char *name, const trine_backend **backend)
{
    char why[REASON] = "";
    int i = find_known(name, strlen(name));
    if (i < 0) return unknown_backend(name);
    trine_status status = open_known(i, backend, why);
    return status == TRINE_OK ? status : trine_fail(status, "%s", why);
}

/* ---- Selections ---- */

typedef struct choice {
    int backend; /* index into known */
    int32_t device;
} choice;

enum { SELECTION_MAX = 256, CHOICES_MAX = SELECTION_MAX / 4 }; /* no name is shorter than "cpu" */

/* One word of a selection: "name" or "name:index". */
static trine_status parse_choice(char *word, choice *made)
{
    char *colon = strchr(word, ':'), *end = NULL;
    long number = colon ? strtol(colon + 1, &end, 10) : 0;
    if (colon && (colon[1] < '0' || colon[1] > '9' || *end || number > INT32_MAX))
        return trine_fail(TRINE_ERROR_UNKNOWN_BACKEND, "'%s' is no backend: name or name:index", word);
    made->backend = find_known(word, colon ? (size_t)(colon - word) : strlen(word));
    made->device = (int32_t)number;
    return made->backend >= 0 ? TRINE_OK : unknown_backend(word);
}

/* All of it before any is opened: a typing error must not fall through to another backend, wherever it stands. */
static trine_status parse_selection(const char *selection, choice choices[CHOICES_MAX], int *count)
{
    char list[SELECTION_MAX], *rest = NULL;
    *count = 0;
    if (strlen(selection) >= sizeof list) return trine_fail(TRINE_ERROR_UNKNOWN_BACKEND, "the selection of backends is too long");
    strcpy(list, selection);
    for (char *word = strtok_r(list, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) {
        trine_status status = parse_choice(word, &choices[(*count)++]);
        if (status != TRINE_OK) return status;
    }
    return *count ? TRINE_OK : trine_fail(TRINE_ERROR_UNKNOWN_BACKEND, "the selection of backends '%s' names none", selection);
}

/* With an arch, what cuda and hip open is an assumed device, and none need be there. */
static trine_status open_choice(const choice *c, const char *arch, trine_opened *opened, char why[REASON])
{
    const char *name = known[c->backend].name;
    char reason[TRINE_WHY] = "";
    int32_t count = 0;
    trine_status status = open_known(c->backend, &opened->backend, why);
    if (status != TRINE_OK) return status;
    opened->assumed = arch && opened->backend != &trine_cpu_backend;
    if (!opened->assumed) {
        status = opened->backend->device_count(&count, reason);
        if (status == TRINE_OK && c->device >= count) {
            status = TRINE_ERROR_UNAVAILABLE;
            snprintf(reason, sizeof reason, "there is no device %d; devices found: %d", (int)c->device, (int)count);
        }
    }
    if (status == TRINE_OK) status = opened->backend->device_open(c->device, arch, &opened->device, &opened->ops, reason);
    return status == TRINE_OK ? status : because(why, status, "%s: %s", name, reason[0] ? reason : trine_status_name(status));
}

trine_status trine_device_select(const char *selection, const char *arch, trine_opened *opened)
{
    choice choices[CHOICES_MAX];
    char why[REASON] = "", reasons[REASON] = "";
    int count;
    if (!selection) selection = trine_env("TRINE_BACKEND");
    if (!selection || strcmp(selection, "auto") == 0) selection = "cuda,hip,cpu";
    trine_status status = parse_selection(selection, choices, &count);
    if (status != TRINE_OK) return status;
    for (int i = 0; i < count; i++) {
        status = open_choice(&choices[i], arch, opened, why);
        if (status == TRINE_OK) return TRINE_OK;
        size_t used = strlen(reasons);
        snprintf(reasons + used, sizeof reasons - used, "%s%s", used ? "; " : "", why);
        trine_log(TRINE_LOG_INFO, "backend passed over: %s", why);
    }
    return trine_fail(status, "%s", reasons);
}

trine_status trine_device_count(const char *backend, int32_t *count)
{
    if (!backend || !count) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_device_count: NULL argument");
    const trine_backend *found;
    char why[TRINE_WHY] = "";
    *count = 0;
    trine_status status = trine_backend_open(backend, &found);
    if (status != TRINE_OK) return status;
    status = found->device_count(count, why);
    return status == TRINE_OK ? status : trine_fail(status, "%s: %s", backend, why[0] ? why : trine_status_name(status));
}

trine_status trine_device_get_props(const char *backend, int32_t index, trine_device_props *props)
{
    if (!props) return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "trine_device_get_props: props is NULL");
    const trine_backend *found;
    const trine_vtable *ops;
    trine_device *device;
    int32_t count;
    char why[TRINE_WHY] = "";
    trine_status status = trine_device_count(backend, &count);
    if (status != TRINE_OK) return status;
    if (index < 0 || index >= count)
        return trine_fail(TRINE_ERROR_INVALID_ARGUMENT, "%s: there is no device %d; devices found: %d", backend, (int)index,
                          (int)count);
    trine_backend_open(backend, &found);
    status = found->device_open(index, NULL, &device, &ops, why);
    if (status != TRINE_OK) return trine_fail(status, "%s: %s", backend, why[0] ? why : trine_status_name(status));
    found->device_props(device, props);
    found->device_close(device);
    return TRINE_OK;
}
