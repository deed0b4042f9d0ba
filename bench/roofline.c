/* What a device can do at best, measured in the same run as everything else, and what a call costs the host. */
#include "bench/bench.h"

/* ---- Memory ----
 *
 * Buffers have to be much larger than the last-level cache, which processors report up to 384 MiB and more of: with one as large
 * as that, a part of every copy would come from it, and the ceiling would be none of memory. */

typedef struct copy_buffers {
    trine_copy_args args;
    size_t bytes; /* of each of the two */
} copy_buffers;

static trine_status run_copy(void *state, trine_stream *stream)
{
    const copy_buffers *b = state;
    return trine_copy(stream, &b->args);
}

static trine_status run_memcpy(void *state, trine_stream *stream)
{
    const copy_buffers *b = state;
    return trine_memcpy(stream, b->args.y.data, b->args.x.data, b->bytes, TRINE_DEVICE_TO_DEVICE);
}

/* 1 GiB each, or twice the cache if that is more. Half as many while they would take more than half of what memory is left:
 * beyond that a host rather ends the process than refuse. */
static size_t wanted_bytes(const target *t)
{
    size_t bytes = (size_t)1 << 30, cached = 2 * (size_t)t->props.l2_bytes;
    if (bytes < cached) bytes = cached;
    while (bytes > (size_t)1 << 20 && 4 * (double)bytes > bench_memory_free(t)) bytes /= 2;
    return bytes / 4096 * 4096;
}

/* Two buffers of `bytes`, or of half as many until there is memory for them. */
static trine_status copy_create(copy_buffers *b, trine_stream *stream, size_t bytes)
{
    void *x = NULL, *y = NULL;
    trine_status status = TRINE_ERROR_OUT_OF_MEMORY;
    for (; bytes >= (size_t)1 << 20 && status == TRINE_ERROR_OUT_OF_MEMORY; bytes /= 2) {
        status = trine_malloc(stream, bytes, &x);
        if (status != TRINE_OK) continue;
        status = trine_malloc(stream, bytes, &y);
        if (status != TRINE_OK)
            trine_free(stream, x);
        else
            b->bytes = bytes;
    }
    if (status != TRINE_OK) return status;
    b->args.x = trine_tensor_1d(x, TRINE_F32, (int64_t)(b->bytes / 4));
    b->args.y = trine_tensor_1d(y, TRINE_F32, (int64_t)(b->bytes / 4));
    return trine_memset(stream, x, 0x3c, b->bytes); /* pages that were never written would all be the same one */
}

/* The ceiling of what takes `amount` a repetition: the entry with the best median, the best repetition of any. */
static bench_ceiling ceiling_of(const bench_entry *entries, int count, double amount)
{
    bench_ceiling c = {0, 0};
    for (int i = 0; i < count; i++) {
        const bench_times *t = &entries[i].times;
        if (entries[i].status != TRINE_OK) continue;
        if (amount / t->median > c.median) c.median = amount / t->median;
        if (amount / t->min > c.best) c.best = amount / t->min;
    }
    return c;
}

static trine_status measure_copy(bench_ceiling *ceiling, copy_buffers *b, trine_stream *stream, double seconds)
{
    bench_entry entries[] = {{.name = "trine_copy", .stream = stream, .run = run_copy, .state = b},
                             {.name = "memcpy", .stream = stream, .run = run_memcpy, .state = b}};
    bench_time(entries, 2, NULL, seconds);
    *ceiling = ceiling_of(entries, 2, 2 * (double)b->bytes);
    return entries[1].status;
}

/* ---- Reading: reductions write nothing to speak of, and memory that is only read has another rate than a copy's ----
 *
 * On a GPU the ceiling is what our own reductions reach, since no call of the vendor's reads without writing: a lower bound,
 * which the op that sets it meets with 100 percent. On the CPU a plain loop, which owes nothing to the library, runs against
 * them. */

static trine_status run_sum(void *reduction, trine_stream *stream) { return trine_sum(stream, reduction); }

static trine_status run_amax(void *reduction, trine_stream *stream) { return trine_amax(stream, reduction); }

