/* Kernels: what the compiler's start-up code registers, launches, and modules loaded by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "sim.h"

/* ---- Fat binaries and functions ---- */

typedef struct module {
    const void *bundle;
    code_object *code; /* loaded when a kernel of it is first launched */
    bool tried;
} module;

typedef struct fat_binary {
    uint32_t magic, version;
    const void *bundle;
    void *unused;
} fat_binary;

typedef struct function {
    const void *host;
    module *module;
    const char *name;
    kernel *kernel;
} function;

static struct {
    function *slot;
    size_t count, room;
} functions;

static function *slot_of(const void *host)
{
    size_t at = ((uintptr_t)host >> 3) * 0x9e3779b97f4a7c15ull >> 20;
    for (;; at++) {
        function *f = &functions.slot[at % functions.room];
        if (!f->host || f->host == host) return f;
    }
}

static void grow(void)
{
    function *old = functions.slot;
    size_t room = functions.room;
    functions.room = room ? 2 * room : 1024;
    functions.slot = calloc(functions.room, sizeof *functions.slot);
    for (size_t k = 0; k < room; k++)
        if (old[k].host) *slot_of(old[k].host) = old[k];
    free(old);
}

void **__hipRegisterFatBinary(const void *data);
void __hipRegisterFunction(void **modules, const void *host, char *device, const char *name, unsigned threads, void *a, void *b,
                           void *c, void *d, int *e);
void __hipRegisterVar(void **modules, void *variable, char *host, char *device, int external, size_t size, int constant,
                      int global);
void __hipUnregisterFatBinary(void **modules);

void **__hipRegisterFatBinary(const void *data)
{
    module *m = calloc(1, sizeof *m);
    m->bundle = ((const fat_binary *)data)->bundle;
    return (void **)m;
}

void __hipRegisterFunction(void **modules, const void *host, char *device, const char *name, unsigned threads, void *a, void *b,
                           void *c, void *d, int *e)
{
    (void)device, (void)threads, (void)a, (void)b, (void)c, (void)d, (void)e;
    device_lock();
    if (2 * ++functions.count > functions.room) grow();
    *slot_of(host) = (function){.host = host, .module = (module *)modules, .name = name};
    device_unlock();
}

void __hipRegisterVar(void **modules, void *variable, char *host, char *device, int external, size_t size, int constant,
                      int global)
{
    (void)modules, (void)variable, (void)host, (void)device, (void)external, (void)size, (void)constant, (void)global;
}

void __hipUnregisterFatBinary(void **modules) { (void)modules; /* plugins are never unloaded; the process ends */ }

static kernel *kernel_of(const void *host)
{
    function *f = functions.room ? slot_of(host) : NULL;
    if (!f || !f->host) return NULL;
    if (f->kernel) return f->kernel;
    if (!f->module->tried) f->module->code = code_load(f->module->bundle);
    f->module->tried = true;
    return f->kernel = f->module->code ? code_kernel(f->module->code, f->name) : NULL;
}

/* ---- kernel<<<...>>> ---- */

static _Thread_local struct {
    dim3 grid, block;
    size_t lds;
    hipStream_t stream;
} pushed;

hipError_t __hipPushCallConfiguration(dim3 grid, dim3 block, size_t lds, hipStream_t stream);
hipError_t __hipPopCallConfiguration(dim3 *grid, dim3 *block, size_t *lds, hipStream_t *stream);

hipError_t __hipPushCallConfiguration(dim3 grid, dim3 block, size_t lds, hipStream_t stream)
{
    pushed.grid = grid;
    pushed.block = block;
    pushed.lds = lds;
    pushed.stream = stream;
    return hipSuccess;
}

hipError_t __hipPopCallConfiguration(dim3 *grid, dim3 *block, size_t *lds, hipStream_t *stream)
{
    *grid = pushed.grid;
    *block = pushed.block;
    *lds = pushed.lds;
    *stream = pushed.stream;
    return hipSuccess;
}

