/* What a device can do at best, measured in the same run as everything else, and what a call costs the host. The ceilings are of
 * the best repetition: a disturbed one says nothing of what is possible. */
#include "bench/bench.h"

/* ---- Copy ---- */

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

/* Two buffers of `bytes`, or of half as many until there is memory for them. They have to be larger than the caches. */
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

static trine_status measure_copy(double *rate, const target *t, double seconds)
{
    copy_buffers b = {.bytes = 0};
    bool cpu = bench_on_cpu(t);
    size_t wanted = (size_t)(cpu ? 256 : 1024) << 20, cached = (size_t)t->props.l2_bytes;
    trine_status status = copy_create(&b, t->stream, cpu && cached > wanted ? cached : wanted);
    bench_entry entries[] = {{.name = "trine_copy", .stream = t->stream, .run = run_copy, .state = &b, .status = status},
                             {.name = "memcpy", .stream = t->stream, .run = run_memcpy, .state = &b, .status = status}};
    bench_time(entries, 2, NULL, seconds);
    *rate = 0;
    for (int i = 0; i < 2; i++) {
        double reached = entries[i].status == TRINE_OK ? 2 * (double)b.bytes / entries[i].times.min : 0;
        if (reached > *rate) *rate = reached;
    }
    trine_free(t->stream, b.args.x.data);
    trine_free(t->stream, b.args.y.data);
    return status != TRINE_OK ? status : entries[1].status;
}

/* ---- Flops ---- */

static trine_status run_fma(void *flops, trine_stream *stream) { return trine_probe(stream, TRINE_PROBE_FMA_F32, flops); }

trine_status bench_roofline_measure(bench_roofline *roof, const target *t, double seconds)
{
    double flops = 0;
    bench_entry probe = {.name = "fma", .stream = t->stream, .run = run_fma, .state = &flops};
    *roof = (bench_roofline){0};
    bench_time(&probe, 1, NULL, seconds);
    if (probe.status == TRINE_OK) roof->fma = flops / probe.times.min;
    return measure_copy(&roof->copy, t, seconds);
}

bench_standing bench_stand(const bench_roofline *roof, const test_case *c, double seconds)
{
    double memory = roof->copy > 0 ? c->bytes / roof->copy : 0, compute = roof->fma > 0 ? c->flops / roof->fma : 0;
    if (memory >= compute) return (bench_standing){"memory", 100 * memory / seconds};
    /* other types, and whatever is faster than the probe, run on units that the probe does not measure */
    bool measured = bench_dtype(c) == TRINE_F32 && compute <= 1.05 * seconds;
    return (bench_standing){"compute", measured ? 100 * compute / seconds : 0};
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
