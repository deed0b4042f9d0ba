/* The CUDA backend's table: what is NVIDIA's own; the rest is backends/simt/vendor_backend.h. */
#include <cuda_runtime_api.h>
#include <pthread.h>
#include <stdlib.h>
#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define HAVE_NVTX 1
#endif

#define TRINE_BACKEND_FN(name) trine_cuda_##name
#include "backends/simt/device.h"

#define VENDOR(name) cuda##name
#define VENDOR_NAME "cuda"
#define VENDOR_PROPERTIES struct cudaDeviceProp
#define VENDOR_INSTANTIATE(executable, graph) cudaGraphInstantiateWithFlags((executable), (graph), 0)

#define KIB 1024
#define MIB (1024 * 1024)
#define GIB (1024 * (int64_t)MIB)

/* One well-known chip of each arch, as CUDA would report it. */
static const trine_device_props assumed_devices[] = {
    {.arch = "sm_80",
     .name = "NVIDIA A100-SXM4-80GB",
     .compute_units = 108,
     .wave_size = 32,
     .clock_khz = 1410000,
     .memory_bytes = 80 * GIB,
     .l2_bytes = 40 * MIB,
     .shared_bytes = 163 * KIB},
    {.arch = "sm_86",
     .name = "NVIDIA GeForce RTX 3090",
     .compute_units = 82,
     .wave_size = 32,
     .clock_khz = 1695000,
     .memory_bytes = 24 * GIB,
     .l2_bytes = 6 * MIB,
     .shared_bytes = 99 * KIB},
    {.arch = "sm_89",
     .name = "NVIDIA GeForce RTX 4090",
     .compute_units = 128,
     .wave_size = 32,
     .clock_khz = 2520000,
     .memory_bytes = 24 * GIB,
     .l2_bytes = 72 * MIB,
     .shared_bytes = 99 * KIB},
    {.arch = "sm_90",
     .name = "NVIDIA H100 80GB HBM3",
     .compute_units = 132,
     .wave_size = 32,
     .clock_khz = 1980000,
     .memory_bytes = 80 * GIB,
     .l2_bytes = 50 * MIB,
     .shared_bytes = 227 * KIB},
    {.arch = "sm_100",
     .name = "NVIDIA B200",
     .compute_units = 148,
     .wave_size = 32,
     .clock_khz = 1965000,
     .memory_bytes = 180 * GIB,
     .l2_bytes = 126 * MIB,
     .shared_bytes = 227 * KIB},
};

static void describe(const struct cudaDeviceProp *found, trine_device_props *props)
{
    snprintf(props->arch, sizeof props->arch, "sm_%d%d", found->major, found->minor);
    props->shared_bytes = (int64_t)found->sharedMemPerBlockOptin;
    if (cudaDeviceGetAttribute(&props->clock_khz, cudaDevAttrClockRate, props->index) != cudaSuccess) props->clock_khz = 0;
}

/* Machine code (sm_) serves later chips of the same major number, PTX (compute_) all later ones; with the suffix `a` either
 * serves one chip only, with `f` the same major number. */
static bool has_code(const char *arch)
{
    long device = strtol(arch + strlen("sm_"), NULL, 10);
    for (const char *entry = TRINE_ARCHS; *entry; entry += strcspn(entry, ","), entry += *entry == ',') {
        char *suffix;
        long code = strtol(entry + strcspn(entry, "_") + 1, &suffix, 10);
        bool any_later = *entry == 'c' && *suffix != 'f';
        if (code == device) return true;
        if (*suffix != 'a' && code < device && (any_later || code / 10 == device / 10)) return true;
    }
    return false;
}

static void version_text(int number, char *text, size_t size)
{
    snprintf(text, size, "%d.%d", number / 1000, number % 1000 / 10);
}

/* NVTX 3 is a header: a profiler that is there brings the library, and without one a range is an empty call. */
#ifdef HAVE_NVTX
static bool open_ranges(void) { return true; }

static void push_range(const char *name) { nvtxRangePushA(name); }

static void pop_range(void) { nvtxRangePop(); }
#else
static bool open_ranges(void) { return false; }

static void push_range(const char *name) { (void)name; }

static void pop_range(void) {}
#endif

#include "backends/simt/vendor_backend.h"