/* Four lines at a time; the processor is asked for each some time before. */
static trine_status run_loop(void *reduction, trine_stream *stream)
{
    typedef uint64_t line __attribute__((vector_size(64)));
    enum { LINES = 4, AHEAD = 8192 };
    trine_reduce_args *a = reduction;
    const line *x = a->x.data;
    const int64_t blocks = a->x.shape[0] * 4 / (int64_t)(LINES * sizeof *x);
    uint64_t sum = 0;
    (void)stream;
#ifdef _OPENMP
#pragma omp parallel reduction(+ : sum)
#endif
    {
        line own[LINES] = {{0}};
#ifdef _OPENMP
#pragma omp for schedule(static)
#endif
        for (int64_t i = 0; i < blocks; i++)
            for (int k = 0; k < LINES; k++) {
                __builtin_prefetch((const char *)(x + LINES * i + k) + AHEAD);
                own[k] += x[LINES * i + k];
            }
        own[0] += own[1] + own[2] + own[3];
        for (size_t k = 0; k < sizeof *x / sizeof sum; k++) sum += own[0][k];
    }
    float result = (float)sum;
    memcpy(a->y.data, &result, sizeof result); /* or it would not be computed */
    return TRINE_OK;
}

static bench_ceiling measure_read(copy_buffers *b, const target *t, double seconds)
{
    trine_reduce_args a = {b->args.x, trine_tensor_make(b->args.y.data, TRINE_F32, 0, NULL), TRINE_AXIS_ALL};
    bench_entry entries[] = {{.name = "sum", .stream = t->stream, .run = run_sum, .state = &a},
                             {.name = "amax", .stream = t->stream, .run = run_amax, .state = &a},
                             {.name = "loop", .stream = t->stream, .run = run_loop, .state = &a}};
    const int count = bench_on_cpu(t) ? 3 : 2;
    bench_time(entries, count, NULL, seconds);
    return ceiling_of(entries, count, (double)b->bytes);
}

static trine_status measure_memory(bench_roofline *roof, const target *t, double seconds)
{
    copy_buffers b = {.bytes = 0};
    trine_status status = copy_create(&b, t->stream, wanted_bytes(t));
    if (status == TRINE_OK) status = measure_copy(&roof->copy, &b, t->stream, seconds);
    if (status == TRINE_OK) roof->read = measure_read(&b, t, seconds);
    trine_free(t->stream, b.args.x.data);
    trine_free(t->stream, b.args.y.data);
    return status;
}

/* ---- Flops ---- */

static trine_status run_fma(void *flops, trine_stream *stream) { return trine_probe(stream, TRINE_PROBE_FMA_F32, flops); }

trine_status bench_roofline_measure(bench_roofline *roof, const target *t, double seconds)
{
    double flops = 0;
    bench_entry probe = {.name = "fma", .stream = t->stream, .run = run_fma, .state = &flops};
    *roof = (bench_roofline){.fma = {0, 0}};
    bench_time(&probe, 1, NULL, seconds);
    roof->fma = ceiling_of(&probe, 1, flops);
    return measure_memory(roof, t, seconds);
}

/* The outputs are at most a hundredth of what the case moves. */
static bool only_reads(const test_case *c)
{
    double written = 0;
    for (int32_t k = 0; k < c->tensor_count; k++)
        if (c->tensor[k].output) written += (double)c->tensor[k].numel * trine_dtype_bits(c->tensor[k].dtype) / 8;
    return 100 * written <= c->bytes;
}

/* ---- The ceilings of a case, timed in turn with it ---- */

enum { PACE_EVERY = 3 };

static trine_status run_pace_copy(void *args, trine_stream *stream) { return trine_copy(stream, args); }

trine_status bench_pace_create(bench_pace *p, const target *t)
{
    copy_buffers b = {.bytes = 0};
    trine_status status = TRINE_OK;
    *p = (bench_pace){.x = NULL};
    if (bench_on_cpu(t)) status = copy_create(&b, t->stream, wanted_bytes(t));
    if (status == TRINE_OK) *p = (bench_pace){.x = b.args.x.data, .y = b.args.y.data, .bytes = b.bytes};
    return status;
}

void bench_pace_destroy(bench_pace *p, trine_stream *stream)
{
    if (p->x) trine_free(stream, p->x);
    if (p->y) trine_free(stream, p->y);
    *p = (bench_pace){.x = NULL};
}

