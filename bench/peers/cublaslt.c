/* cuBLASLt: matmul and fp8_matmul on CUDA, with the fastest of the algorithms that its heuristic proposes. Built where the CUDA toolkit's
 * headers are (TRINE_HAVE_CUBLASLT); the library itself is opened at run time. */
#include "bench/peers/peer.h"

#if defined TRINE_HAVE_CUBLASLT

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALGORITHMS = 8, TRIALS = 5, WORKSPACE = 32 << 20 };

#define FUNCTIONS(F) \
    F(cublasLtCreate) \
    F(cublasLtDestroy) \
    F(cublasLtMatmulDescCreate) \
    F(cublasLtMatmulDescSetAttribute) \
    F(cublasLtMatmulDescDestroy) F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutDestroy) F(cublasLtMatmulPreferenceCreate) \
        F(cublasLtMatmulPreferenceSetAttribute) F(cublasLtMatmulPreferenceDestroy) F(cublasLtMatmulAlgoGetHeuristic) \
            F(cublasLtMatmul)

static struct {
    void *library;
#define F(name) __typeof__(&name) name;
    FUNCTIONS(F)
#undef F
} lt;

/* Column-major, as the library has it: d' = b' a', so that its first operand is b. */
typedef struct lt_state {
    trine_stream *stream;
    bench_gemm gemm;
    void *workspace;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t first, second, out;
    cublasLtMatmulAlgo_t algorithm;
} lt_state;

static bool open_library(char *why, size_t size)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.13",
                                        "/usr/local/cuda/lib64/libcublasLt.so.12", NULL};
    if (lt.library) return true;
    void *library = bench_peer_open(names, why, size);
    if (!library) return false;
    bool whole = true;
#define F(name) whole = whole && (lt.name = (__typeof__(&name))dlsym(library, #name)) != NULL;
    FUNCTIONS(F)
#undef F
    if (whole)
        lt.library = library;
    else
        snprintf(why, size, "libcublasLt lacks a function");
    return whole;
}

static cudaDataType_t type_of(trine_dtype dtype)
{
    switch (dtype) {
    case TRINE_F32: return CUDA_R_32F;
    case TRINE_F16: return CUDA_R_16F;
    case TRINE_F8_E4M3FN: return CUDA_R_8F_E4M3;
    case TRINE_F8_E5M2: return CUDA_R_8F_E5M2;
    default: return CUDA_R_16BF;
    }
}

static cublasStatus_t create_layout(cublasLtMatrixLayout_t *layout, trine_dtype dtype, bool transposed, int64_t rows,
                                    int64_t columns, int64_t pitch)
{
    return lt.cublasLtMatrixLayoutCreate(layout, type_of(dtype), (uint64_t)(transposed ? columns : rows),
                                         (uint64_t)(transposed ? rows : columns), pitch);
}

