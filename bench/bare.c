/* The launches of a run are learnt from a capture of it by the driver, whose graph tells each kernel's grid. */
#include "bench/bare.h"

#if defined TRINE_HAVE_CUBLASLT

#include <cuda.h>
#include <dlfcn.h>
#include <stdlib.h>

enum { LAUNCHES = 8, WORDS = 1 << 20 };

#define FUNCTIONS(F) \
    F(cuInit) \
    F(cuDevicePrimaryCtxRetain) \
    F(cuDevicePrimaryCtxRelease) \
    F(cuCtxSetCurrent) \
    F(cuModuleLoadData) \
    F(cuModuleUnload) \
    F(cuModuleGetFunction) \
    F(cuFuncSetAttribute) \
    F(cuStreamBeginCapture) \
    F(cuStreamEndCapture) \
    F(cuGraphGetNodes) \
    F(cuGraphNodeGetType) F(cuGraphKernelNodeGetParams) F(cuGraphKernelNodeGetAttribute) F(cuGraphDestroy) F(cuLaunchKernelEx)

/* The header may give a function another symbol's name. */
#define TEXT(name) #name
#define SYMBOL(name) TEXT(name)

static struct {
    void *library;
#define F(name) __typeof__(&name) name;
    FUNCTIONS(F)
#undef F
} driver;

/* Thread i of the grid takes word i, of a million the same again. */
static const char kernels[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry nothing() { ret; }\n"
    ".visible .entry touch(.param .u64 from, .param .u64 to) {\n"
    ".reg .u32 %r<8>; .reg .u64 %d<6>;\n"
    "mov.u32 %r1, %ctaid.y; mov.u32 %r2, %nctaid.x; mov.u32 %r3, %ctaid.x; mad.lo.u32 %r3, %r1, %r2, %r3;\n"
    "mov.u32 %r1, %ntid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r3, %r3, %r1, %r2;\n"
    "and.b32 %r3, %r3, 1048575; mul.wide.u32 %d1, %r3, 4;\n"
    "ld.param.u64 %d2, [from]; ld.param.u64 %d3, [to];\n"
    "cvta.to.global.u64 %d2, %d2; cvta.to.global.u64 %d3, %d3;\n"
    "add.u64 %d2, %d2, %d1; add.u64 %d3, %d3, %d1;\n"
    "ld.global.u32 %r4, [%d2]; st.global.u32 [%d3], %r4; ret; }\n";

typedef struct likeness {
    CUlaunchConfig config;
    CUlaunchAttribute cluster;
} likeness;

struct bench_bare {
    CUdevice device;
    CUmodule module;
    CUfunction nothing, touch;
    trine_stream *stream;
    void *from, *to;
    int count;
    likeness launch[LAUNCHES];
};

static bool open_driver(void)
{
    if (driver.library) return true;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    bool whole = library != NULL;
#define F(name) whole = whole && (driver.name = (__typeof__(&name))dlsym(library, SYMBOL(name))) != NULL;
    FUNCTIONS(F)
#undef F
    if (whole && driver.cuInit(0) == CUDA_SUCCESS) driver.library = library;
    return driver.library != NULL;
}

/* ---- Seeing the launches ---- */

static bool add_launch(bench_bare *b, CUgraphNode node)
{
    CUgraphNodeType type;
    CUDA_KERNEL_NODE_PARAMS params;
    CUlaunchAttributeValue value;
    if (driver.cuGraphNodeGetType(node, &type) != CUDA_SUCCESS) return false;
    if (type != CU_GRAPH_NODE_TYPE_KERNEL) return true;
    if (b->count == LAUNCHES || driver.cuGraphKernelNodeGetParams(node, &params) != CUDA_SUCCESS) return false;
    likeness *l = &b->launch[b->count++];
    l->config = (CUlaunchConfig){.gridDimX = params.gridDimX,
                                 .gridDimY = params.gridDimY,
                                 .gridDimZ = params.gridDimZ,
                                 .blockDimX = params.blockDimX,
                                 .blockDimY = params.blockDimY,
                                 .blockDimZ = params.blockDimZ,
                                 .sharedMemBytes = params.sharedMemBytes,
                                 .hStream = trine_stream_native(b->stream),
                                 .attrs = &l->cluster};
    if (driver.cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, &value) == CUDA_SUCCESS &&
        value.clusterDim.x > 1) {
        l->cluster = (CUlaunchAttribute){.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value = value};
        l->config.numAttrs = 1;
    }
    return true;
}

