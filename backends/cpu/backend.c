/* The CPU as a backend: one device, whose arch is the highest level that the processor, the build and TRINE_CPU_ISA allow.
 * Everything has finished when a call returns. */
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "core/backend.h"

struct trine_device {
    trine_device_props props;
};

/* ---- Levels ---- */

typedef struct level {
    const char *arch;
    const trine_vtable *ops;
} level;

#if defined __x86_64__
/* of table.c, compiled once a level */
extern const trine_vtable trine_cpu_v2_vtable, trine_cpu_v3_vtable, trine_cpu_v4_vtable;
static const level levels[] = {
    {"x86-64-v2", &trine_cpu_v2_vtable}, {"x86-64-v3", &trine_cpu_v3_vtable}, {"x86-64-v4", &trine_cpu_v4_vtable}};

static int highest_level(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return 2;
    if (__builtin_cpu_supports("x86-64-v3")) return 1;
    return __builtin_cpu_supports("x86-64-v2") ? 0 : -1;
}
#else
extern const trine_vtable trine_cpu_generic_vtable;
static const level levels[] = {{"generic", &trine_cpu_generic_vtable}};

static int highest_level(void) { return 0; }
#endif
enum { LEVELS = sizeof levels / sizeof levels[0] };

static int find_level(const char *arch)
{
    for (int i = 0; i < LEVELS; i++)
        if (strcmp(levels[i].arch, arch) == 0) return i;
    return -1;
}

/* ---- Devices ---- */

static trine_status cpu_device_count(int32_t *count, char *why)
{
    *count = highest_level() >= 0;
    if (!*count) snprintf(why, TRINE_WHY, "the processor is older than x86-64-v2");
    return *count ? TRINE_OK : TRINE_ERROR_UNAVAILABLE;
}

static trine_status choose_level(const char *arch, int *chosen, char *why)
{
    const char *wanted = arch ? arch : secure_getenv("TRINE_CPU_ISA");
    int highest = highest_level();
    *chosen = wanted && wanted[0] ? find_level(wanted) : highest;
    if (*chosen >= 0 && *chosen <= highest) return TRINE_OK;
    snprintf(why, TRINE_WHY, "level '%s' %s", wanted, *chosen < 0 ? "is not in this build" : "is more than the processor has");
    return TRINE_ERROR_UNSUPPORTED;
}

/* "model name : ..." of /proc/cpuinfo */
static void cpu_name(char *name, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "CPU");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!colon) continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(name, size, "%s", colon + 2);
        break;
    }
    if (file) fclose(file);
}

static int32_t thread_count(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* The first number of a file that describes the last-level cache of a processor; -1: no such file. */
static int64_t cache_number(int processor, const char *what)
{
    char path[96];
    long long number = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index3/%s", processor, what);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%lld", &number) != 1) number = -1;
    if (file) fclose(file);
    return number;
}

/* Sum of the last-level caches, each of which counts with the first processor that shares it. sysconf tells what the whole socket
 * has, of which a virtual machine may see a part. */
static int64_t cached_bytes(void)
{
    const int processors = (int)sysconf(_SC_NPROCESSORS_CONF);
    const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    int64_t sum = 0;
    for (int i = 0; i < processors; i++)
        if (cache_number(i, "shared_cpu_list") == i) sum += 1024 * cache_number(i, "size");
    return sum > 0 ? sum : l3 > 0 ? l3 : l2 > 0 ? l2 : 0;
}

static trine_status cpu_device_open(int32_t index, const char *arch, trine_device **device, const trine_vtable **ops, char *why)
{
    int chosen = 0;
    (void)index;
    trine_status status = choose_level(arch, &chosen, why);
    if (status != TRINE_OK) return status;
    trine_device *made = calloc(1, sizeof *made);
    if (!made) return TRINE_ERROR_OUT_OF_MEMORY;
    trine_device_props *p = &made->props;
    snprintf(p->backend, sizeof p->backend, "cpu");
    cpu_name(p->name, sizeof p->name);
    snprintf(p->arch, sizeof p->arch, "%s", levels[chosen].arch);
    snprintf(p->driver, sizeof p->driver, "OpenMP, %d threads", (int)thread_count());
    p->compute_units = thread_count();
    p->wave_size = 1;
    p->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    p->l2_bytes = cached_bytes();
    *device = made;
    *ops = levels[chosen].ops;
    return TRINE_OK;
}

static void cpu_device_close(trine_device *device) { free(device); }

static void cpu_device_props(const trine_device *device, trine_device_props *props) { *props = device->props; }

/* ---- Streams and memory ---- */

static trine_status cpu_stream_create(trine_device *device, void **native, char *why)
{
    (void)device, (void)why;
    *native = NULL;
    return TRINE_OK;
}

static void cpu_stream_destroy(trine_device *device, void *native) { (void)device, (void)native; }

static trine_status cpu_stream_synchronize(trine_device *device, void *native, char *why)
{
    (void)device, (void)native, (void)why;
    return TRINE_OK;
}

/* Large blocks lie in pages of 2 MiB where the system grants them: walks across rows then find their addresses' translations, and
 * the processor's own prefetching goes on where 4 KiB end (read 75 to 81 GB/s, copy 100 to 105). */
