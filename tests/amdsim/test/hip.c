/* The run time: memory, events, graphs, errors, and a sum over a wave written for 32 lanes. */
#include <hip/hip_runtime_api.h>

#include "test.h"

/* Adds 1 to every word; s[10:11] is what is changed. */
static const piece pieces[] = {
    {"increment", "gfx9",
     "global_load_dword v20, v1, s[10:11]\ns_waitcnt vmcnt(0)\nv_add_co_u32 v20, vcc, 1, v20\nglobal_store_dword v1, v20, "
     "s[10:11]\ns_endpgm",
     NULL, 0, 1},
    {"increment_11", "gfx11",
     "global_load_b32 v20, v1, s[10:11]\ns_waitcnt vmcnt(0)\nv_add_nc_u32 v20, 1, v20\nglobal_store_b32 v1, v20, "
     "s[10:11]\ns_endpgm",
     NULL, 0, 1},
    {"sum_of_32", "",
     "v_mov_b32 v80, v16\nv_xor_b32 v20, 64, v1\nds_bpermute_b32 v21, v20, v80\ns_waitcnt lgkmcnt(0)\nv_add_f32 v80, v80, "
     "v21\nv_xor_b32 v20, 32, v1\nds_bpermute_b32 v21, v20, v80\ns_waitcnt lgkmcnt(0)\nv_add_f32 v80, v80, v21\n"
     "v_xor_b32 v20, 16, v1\nds_bpermute_b32 v21, v20, v80\ns_waitcnt lgkmcnt(0)\nv_add_f32 v80, v80, v21\nv_xor_b32 v20, 8, "
     "v1\nds_bpermute_b32 v21, v20, v80\ns_waitcnt lgkmcnt(0)\nv_add_f32 v80, v80, v21\nv_xor_b32 v20, 4, v1\nds_bpermute_b32 "
     "v21, v20, v80\ns_waitcnt lgkmcnt(0)\nv_add_f32 v80, v80, v21",
     NULL, 1, 1},
};

static void test_graph(void *module)
{
    hipFunction_t f;
    hipStream_t stream;
    hipGraph_t graph;
    hipGraphExec_t executable;
    uint32_t *device, host[LANES];
    float milliseconds = 0;
    hipEvent_t begin, end;
    check(hipModuleGetFunction(&f, module, chip_is("gfx9") ? "increment" : "increment_11") == hipSuccess, "hip: no kernel");
    (void)hipMalloc((void **)&device, sizeof host);
    (void)hipStreamCreateWithFlags(&stream, hipStreamNonBlocking);
    (void)hipEventCreate(&begin);
    (void)hipEventCreate(&end);
    void *arguments[] = {&device, &device};
    check(hipStreamBeginCapture(stream, hipStreamCaptureModeThreadLocal) == hipSuccess, "hip: capture");
    hipStreamCaptureStatus status;
    (void)hipStreamIsCapturing(stream, &status);
    check(status == hipStreamCaptureStatusActive, "hip: capturing");
    (void)hipMemsetAsync(device, 0, sizeof host, stream);
    for (int k = 0; k < 3; k++) (void)hipModuleLaunchKernel(f, 1, 1, 1, (unsigned)chip_wave(), 1, 1, 0, stream, arguments, NULL);
    check(hipStreamSynchronize(stream) == hipErrorStreamCaptureUnsupported, "hip: synchronise while capturing");
    check(hipStreamEndCapture(stream, &graph) == hipSuccess, "hip: end of capture");
    check(hipGraphInstantiate(&executable, graph, NULL, NULL, 0) == hipSuccess, "hip: instantiate");
    (void)hipGraphDestroy(graph);
    (void)hipEventRecord(begin, stream);
    for (int k = 0; k < 2; k++) check(hipGraphLaunch(executable, stream) == hipSuccess, "hip: graph launch");
    (void)hipEventRecord(end, stream);
    (void)hipMemcpy(host, device, sizeof host, hipMemcpyDeviceToHost);
    check(host[0] == 3 && host[chip_wave() - 1] == 3, "hip: the graph gave %u", host[0]);
    check(hipEventElapsedTime(&milliseconds, begin, end) == hipSuccess && milliseconds > 0, "hip: modelled time %g",
          (double)milliseconds);
    (void)hipGraphExecDestroy(executable);
    (void)hipFree(device);
}

static void test_errors(void *module)
{
    hipFunction_t f;
    uint32_t *device;
    (void)hipModuleGetFunction(&f, module, chip_is("gfx9") ? "increment" : "increment_11");
    (void)hipMalloc((void **)&device, 4 * (size_t)chip_wave());
    void *arguments[] = {&device, &device};
    (void)hipModuleLaunchKernel(f, 1, 1, 1, (unsigned)chip_wave(), 1, 1, 0, NULL, arguments, NULL);
    check(hipPeekAtLastError() == hipErrorLaunchFailure && strstr(hipGetErrorString(hipGetLastError()), "undefined"),
          "hip: fresh memory is undefined");
    check(hipGetLastError() == hipSuccess, "hip: an error is reported once");
    (void)hipMemset(device, 0, 4 * (size_t)chip_wave());
    check(hipModuleLaunchKernel(f, 1, 1, 1, (unsigned)chip_wave(), 1, 1, 0, NULL, arguments, NULL) == hipSuccess,
          "hip: memory that was set");
    (void)hipFree(device);
    check(hipModuleLaunchKernel(f, 1, 1, 1, (unsigned)chip_wave(), 1, 1, 0, NULL, arguments, NULL) == hipErrorIllegalAddress,
          "hip: use after free");
    check(hipFree(device) == hipErrorInvalidDevicePointer, "hip: free twice");
    check(hipModuleLaunchKernel(f, 1, 1, 1, 2048, 1, 1, 0, NULL, arguments, NULL) != hipSuccess, "hip: too many threads");
    check(hipModuleLaunchKernel(f, 1, 1, 1, 64, 1, 1, 1 << 20, NULL, arguments, NULL) != hipSuccess, "hip: too much LDS");
    (void)hipGetLastError();
}

/* Right where waves have 32 lanes; where they have 64, half of the sum is missing, and the numbers say so. */
static void test_sum_of_32(void *module)
{
    static lanes in[1], out[1];
    char error[1024];
    float sum = 0;
    for (int l = 0; l < chip_wave(); l++) {
        in[0][l] = as_bits((float)(l + 1));
        sum += (float)(l + 1);
    }
    bool ran = run_once(module, &pieces[2], in, out, error, sizeof error);
    check(ran && (as_float(out[0][0]) == sum) == (chip_wave() == 32), "hip: a sum over 32 lanes is %g of %g",
          (double)as_float(out[0][0]), (double)sum);
}

void hip_tests(void)
{
    void *module = assemble(pieces, sizeof pieces / sizeof pieces[0]);
    check(module != NULL, "hip: the pieces could not be assembled");
    if (!module) return;
    test_graph(module);
    test_errors(module);
    test_sum_of_32(module);
}
