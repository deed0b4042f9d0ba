/* The HIP backend's table: what is AMD's own; the rest is backends/simt/vendor_backend.h. */
#include <dlfcn.h>
#include <hip/hip_runtime_api.h>
#include <pthread.h>
#include <stdlib.h>

#define TRINE_BACKEND_FN(name) trine_hip_##name
#include "backends/simt/device.h"

#define VENDOR(name) hip##name
#define VENDOR_NAME "hip"
#define VENDOR_PROPERTIES hipDeviceProp_t
#define VENDOR_INSTANTIATE(executable, graph) hipGraphInstantiate((executable), (graph), NULL, NULL, 0)

#define KIB 1024
#define MIB (1024 * 1024)
#define GIB (1024 * (int64_t)MIB)

/* One well-known chip of each arch, as HIP would report it, but with its last-level (Infinity) cache, which HIP leaves out.
 * compute_units: on RDNA, where a block runs on a pair of CUs (a WGP), HIP counts pairs. MI250X: one of its two dies. */
static const trine_device_props assumed_devices[] = {
    {.arch = "gfx90a",
     .name = "AMD Instinct MI250X",
     .compute_units = 110,
     .wave_size = 64,
     .clock_khz = 1700000,
     .memory_bytes = 64 * GIB,
     .l2_bytes = 8 * MIB,
     .shared_bytes = 64 * KIB},
    {.arch = "gfx942",
     .name = "AMD Instinct MI300X",
     .compute_units = 304,
     .wave_size = 64,
     .clock_khz = 2100000,
     .memory_bytes = 192 * GIB,
     .l2_bytes = 256 * MIB,
     .shared_bytes = 64 * KIB},
    {.arch = "gfx950",
     .name = "AMD Instinct MI355X",
     .compute_units = 256,
     .wave_size = 64,
     .clock_khz = 2400000,
     .memory_bytes = 288 * GIB,
     .l2_bytes = 256 * MIB,
     .shared_bytes = 160 * KIB},
    {.arch = "gfx1100",
     .name = "AMD Radeon RX 7900 XTX",
     .compute_units = 48,
     .wave_size = 32,
     .clock_khz = 2500000,
     .memory_bytes = 24 * GIB,
     .l2_bytes = 96 * MIB,
     .shared_bytes = 64 * KIB},
    {.arch = "gfx1200",
     .name = "AMD Radeon RX 9060 XT",
     .compute_units = 16,
     .wave_size = 32,
     .clock_khz = 3130000,
     .memory_bytes = 16 * GIB,
     .l2_bytes = 32 * MIB,
     .shared_bytes = 64 * KIB},
    {.arch = "gfx1201",
     .name = "AMD Radeon RX 9070 XT",
     .compute_units = 32,
     .wave_size = 32,
     .clock_khz = 2970000,
     .memory_bytes = 16 * GIB,
     .l2_bytes = 64 * MIB,
     .shared_bytes = 64 * KIB},
};

/* gcnArchName is "gfx90a:sramecc+:xnack-": the arch ends at the first colon. */
static void describe(const hipDeviceProp_t *found, trine_device_props *props)
{
    snprintf(props->arch, sizeof props->arch, "%.*s", (int)strcspn(found->gcnArchName, ":"), found->gcnArchName);
    props->clock_khz = found->clockRate;
    props->shared_bytes = (int64_t)found->sharedMemPerBlock;
    for (size_t i = 0; i < sizeof assumed_devices / sizeof assumed_devices[0]; i++) {
        const trine_device_props *known = &assumed_devices[i];
        if (strcmp(known->arch, props->arch) == 0 && known->l2_bytes > props->l2_bytes) props->l2_bytes = known->l2_bytes;
    }
}

/* Code objects run on the arch they were made for. */
static bool has_code(const char *arch)
{
    size_t length = strlen(arch);
    for (const char *entry = TRINE_ARCHS; *entry; entry += strcspn(entry, ","), entry += *entry == ',')
        if (strcspn(entry, ",") == length && strncmp(entry, arch, length) == 0) return true;
    return false;
}

static void version_text(int number, char *text, size_t size)
{
    snprintf(text, size, "%d.%d.%d", number / 10000000, number / 100000 % 100, number % 100000);
}

/* roctx, which rocprofv3 and rocprof take ranges from: opened when they are asked for, never linked and never closed. */
static struct {
    int (*push)(const char *name);
    int (*pop)(void);
} roctx;

static bool open_ranges(void)
{
    static const char *const names[] = {"librocprofiler-sdk-roctx.so.1", "librocprofiler-sdk-roctx.so.0", "libroctx64.so.4"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!library) continue;
        *(void **)&roctx.push = dlsym(library, "roctxRangePushA");
        *(void **)&roctx.pop = dlsym(library, "roctxRangePop");
        if (roctx.push && roctx.pop) return true;
        dlclose(library);
    }
    return false;
}

static void push_range(const char *name) { roctx.push(name); }

static void pop_range(void) { roctx.pop(); }

#include "backends/simt/vendor_backend.h"