static trine_status cpu_alloc(trine_device *device, size_t bytes, void **ptr, char *why)
{
    const size_t page = (size_t)2 << 20;
    (void)device;
    if (posix_memalign(ptr, bytes < 2 * page ? 256 : page, bytes) == 0) {
#ifdef MADV_HUGEPAGE
        if (bytes >= 2 * page) madvise(*ptr, bytes & ~(page - 1), MADV_HUGEPAGE);
#endif
        return TRINE_OK;
    }
    *ptr = NULL;
    snprintf(why, TRINE_WHY, "%zu bytes", bytes);
    return TRINE_ERROR_OUT_OF_MEMORY;
}

static trine_status cpu_release(trine_device *device, void *ptr, char *why)
{
    (void)device, (void)why;
    free(ptr);
    return TRINE_OK;
}

static trine_status cpu_copy(trine_device *device, void *native, void *dst, const void *src, size_t bytes, trine_copy_kind kind,
                             char *why)
{
    (void)device, (void)native, (void)kind, (void)why;
    memmove(dst, src, bytes);
    return TRINE_OK;
}

static trine_status cpu_set(trine_device *device, void *native, void *dst, int value, size_t bytes, char *why)
{
    (void)device, (void)native, (void)why;
    memset(dst, value, bytes);
    return TRINE_OK;
}

/* ---- Events: points of time ---- */

static trine_status cpu_event_create(trine_device *device, void **event, char *why)
{
    (void)device;
    *event = calloc(1, sizeof(struct timespec));
    if (!*event) snprintf(why, TRINE_WHY, "no memory for an event");
    return *event ? TRINE_OK : TRINE_ERROR_OUT_OF_MEMORY;
}

static void cpu_event_destroy(trine_device *device, void *event)
{
    (void)device;
    free(event);
}

static trine_status cpu_event_record(trine_device *device, void *event, void *native, char *why)
{
    (void)device, (void)native, (void)why;
    clock_gettime(CLOCK_MONOTONIC, event);
    return TRINE_OK;
}

static trine_status cpu_event_elapsed(trine_device *device, void *begin, void *end, double *seconds, char *why)
{
    const struct timespec *a = begin, *b = end;
    (void)device, (void)why;
    *seconds = (double)(b->tv_sec - a->tv_sec) + 1e-9 * (double)(b->tv_nsec - a->tv_nsec);
    return TRINE_OK;
}

/* ---- Probes ---- */

/* Sixteen vectors of running sums a thread: enough independent work for two multiply-add units of four cycles' latency. For some
 * milliseconds, the length of a scheduler's turn: where another process has one of the cores, a probe of 0.4 ms, which ends with
 * its last thread, measures that process's turn (25 GFLOP/s of 540). */
enum { PROBE_LANES = 256, PROBE_STEPS = 1600000 };

__attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4"),
               optimize("O3", "fp-contract=fast", "no-math-errno"))) static float
probe_fma(float a, float b)
{
    float sum[PROBE_LANES], total = 0;
    for (int i = 0; i < PROBE_LANES; i++) sum[i] = (float)i;
    for (int step = 0; step < PROBE_STEPS; step++)
        for (int i = 0; i < PROBE_LANES; i++) sum[i] = sum[i] * a + b;
    for (int i = 0; i < PROBE_LANES; i++) total += sum[i];
    return total;
}

static trine_status cpu_probe(trine_device *device, void *native, trine_probe_kind probe, double *flops, char *why)
{
    volatile float a = 0.999f, b = 0.5f, sink = 0;
    (void)device, (void)native;
    *flops = 0;
    if (probe == TRINE_PROBE_EMPTY) return TRINE_OK;
    if (probe != TRINE_PROBE_FMA_F32) {
        snprintf(why, TRINE_WHY, "there is no such probe");
        return TRINE_ERROR_UNSUPPORTED;
    }
    float x = a, y = b, total = 0;
#ifdef _OPENMP
#pragma omp parallel reduction(+ : total)
#endif
    total += probe_fma(x, y);
    sink = total;
    (void)sink;
    *flops = 2.0 * PROBE_LANES * PROBE_STEPS * thread_count();
    return TRINE_OK;
}

const trine_backend trine_cpu_backend = {
    .abi = TRINE_BACKEND_ABI,
    .size = sizeof(trine_backend),
    .name = "cpu",
    .version = "",
#if defined __x86_64__
    .archs = "x86-64-v2,x86-64-v3,x86-64-v4",
#else
    .archs = "generic",
#endif
    .device_count = cpu_device_count,
    .device_open = cpu_device_open,
    .device_close = cpu_device_close,
    .device_props = cpu_device_props,
    .stream_create = cpu_stream_create,
    .stream_destroy = cpu_stream_destroy,
    .stream_synchronize = cpu_stream_synchronize,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .copy = cpu_copy,
    .set = cpu_set,
    .event_create = cpu_event_create,
    .event_destroy = cpu_event_destroy,
    .event_record = cpu_event_record,
    .event_elapsed = cpu_event_elapsed,
    .probe = cpu_probe,
};