int bench_pace_add(bench_pace *p, const bench_roofline *roof, const target *t, const test_case *c, bench_entry *entries)
{
    const double most = (double)p->bytes;
    const int64_t copied = (int64_t)(c->bytes / 2 < most ? c->bytes / 2 : most) / 4,
                  loaded = (int64_t)(c->bytes < most ? c->bytes : most) / 4;
    if (!p->x || copied < 2 || strcmp(bench_stand(roof, c, 1).bound, "memory") != 0) return 0;
    p->copy = (trine_copy_args){.x = trine_tensor_1d(p->x, TRINE_F32, copied), .y = trine_tensor_1d(p->y, TRINE_F32, copied)};
    p->read = (trine_reduce_args){trine_tensor_1d(p->x, TRINE_F32, loaded), trine_tensor_make(p->y, TRINE_F32, 0, NULL),
                                  TRINE_AXIS_ALL};
    p->copied = 8 * (double)copied;
    p->loaded = 4 * (double)loaded;
    entries[0] = (bench_entry){.name = "copy", .stream = t->stream, .run = run_pace_copy, .state = &p->copy, .every = PACE_EVERY};
    if (!only_reads(c)) return 1;
    entries[1] = (bench_entry){.name = "read", .stream = t->stream, .run = run_loop, .state = &p->read, .every = PACE_EVERY};
    return 2;
}

bench_roofline bench_pace_roofline(const bench_pace *p, const bench_roofline *roof, const bench_entry *entries, int count)
{
    bench_roofline own = *roof;
    if (count > 0) own.copy = ceiling_of(entries, 1, p->copied);
    if (count > 1) own.read = ceiling_of(entries + 1, 1, p->loaded);
    return own;
}

bench_standing bench_stand(const bench_roofline *roof, const test_case *c, double seconds)
{
    const double copy = roof->copy.median, read = roof->read.median, fma = roof->fma.median;
    double memory = copy > 0 ? c->bytes / copy : 0, compute = fma > 0 ? c->flops / fma : 0;
    if (memory >= compute)
        return (bench_standing){"memory", 100 * memory / seconds,
                                read > 0 && only_reads(c) ? 100 * c->bytes / read / seconds : 0};
    /* other types, and whatever is faster than the probe, run on units that the probe does not measure */
    bool measured = bench_dtype(c) == TRINE_F32 && compute <= 1.05 * seconds;
    return (bench_standing){"compute", measured ? 100 * compute / seconds : 0, 0};
}

/* ---- Overhead ---- */

typedef struct tiny_add {
    trine_stream *stream;
    trine_add_args args;
} tiny_add;

static trine_status call_empty(tiny_add *a) { return trine_probe(a->stream, TRINE_PROBE_EMPTY, NULL); }

static trine_status call_add(tiny_add *a) { return trine_add(a->stream, &a->args); }

static trine_status call_query(tiny_add *a)
{
    trine_query_result answer;
    return trine_query(a->stream, TRINE_OP_add, &a->args, &answer);
}

/* Seconds of the host a call, the best of many batches. A batch must fit the queue of a device: a full one makes the host wait.
 */
static trine_status time_calls(trine_status (*call)(tiny_add *), tiny_add *a, double seconds, double *each)
{
    enum { BATCH = 256 };
    trine_status status = call(a);
    double begin = bench_now();
    *each = 0;
    while (status == TRINE_OK && bench_now() - begin < seconds) {
        double start = bench_now();
        for (int i = 0; i < BATCH && status == TRINE_OK; i++) status = call(a);
        double took = (bench_now() - start) / BATCH;
        if (*each == 0 || took < *each) *each = took;
        if (status == TRINE_OK) status = trine_stream_synchronize(a->stream);
    }
    return status;
}

trine_status bench_overhead_measure(bench_overhead *o, const target *t, double seconds)
{
    tiny_add a = {.stream = t->stream};
    void *memory = NULL;
    *o = (bench_overhead){0};
    trine_status status = trine_malloc(t->stream, 12, &memory);
    if (status != TRINE_OK) return status;
    status = trine_memset(t->stream, memory, 0, 12);
    a.args.a = trine_tensor_1d(memory, TRINE_F32, 1);
    a.args.b = trine_tensor_1d((float *)memory + 1, TRINE_F32, 1);
    a.args.y = trine_tensor_1d((float *)memory + 2, TRINE_F32, 1);
    if (status == TRINE_OK) status = time_calls(call_empty, &a, seconds, &o->empty);
    if (status == TRINE_OK) status = time_calls(call_add, &a, seconds, &o->op);
    if (status == TRINE_OK) status = time_calls(call_query, &a, seconds, &o->query);
    trine_free(t->stream, memory);
    return status;
}
