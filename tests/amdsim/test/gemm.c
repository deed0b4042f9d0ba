/* A matrix product as the compiler makes it of HIP C++: gemm.hip, checked and (AMDSIM_TEST_GEMM=512) timed. */
#include <hip/hip_runtime_api.h>
#include <stdlib.h>
#include <time.h>

#include "../amdsim.h"
#include "test.h"

#ifndef GEMM_SOURCE
#define GEMM_SOURCE "gemm.hip"
#endif

static void *build(const char *more)
{
    char arguments[256];
    snprintf(arguments, sizeof arguments, "-x hip --offload-arch=%s --cuda-device-only -c -nogpulib -nogpuinc -std=c++17 -O3 %s",
             chip_name(), more);
    return compile(arguments, GEMM_SOURCE);
}

/* Small whole numbers: every sum is exact. */
static int value(int row, int k, int salt) { return (row * 7 + k * 3 + row * k + salt) % 9 - 4; }

static uint16_t *matrix(int rows, int k, int salt)
{
    uint16_t *m = malloc((size_t)rows * (size_t)k * sizeof *m);
    for (int r = 0; m && r < rows; r++)
        for (int s = 0; s < k; s++) m[r * k + s] = (uint16_t)half_code(value(r, s, salt));
    return m;
}

static void *on_device(const void *from, size_t bytes)
{
    void *to;
    (void)hipMalloc(&to, bytes);
    if (from) (void)hipMemcpy(to, from, bytes, hipMemcpyHostToDevice);
    return to;
}

static uint64_t instructions(void)
{
    enum { ROOM = 1024 };
    static amdsim_kernel kernels[ROOM];
    uint64_t sum = 0;
    int count = amdsim_counters(kernels, ROOM);
    for (int k = 0; k < count && k < ROOM; k++)
        for (int u = 0; u < AMDSIM_UNITS; u++) sum += kernels[k].counts.instructions[u];
    return sum;
}

static int wrong(const float *c, int m, int n, int k)
{
    int count = 0;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            int sum = 0;
            for (int s = 0; s < k; s++) sum += value(i, s, 1) * value(j, s, 5);
            count += c[i * n + j] != (float)sum;
        }
    return count;
}

/* A launch is over when it returns. */
static hipError_t multiply(hipModule_t module, int m, int n, int k, float *c, double *seconds)
{
    hipFunction_t f;
    uint16_t *a = matrix(m, k, 1), *b = matrix(n, k, 5);
    void *da = on_device(a, (size_t)(m * k) * 2), *db = on_device(b, (size_t)(n * k) * 2),
         *dc = on_device(NULL, (size_t)(m * n) * 4);
    void *arguments[] = {&da, &db, &dc, &n, &k};
    hipError_t status = hipModuleGetFunction(&f, module, "gemm");
    clock_t begin = clock();
    if (status == hipSuccess)
        status = hipModuleLaunchKernel(f, (unsigned)n / 128, (unsigned)m / 128, 1, 256, 1, 1, 0, NULL, arguments, NULL);
    *seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    (void)hipMemcpy(c, dc, (size_t)(m * n) * 4, hipMemcpyDeviceToHost);
    (void)hipFree(da);
    (void)hipFree(db);
    (void)hipFree(dc);
    free(a);
    free(b);
    return status;
}

/* A kernel with a fault must be caught; by the order of the waves it may be seen in one way or another. */
static void test_planted(const char *flags, const char *const *texts)
{
    static float c[128 * 128];
    double seconds;
    hipModule_t module = build(flags);
    hipError_t status = module ? multiply(module, 128, 128, 96, c, &seconds) : hipErrorNotFound;
    const char *said = hipGetErrorString(status);
    bool named = false;
    for (int k = 0; texts[k]; k++) named = named || strstr(said, texts[k]);
    check(status != hipSuccess && named, "gemm %s gave: %s", flags, said);
    (void)hipGetLastError();
}

static void test_right(const char *flags)
{
    const char *size = getenv("AMDSIM_TEST_GEMM");
    int edge = size ? atoi(size) / 128 * 128 : 128, m = edge, n = size ? edge : 256, k = size ? edge : 96;
    double seconds = 0;
    hipModule_t module = build(flags);
    float *c = malloc((size_t)(m * n) * sizeof *c);
    uint64_t before = instructions();
    hipError_t status = module && c ? multiply(module, m, n, k, c, &seconds) : hipErrorNotFound;
    double million = 1e-6 * (double)(instructions() - before);
    if (size)
        printf("gemm %s %d x %d x %d: %.2f M wave-instructions in %.2f s, %.2f M/s\n", flags, m, n, k, million, seconds,
               million / seconds);
    int count = status == hipSuccess ? wrong(c, m, n, k) : 0;
    check(status == hipSuccess && count == 0, "gemm %s: %d elements are wrong, %s", flags, count, hipGetErrorString(status));
    free(c);
}

void gemm_tests(void)
{
    static const char *const barrier[] = {"race: ", "undefined", "before the s_waitcnt of the load straight", NULL};
    static const char *const wait[] = {"before the s_waitcnt of the load straight", NULL};
    test_right("");
    test_planted("-DPLANTED_NO_BARRIER", barrier);
    if (!chip_is("gfx94")) return;
    test_right("-DDIRECT");
    test_planted("-DDIRECT -DPLANTED_NO_BARRIER", barrier);
    test_planted("-DDIRECT -DPLANTED_NO_WAIT", wait);
}