static void pack(const kernel *k, void **arguments, uint8_t *packed)
{
    for (int a = 0, given = 0; a < k->argument_count; a++)
        if (!k->arguments[a].hidden) memcpy(packed + k->arguments[a].offset, arguments[given++], k->arguments[a].size);
}

static hipError_t start(kernel *k, dim3 grid, dim3 block, void **arguments, const void *packed, size_t lds, hipStream_t stream)
{
    command c = {.what = COMMAND_LAUNCH,
                 .kernel = k,
                 .grid = {grid.x, grid.y, grid.z},
                 .block = {block.x, block.y, block.z},
                 .lds = (unsigned)lds};
    uint32_t bytes = kernel_explicit_bytes(k);
    c.packed = calloc(1, bytes + 8u);
    if (arguments)
        pack(k, arguments, c.packed);
    else if (packed)
        memcpy(c.packed, packed, bytes);
    hipError_t error = stream_submit(stream, &c);
    free(c.packed);
    return error;
}

hipError_t hipLaunchKernel(const void *host, dim3 grid, dim3 block, void **arguments, size_t lds, hipStream_t stream)
{
    device_lock();
    kernel *k = kernel_of(host);
    device_unlock();
    return k ? start(k, grid, block, arguments, NULL, lds, stream) : device_error(hipErrorInvalidDeviceFunction);
}

hipError_t command_launch(const command *c)
{
    char text[1024];
    launch_dims dims;
    memcpy(dims.grid, c->grid, sizeof dims.grid);
    memcpy(dims.block, c->block, sizeof dims.block);
    if (launch_run(c->kernel, &dims, c->lds, c->packed, text, sizeof text)) return hipSuccess;
    device_fault_text(text);
    fprintf(stderr, "amdsim: %s\n", text);
    return strncmp(text, "out of bounds", 13) == 0 ? hipErrorIllegalAddress : hipErrorLaunchFailure;
}

/* ---- Attributes ---- */

hipError_t hipFuncSetAttribute(const void *host, hipFuncAttribute which, int value)
{
    (void)host, (void)which, (void)value;
    return hipSuccess;
}

hipError_t hipFuncGetAttributes(struct hipFuncAttributes *out, const void *host)
{
    device_lock();
    kernel *k = kernel_of(host);
    device_unlock();
    if (!k) return device_error(hipErrorInvalidDeviceFunction);
    memset(out, 0, sizeof *out);
    out->numRegs = (int)k->vgprs;
    out->sharedSizeBytes = k->lds;
    out->localSizeBytes = k->scratch;
    out->maxThreadsPerBlock = (int)k->max_threads;
    return hipSuccess;
}

/* ---- Modules ---- */

hipError_t hipModuleLoadData(hipModule_t *out, const void *image)
{
    device_lock();
    code_object *code = code_load(image);
    device_unlock();
    *out = (hipModule_t)code;
    return device_error(code ? hipSuccess : hipErrorNoBinaryForGpu);
}

hipError_t hipModuleUnload(hipModule_t module)
{
    (void)module; /* decoded instructions may be remembered */
    return hipSuccess;
}

hipError_t hipModuleGetFunction(hipFunction_t *out, hipModule_t module, const char *name)
{
    kernel *k = code_kernel((code_object *)module, name);
    *out = (hipFunction_t)k;
    return device_error(k ? hipSuccess : hipErrorNotFound);
}

hipError_t hipModuleLaunchKernel(hipFunction_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                 unsigned lds, hipStream_t stream, void **arguments, void **extra)
{
    const void *packed = extra && extra[0] == HIP_LAUNCH_PARAM_BUFFER_POINTER ? extra[1] : NULL;
    dim3 grid = {gx, gy, gz}, block = {bx, by, bz};
    return start((kernel *)f, grid, block, arguments, packed, lds, stream);
}
