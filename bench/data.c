/* A case in device memory. Large inputs repeat a block of elements (case_prepare): it is uploaded once and copied there. */
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "tests/driver/place.h"
#include "tests/driver/verdict.h"

enum { POISON = 0xff, RUNS = 64 };

static size_t size_of(const case_tensor *t) { return (size_t)trine_dtype_bits(t->dtype) / 8; }

/* ---- Memory ---- */

static size_t memory_of(const case_tensor *t, trine_tensor *view, int64_t *begin)
{
    *view = place_view(t, begin);
    return (size_t)trine_tensor_extent_bytes(view) + (size_t)*begin * size_of(t);
}

double bench_memory_free(const target *t)
{
    double bytes = 0.9 * (double)t->props.memory_bytes, kib;
    char line[128];
    FILE *file = bench_on_cpu(t) ? fopen("/proc/meminfo", "r") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lf kB", &kib) == 1 && 0.9 * 1024 * kib < bytes) bytes = 0.9 * 1024 * kib;
    if (file) fclose(file);
    return bytes;
}

double bench_data_bytes(const test_case *c)
{
    double bytes = 0;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        trine_tensor view;
        int64_t begin;
        if (c->tensor[k].inplace_of < 0) bytes += (double)memory_of(&c->tensor[k], &view, &begin);
    }
    return bytes;
}

static trine_status create_tensor(bench_data *d, int32_t k)
{
    const case_tensor *t = &d->c->tensor[k];
    if (t->inplace_of >= 0) {
        d->view[k] = d->view[t->inplace_of];
        d->begin[k] = d->begin[t->inplace_of];
        return TRINE_OK;
    }
    size_t bytes = memory_of(t, &d->view[k], &d->begin[k]);
    trine_status status = trine_malloc(d->stream, bytes, &d->memory[k]);
    if (d->memory[k]) d->view[k].data = (unsigned char *)d->memory[k] + (size_t)d->begin[k] * size_of(t);
    return status;
}

trine_status bench_data_create(bench_data *d, trine_stream *stream, const test_case *c)
{
    memset(d, 0, sizeof *d);
    d->stream = stream;
    d->c = c;
    d->args = place_shape_args(c, NULL);
    for (int32_t k = 0; k < c->tensor_count; k++) {
        trine_status status = create_tensor(d, k);
        if (status != TRINE_OK) return status;
        *place_tensor_of(c, d->args, k) = d->view[k];
    }
    return TRINE_OK;
}

void bench_data_destroy(bench_data *d)
{
    for (int32_t k = 0; k < CASE_TENSORS; k++)
        if (d->memory[k]) trine_free(d->stream, d->memory[k]);
    free(d->args);
}

/* ---- Writing ---- */

/* The block of `period` elements, then copies of what is there already: the written part stays a multiple of the period. */
static trine_status write_dense(const bench_data *d, int32_t k)
{
    const case_tensor *t = &d->c->tensor[k];
    unsigned char *to = d->view[k].data;
    size_t bytes = (size_t)t->numel * size_of(t), done = (size_t)t->period * size_of(t);
    trine_status status = trine_memcpy(d->stream, to, t->data, done, TRINE_HOST_TO_DEVICE);
    while (done < bytes && status == TRINE_OK) {
        size_t part = done < bytes - done ? done : bytes - done;
        status = trine_memcpy(d->stream, to + done, to, part, TRINE_DEVICE_TO_DEVICE);
        done += part;
    }
    return status;
}

/* Any strides, through an image on the host. */
static trine_status write_strided(const bench_data *d, int32_t k)
{
    const case_tensor *t = &d->c->tensor[k];
    const trine_tensor *v = &d->view[k];
    size_t bytes = (size_t)trine_tensor_extent_bytes(v), size = size_of(t);
    int64_t index[TRINE_MAX_DIMS] = {0}, at = 0;
    unsigned char *image = calloc(1, bytes ? bytes : 1);
    if (!image) return TRINE_ERROR_OUT_OF_MEMORY;
    for (int64_t i = 0; i < t->numel; i++) {
        memcpy(image + (size_t)at * size, case_element(t, i), size);
        for (int32_t axis = t->ndim - 1; axis >= 0; axis--) {
            at += v->stride[axis];
            if (++index[axis] < t->shape[axis]) break;
            at -= index[axis] * v->stride[axis];
            index[axis] = 0;
        }
    }
    trine_status status = trine_memcpy(d->stream, v->data, image, bytes, TRINE_HOST_TO_DEVICE);
    if (status == TRINE_OK) status = trine_stream_synchronize(d->stream);
    free(image);
    return status;
}