static bool see_launches(bench_bare *b, const bench_entry *entry)
{
    enum { NODES = 64 };
    CUgraph graph = NULL;
    CUgraphNode nodes[NODES];
    size_t count = NODES;
    CUstream stream = trine_stream_native(b->stream);
    if (driver.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) != CUDA_SUCCESS) return false;
    bool right = entry->run(entry->state, entry->stream) == TRINE_OK;
    right = driver.cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS && right;
    right = right && driver.cuGraphGetNodes(graph, nodes, &count) == CUDA_SUCCESS && count <= NODES;
    for (size_t i = 0; i < count && right; i++) right = add_launch(b, nodes[i]);
    if (graph) driver.cuGraphDestroy(graph);
    return right && b->count > 0;
}

/* ---- Likenesses of them ---- */

static bool make_kernels(bench_bare *b)
{
    unsigned shared = 0;
    for (int i = 0; i < b->count; i++)
        if (b->launch[i].config.sharedMemBytes > shared) shared = b->launch[i].config.sharedMemBytes;
    bool right = driver.cuModuleLoadData(&b->module, kernels) == CUDA_SUCCESS &&
                 driver.cuModuleGetFunction(&b->nothing, b->module, "nothing") == CUDA_SUCCESS &&
                 driver.cuModuleGetFunction(&b->touch, b->module, "touch") == CUDA_SUCCESS;
    CUfunction both[] = {b->nothing, b->touch};
    for (int i = 0; i < 2 && right; i++) {
        right = driver.cuFuncSetAttribute(both[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared) == CUDA_SUCCESS;
        driver.cuFuncSetAttribute(both[i], CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1); /* not on older devices */
    }
    return right;
}

static trine_status launch_all(bench_bare *b, CUfunction kernel)
{
    void *arguments[] = {&b->from, &b->to};
    for (int i = 0; i < b->count; i++)
        if (driver.cuLaunchKernelEx(&b->launch[i].config, kernel, kernel == b->touch ? arguments : NULL, NULL) != CUDA_SUCCESS)
            return TRINE_ERROR_DEVICE;
    return TRINE_OK;
}

static trine_status run_nothing(void *state, trine_stream *stream)
{
    bench_bare *b = state;
    (void)stream;
    return launch_all(b, b->nothing);
}

static trine_status run_touch(void *state, trine_stream *stream)
{
    bench_bare *b = state;
    (void)stream;
    return launch_all(b, b->touch);
}

bench_bare *bench_bare_create(const bench_entry *entry, const target *t)
{
    CUcontext context;
    if (strcmp(t->props.backend, "cuda") != 0 || !open_driver()) return NULL;
    bench_bare *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    b->device = t->props.index;
    b->stream = entry->stream;
    if (driver.cuDevicePrimaryCtxRetain(&context, b->device) != CUDA_SUCCESS) {
        free(b);
        return NULL;
    }
    if (driver.cuCtxSetCurrent(context) == CUDA_SUCCESS && see_launches(b, entry) && make_kernels(b) &&
        trine_malloc(b->stream, 4 * WORDS, &b->from) == TRINE_OK && trine_malloc(b->stream, 4 * WORDS, &b->to) == TRINE_OK)
        return b;
    bench_bare_destroy(b);
    return NULL;
}

void bench_bare_destroy(bench_bare *b)
{
    if (!b) return;
    trine_stream_synchronize(b->stream);
    if (b->module) driver.cuModuleUnload(b->module);
    if (b->from) trine_free(b->stream, b->from);
    if (b->to) trine_free(b->stream, b->to);
    driver.cuDevicePrimaryCtxRelease(b->device);
    free(b);
}

int bench_bare_add(bench_bare *b, trine_stream *stream, bench_entry *entries)
{
    if (!b) return 0;
    entries[0] = (bench_entry){.name = "empty", .stream = stream, .run = run_nothing, .state = b};
    entries[1] = (bench_entry){.name = "touch", .stream = stream, .run = run_touch, .state = b};
    return BENCH_BARE;
}

int bench_bare_launches(const bench_bare *b) { return b ? b->count : 0; }

#else

bench_bare *bench_bare_create(const bench_entry *entry, const target *t)
{
    (void)entry, (void)t;
    return NULL;
}

void bench_bare_destroy(bench_bare *b) { (void)b; }

int bench_bare_add(bench_bare *b, trine_stream *stream, bench_entry *entries)
{
    (void)b, (void)stream, (void)entries;
    return 0;
}

int bench_bare_launches(const bench_bare *b)
{
    (void)b;
    return 0;
}

#endif
