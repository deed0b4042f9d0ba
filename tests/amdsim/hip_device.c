/* The HIP calls about devices and errors. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip.h"
#include "device.h"

/* ---- The device ---- */

int device_compute_units(void)
{
    const char *text = getenv("AMDSIM_CUS");
    int units = text ? atoi(text) : 8;
    return units > 0 ? units : 8;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void device_lock(void) { pthread_mutex_lock(&lock); }

void device_unlock(void) { pthread_mutex_unlock(&lock); }

hipError_t hipInit(unsigned flags)
{
    (void)flags;
    return hipSuccess;
}

hipError_t hipGetDeviceCount(int *count)
{
    *count = 1;
    return hipSuccess;
}

hipError_t hipGetDevice(int *index)
{
    *index = 0;
    return hipSuccess;
}

hipError_t hipSetDevice(int index) { return device_error(index == 0 ? hipSuccess : hipErrorInvalidDevice); }

enum { MEMORY = 1 << 30 };

hipError_t hipGetDeviceProperties(hipDeviceProp_t *p, int index)
{
    const chip *c = chip_now();
    if (index != 0) return device_error(hipErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "%s", c->product);
    snprintf(p->gcnArchName, sizeof p->gcnArchName, "%s%s", c->name, c->major == 9 ? ":sramecc+:xnack-" : "");
    p->totalGlobalMem = MEMORY;
    p->sharedMemPerBlock = p->maxSharedMemoryPerMultiProcessor = (size_t)c->lds_bytes;
    p->regsPerBlock = 65536;
    p->warpSize = c->wave_size;
    p->maxThreadsPerBlock = 1024;
    for (int d = 0; d < 3; d++) p->maxThreadsDim[d] = 1024, p->maxGridSize[d] = d ? 65535 : 0x7fffffff;
    p->clockRate = p->clockInstructionRate = c->clock_khz;
    p->memoryClockRate = 1000000;
    p->memoryBusWidth = 1024;
    p->totalConstMem = 65536;
    p->major = c->major;
    p->multiProcessorCount = device_compute_units();
    p->l2CacheSize = c->l2_bytes;
    p->maxThreadsPerMultiProcessor = c->simds * c->waves_per_simd * c->wave_size;
    p->concurrentKernels = 1;
    return hipSuccess;
}

hipError_t hipDeviceGetAttribute(int *value, hipDeviceAttribute_t which, int index)
{
    hipDeviceProp_t p;
    hipError_t error = hipGetDeviceProperties(&p, index);
    if (error != hipSuccess) return error;
    const struct {
        hipDeviceAttribute_t which;
        int value;
    } known[] = {
        {hipDeviceAttributeMultiprocessorCount, p.multiProcessorCount},
        {hipDeviceAttributeWarpSize, p.warpSize},
        {hipDeviceAttributeMaxThreadsPerBlock, p.maxThreadsPerBlock},
        {hipDeviceAttributeMaxSharedMemoryPerBlock, (int)p.sharedMemPerBlock},
        {hipDeviceAttributeClockRate, p.clockRate},
        {hipDeviceAttributeL2CacheSize, p.l2CacheSize},
    };
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
        if (known[k].which == which) return *value = known[k].value, hipSuccess;
    return device_error(hipErrorNotSupported);
}

hipError_t hipDriverGetVersion(int *version)
{
    *version = HIP_VERSION;
    return hipSuccess;
}

hipError_t hipRuntimeGetVersion(int *version)
{
    *version = HIP_VERSION;
    return hipSuccess;
}

hipError_t hipMemGetInfo(size_t *available, size_t *total)
{
    *available = *total = MEMORY;
    return hipSuccess;
}

/* ---- Errors ---- */

static _Thread_local hipError_t last;
static _Thread_local char fault_text[1024];

hipError_t device_error(hipError_t error)
{
    if (error != hipSuccess) last = error;
    return error;
}

void device_fault_text(const char *text) { snprintf(fault_text, sizeof fault_text, "%s", text); }

hipError_t hipGetLastError(void)
{
    hipError_t error = last;
    last = hipSuccess;
    return error;
}

hipError_t hipPeekAtLastError(void) { return last; }

static const struct {
    hipError_t error;
    const char *name, *text;
} errors[] = {
#define E(name, text) \
    { \
        name, #name, text \
    }
    E(hipSuccess, "no error"),
    E(hipErrorInvalidValue, "invalid argument"),
    E(hipErrorOutOfMemory, "out of memory"),
    E(hipErrorInvalidDevice, "invalid device ordinal"),
    E(hipErrorNotSupported, "operation not supported"),
    E(hipErrorLaunchFailure, "unspecified launch failure"),
    E(hipErrorIllegalAddress, "an illegal memory access was encountered"),
    E(hipErrorNoBinaryForGpu, "no kernel image is available for execution on the device"),
    E(hipErrorInvalidDeviceFunction, "invalid device function"),
    E(hipErrorInvalidConfiguration, "invalid configuration argument"),
    E(hipErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    E(hipErrorInvalidHandle, "invalid resource handle"),
    E(hipErrorNotFound, "named symbol not found"),
    E(hipErrorIllegalState, "the operation cannot be performed in the present state"),
    E(hipErrorInvalidDevicePointer, "invalid device pointer"),
    E(hipErrorNotReady, "device not ready"),
#undef E
};

const char *hipGetErrorName(hipError_t error)
{
    for (size_t k = 0; k < sizeof errors / sizeof errors[0]; k++)
        if (errors[k].error == error) return errors[k].name;
    return "hipErrorUnknown";
}

/* Of a fault, what the simulator says of it. */
const char *hipGetErrorString(hipError_t error)
{
    bool of_kernel = error == hipErrorLaunchFailure || error == hipErrorIllegalAddress || error == hipErrorInvalidConfiguration;
    if (of_kernel && fault_text[0]) return fault_text;
    for (size_t k = 0; k < sizeof errors / sizeof errors[0]; k++)
        if (errors[k].error == error) return errors[k].text;
    return "unknown error";
}
