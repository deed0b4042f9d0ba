/* The HIP calls about memory. Device memory is host memory at the same address, fresh memory holds garbage that is known to be
 * garbage. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "sim.h"

enum { GARBAGE = 0xab, GARBAGE_MOST = 16 << 20, MARGIN = 64 };

/* Behind each allocation lies more that is none, so that what misses one by far does not hit the next. */
static size_t with_gap(size_t bytes) { return 8 * bytes + (16 << 10); }

static hipError_t allocate(void **out, size_t bytes, bool defined, const char *what)
{
    *out = NULL;
    if (!bytes) return hipSuccess;
    if (bytes > SIZE_MAX / 16) return device_error(hipErrorOutOfMemory);
    void *p = mmap(NULL, with_gap(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return device_error(hipErrorOutOfMemory);
    if (mprotect(p, bytes + MARGIN, PROT_READ | PROT_WRITE) != 0) {
        munmap(p, with_gap(bytes));
        return device_error(hipErrorOutOfMemory);
    }
    if (!defined && bytes <= GARBAGE_MOST) memset(p, GARBAGE, bytes);
    device_lock();
    region_add(p, bytes, defined, false, what);
    device_unlock();
    *out = p;
    return hipSuccess;
}

static hipError_t release(void *p)
{
    if (!p) return hipSuccess;
    device_lock();
    region *r = region_find((uint64_t)p, 1);
    size_t bytes = r && r->base == (uint64_t)p && !r->read_only ? r->size : 0;
    if (bytes) region_remove(r);
    device_unlock();
    if (!bytes) return device_error(hipErrorInvalidDevicePointer);
    munmap(p, with_gap(bytes));
    return hipSuccess;
}

hipError_t hipMalloc(void **p, size_t bytes) { return allocate(p, bytes, false, "allocation"); }

hipError_t hipFree(void *p) { return release(p); }

hipError_t hipHostMalloc(void **p, size_t bytes, unsigned flags)
{
    (void)flags;
    return allocate(p, bytes, true, "host allocation");
}

hipError_t hipHostFree(void *p) { return release(p); }

/* ---- Copies ---- */

static bool is_device(const void *p, size_t bytes) { return region_find((uint64_t)p, bytes) != NULL; }

/* What is undefined stays so when it is copied on the device. */
static void copy_definedness(const command *c)
{
    region *to = region_find((uint64_t)c->to, c->bytes), *from = region_find((uint64_t)c->from, c->bytes);
    if (!to) return;
    if (!from || !from->defined || !to->defined || ((uint64_t)c->to | (uint64_t)c->from) % 4) {
        region_define(to, (uint64_t)c->to, c->bytes);
        return;
    }
    uint64_t a = ((uint64_t)c->to - to->base) / 4, b = ((uint64_t)c->from - from->base) / 4, words = c->bytes / 4;
    memmove(to->defined + a, from->defined + b, words);
    region_define(to, (uint64_t)c->to + 4 * words, c->bytes - 4 * words);
}

static double copy_seconds(size_t bytes)
{
    return 2e-6 + (double)bytes / (64.0 * device_compute_units() * 1e3 * chip_now()->clock_khz);
}

hipError_t command_copy(const command *c)
{
    memmove(c->to, c->from, c->bytes);
    copy_definedness(c);
    sim_seconds += copy_seconds(c->bytes);
    return hipSuccess;
}

hipError_t command_set(const command *c)
{
    memset(c->to, c->value, c->bytes);
    region_define(region_find((uint64_t)c->to, c->bytes), (uint64_t)c->to, c->bytes);
    sim_seconds += copy_seconds(c->bytes);
    return hipSuccess;
}

static bool fits(const void *to, const void *from, size_t bytes, hipMemcpyKind kind)
{
    bool to_device = kind == hipMemcpyHostToDevice || kind == hipMemcpyDeviceToDevice;
    bool from_device = kind == hipMemcpyDeviceToHost || kind == hipMemcpyDeviceToDevice;
    return (!to_device || is_device(to, bytes)) && (!from_device || is_device(from, bytes));
}

hipError_t hipMemcpyAsync(void *to, const void *from, size_t bytes, hipMemcpyKind kind, hipStream_t stream)
{
    command c = {.what = COMMAND_COPY, .to = to, .from = from, .bytes = bytes};
    if (!bytes) return hipSuccess;
    device_lock();
    bool good = fits(to, from, bytes, kind);
    device_unlock();
    return good ? stream_submit(stream, &c) : device_error(hipErrorInvalidValue);
}

hipError_t hipMemcpy(void *to, const void *from, size_t bytes, hipMemcpyKind kind)
{
    return hipMemcpyAsync(to, from, bytes, kind, NULL);
}

hipError_t hipMemsetAsync(void *to, int value, size_t bytes, hipStream_t stream)
{
    command c = {.what = COMMAND_SET, .to = to, .value = value, .bytes = bytes};
    if (!bytes) return hipSuccess;
    device_lock();
    bool good = is_device(to, bytes);
    device_unlock();
    return good ? stream_submit(stream, &c) : device_error(hipErrorInvalidValue);
}

hipError_t hipMemset(void *to, int value, size_t bytes) { return hipMemsetAsync(to, value, bytes, NULL); }