static cublasStatus_t describe(lt_state *s, bool tf32)
{
    const bench_gemm *g = &s->gemm;
    const cublasOperation_t first = g->b_along_n ? CUBLAS_OP_N : CUBLAS_OP_T, second = g->a_along_k ? CUBLAS_OP_N : CUBLAS_OP_T;
    cublasStatus_t status = lt.cublasLtCreate(&s->handle);
    if (!status)
        status = lt.cublasLtMatmulDescCreate(&s->operation, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!status) status = lt.cublasLtMatmulDescSetAttribute(s->operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
    if (!status) status = lt.cublasLtMatmulDescSetAttribute(s->operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
    if (!status) status = create_layout(&s->first, g->b_dtype, !g->b_along_n, g->n, g->k, g->b_pitch);
    if (!status) status = create_layout(&s->second, g->a_dtype, !g->a_along_k, g->k, g->m, g->a_pitch);
    if (!status) status = create_layout(&s->out, g->d_dtype, false, g->n, g->m, g->d_pitch);
    return status;
}

/* ---- fp8 ---- */

#if CUBLAS_VER_MAJOR * 1000 + CUBLAS_VER_MINOR >= 12009
/* The mode of a scale, -1 if there is none like it. `rows` and `k`: of its operand. */
static int32_t scale_mode(const trine_product_scale *s, int64_t rows, int64_t k)
{
    const int64_t blocks = (k + 127) / 128;
    if (s->row == 0 && s->k_step == 0) return CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
    if (s->k_step == 0) return s->row == 1 && s->row_block == 1 ? CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F : -1;
    if (s->row_block == 1)
        return s->row == 1 && s->k_step == rows && rows % 4 == 0 ? CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F : -1;
    return s->k_step == 1 && s->row == blocks && blocks % 4 == 0 ? CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F : -1;
}
#endif

/* Both operands lie along K, which is the only way that the library takes them. */
static cublasStatus_t describe_scales(const lt_state *s, bool fast)
{
#if CUBLAS_VER_MAJOR * 1000 + CUBLAS_VER_MINOR >= 12009
    const bench_gemm *g = &s->gemm;
    const int8_t fast_accumulate = fast;
    const int32_t first = scale_mode(&g->b_scale, g->n, g->k), second = scale_mode(&g->a_scale, g->m, g->k);
    if (first < 0 || second < 0 || !g->a_along_k || g->b_along_n) return CUBLAS_STATUS_NOT_SUPPORTED;
    const struct {
        cublasLtMatmulDescAttributes_t attribute;
        const void *value;
        size_t size;
    } all[] = {
        {CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &g->b_scale.data, sizeof g->b_scale.data},
        {CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &g->a_scale.data, sizeof g->a_scale.data},
        {CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &first, sizeof first},
        {CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &second, sizeof second},
        {CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast_accumulate, sizeof fast_accumulate},
    };
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; !status && i < sizeof all / sizeof all[0]; i++)
        status = lt.cublasLtMatmulDescSetAttribute(s->operation, all[i].attribute, all[i].value, all[i].size);
    return status;
#else
    (void)s, (void)fast;
    return CUBLAS_STATUS_NOT_SUPPORTED;
#endif
}

/* ---- Running ---- */

static cublasStatus_t start(const lt_state *s, const cublasLtMatmulAlgo_t *algorithm)
{
    const bench_gemm *g = &s->gemm;
    const float one = 1, zero = 0;
    return lt.cublasLtMatmul(s->handle, s->operation, &one, g->b, s->first, g->a, s->second, &zero, g->d, s->out, g->d, s->out,
                             algorithm, s->workspace, WORKSPACE, (cudaStream_t)trine_stream_native(s->stream));
}

/* Seconds of the fastest of a few trials after one to warm up; negative if the algorithm fails. */
static double time_algorithm(const lt_state *s, const cublasLtMatmulAlgo_t *algorithm, trine_event *begin, trine_event *end)
{
    double best = -1, seconds;
    for (int i = 0; i <= TRIALS; i++) {
        bool ran = trine_event_record(begin, s->stream) == TRINE_OK && start(s, algorithm) == CUBLAS_STATUS_SUCCESS;
        ran = ran && trine_event_record(end, s->stream) == TRINE_OK && trine_event_elapsed(begin, end, &seconds) == TRINE_OK;
        if (!ran) return -1;
        if (i > 0 && (best < 0 || seconds < best)) best = seconds;
    }
    return best;
}

static bool choose(lt_state *s, const cublasLtMatmulHeuristicResult_t *found, int count)
{
    trine_event *begin = NULL, *end = NULL;
    double best = -1;
    if (trine_event_create(s->stream, &begin) == TRINE_OK && trine_event_create(s->stream, &end) == TRINE_OK)
        for (int i = 0; i < count; i++) {
            double seconds = found[i].state == CUBLAS_STATUS_SUCCESS ? time_algorithm(s, &found[i].algo, begin, end) : -1;
            if (seconds < 0 || (best >= 0 && seconds >= best)) continue;
            best = seconds;
            s->algorithm = found[i].algo;
        }
    trine_event_destroy(begin);
    trine_event_destroy(end);
    return best >= 0;
}

static cublasStatus_t propose(const lt_state *s, cublasLtMatmulHeuristicResult_t *found, int *count)
{
    const size_t bytes = WORKSPACE;
    cublasLtMatmulPreference_t wanted = NULL;
    cublasStatus_t status = lt.cublasLtMatmulPreferenceCreate(&wanted);
    if (!status)
        status = lt.cublasLtMatmulPreferenceSetAttribute(wanted, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    if (!status)
        status = lt.cublasLtMatmulAlgoGetHeuristic(s->handle, s->operation, s->first, s->second, s->out, s->out, wanted,
                                                   ALGORITHMS, found, count);
    if (wanted) lt.cublasLtMatmulPreferenceDestroy(wanted);
    return status;
}

static void lt_finish(void *state)
{
    lt_state *s = state;
    trine_stream_synchronize(s->stream);
    if (s->out) lt.cublasLtMatrixLayoutDestroy(s->out);
    if (s->second) lt.cublasLtMatrixLayoutDestroy(s->second);
    if (s->first) lt.cublasLtMatrixLayoutDestroy(s->first);
    if (s->operation) lt.cublasLtMatmulDescDestroy(s->operation);
    if (s->handle) lt.cublasLtDestroy(s->handle);
    trine_free(s->stream, s->workspace);
    free(s);
}

static trine_status lt_ready(lt_state *s, const void *args, char *why, size_t size)
{
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    int count = 0;
    trine_status allocated = trine_malloc(s->stream, WORKSPACE, &s->workspace);
    if (allocated != TRINE_OK) return allocated;
    const bool fp8 = s->gemm.has_scales;
    cublasStatus_t status =
        describe(s, !fp8 && s->gemm.a_dtype == TRINE_F32 && ((const trine_matmul_args *)args)->precision == TRINE_MATMUL_TF32);
    if (!status && fp8) status = describe_scales(s, ((const trine_fp8_matmul_args *)args)->fast_accumulate);
    if (!status) status = propose(s, found, &count);
    if (status) {
        snprintf(why, size, "cuBLASLt status %d", (int)status);
        return status == CUBLAS_STATUS_NOT_SUPPORTED ? TRINE_ERROR_UNSUPPORTED : TRINE_ERROR_DEVICE;
    }
    return choose(s, found, count) ? TRINE_OK : bench_peer_refuse(why, size, "no algorithm of cuBLASLt's takes it");
}

static trine_status lt_prepare(trine_stream *stream, const test_case *c, const void *args, void **state, char *why, size_t size)
{
    bench_gemm g;
    if (!bench_peer_gemm(&g, c, args))
        return bench_peer_refuse(why, size, "needs one product of dense matrices and nothing else");
    if (!open_library(why, size)) return TRINE_ERROR_UNSUPPORTED;
    lt_state *s = calloc(1, sizeof *s);
    if (!s) return TRINE_ERROR_OUT_OF_MEMORY;
    s->stream = stream;
    s->gemm = g;
    trine_status status = lt_ready(s, args, why, size);
    if (status == TRINE_OK)
        *state = s;
    else
        lt_finish(s);
    return status;
}

static trine_status lt_run(void *state, trine_stream *stream)
{
    const lt_state *s = state;
    (void)stream;
    return start(s, &s->algorithm) == CUBLAS_STATUS_SUCCESS ? TRINE_OK : TRINE_ERROR_DEVICE;
}

const bench_peer bench_peer_cublaslt = {"cublasLt", "cuda", lt_prepare, lt_run, lt_finish};

#else

typedef int bench_peer_cublaslt_is_not_built; /* C wants a declaration in every file */

#endif