static trine_status write_tensor(const bench_data *d, int32_t k)
{
    const case_tensor *t = &d->c->tensor[k];
    if (!d->memory[k]) return TRINE_OK;
    if (t->output && !t->updated)
        return trine_memset(d->stream, d->view[k].data, POISON, (size_t)trine_tensor_extent_bytes(&d->view[k]));
    return trine_tensor_is_contiguous(&d->view[k]) ? write_dense(d, k) : write_strided(d, k);
}

trine_status bench_data_reset(const bench_data *d)
{
    trine_status status = TRINE_OK;
    for (int32_t k = 0; k < d->c->tensor_count && status == TRINE_OK; k++) status = write_tensor(d, k);
    return status == TRINE_OK ? trine_stream_synchronize(d->stream) : status;
}

/* ---- Checking ---- */

/* Elements of units [begin, end) of tensor k, on the host; NULL on failure. */
static void *fetch(const bench_data *d, int32_t k, int64_t begin, int64_t end)
{
    const case_tensor *t = &d->c->tensor[k];
    size_t unit = (size_t)(t->numel / d->c->units) * size_of(t), bytes = (size_t)(end - begin) * unit;
    unsigned char *host = malloc(bytes ? bytes : 1);
    if (!host) return NULL;
    const unsigned char *from = (const unsigned char *)d->view[k].data + (size_t)begin * unit;
    trine_status status = trine_memcpy(d->stream, host, from, bytes, TRINE_DEVICE_TO_HOST);
    if (status == TRINE_OK) status = trine_stream_synchronize(d->stream);
    if (status == TRINE_OK) return host;
    free(host);
    return NULL;
}

static bool check_run(const bench_data *d, int64_t begin, int64_t end, verdict *v)
{
    void *out[CASE_OUT_MAX] = {NULL};
    int n = 0;
    bool fetched = true;
    for (int32_t k = 0; k < d->c->tensor_count && fetched; k++) {
        if (!d->c->tensor[k].output) continue;
        out[n] = fetch(d, k, begin, end);
        fetched = out[n++] != NULL;
    }
    if (fetched) verdict_units(v, d->c, begin, end, (const void *const *)out);
    for (int k = 0; k < n; k++) free(out[k]);
    return fetched;
}

/* Where run i of `runs` begins: one in each stretch of units / runs, so that no large part of an output goes unseen; the first
 * and the last unit are always in one. */
static int64_t run_begin(const test_case *c, int64_t i, int64_t runs, int64_t length)
{
    int64_t stretch = c->units / runs;
    if (i == runs - 1) return c->units - length;
    if (i == 0 || stretch <= length) return i * stretch;
    return i * stretch + (int64_t)(case_hash(c->seed, (uint64_t)i) % (uint64_t)(stretch - length + 1));
}

static bool outputs_dense(const bench_data *d, char text[BENCH_TEXT])
{
    for (int32_t k = 0; k < d->c->tensor_count; k++) {
        if (!d->c->tensor[k].output || trine_tensor_is_contiguous(&d->view[k])) continue;
        snprintf(text, BENCH_TEXT, "an output of a timed case must be contiguous, or it can't be checked");
        return false;
    }
    return true;
}

bool bench_data_check(const bench_data *d, double budget, double *worst, char text[BENCH_TEXT])
{
    const test_case *c = d->c;
    *worst = 0;
    text[0] = '\0';
    if (c->units == 0) return true;
    if (!outputs_dense(d, text)) return false;
    double cost = c->work / (double)c->units, wanted = budget / (cost > 1 ? cost : 1);
    int64_t least = c->units < 2 ? c->units : 2;
    int64_t units = wanted >= (double)c->units ? c->units : (int64_t)wanted > least ? (int64_t)wanted : least;
    int64_t runs = units == c->units ? 1 : units < RUNS ? units : RUNS;
    for (int64_t i = 0; i < runs; i++) {
        verdict v;
        int64_t begin = run_begin(c, i, runs, units / runs);
        if (!check_run(d, begin, begin + units / runs, &v)) {
            snprintf(text, BENCH_TEXT, "results can't be brought back: %s", trine_error_text());
            return false;
        }
        if (v.worst > *worst) *worst = v.worst;
        if (v.passed) continue;
        snprintf(text, BENCH_TEXT, "%s", v.text);
        return false;
    }
    return true;
}
