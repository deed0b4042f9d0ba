/* Repetitions, timed one by one by the device's events.
 *
 * Every repetition on a GPU follows a flush in the same stream: the caches are cold, and the device is still busy with it while
 * the host enqueues the repetition, so that no time of the host is measured. On the CPU, where that is of no use, data that can't
 * stay in the cache anyway is not flushed. Entries take turns, so that a change of the clock meets all of them. */
#include <stdlib.h>
#include <time.h>

#include "bench/bench.h"

enum { REPETITIONS_LEAST = 10, REPETITIONS_MOST = 4000, HURRY = 3, GRAPH_RUNS = 50 };

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Flush ---- */

trine_status bench_flush_create(bench_flush *flush, trine_stream *stream, const trine_device_props *props)
{
    const size_t least = (size_t)64 << 20, most = (size_t)1 << 30;
    flush->bytes = 2 * (size_t)props->l2_bytes;
    if (flush->bytes < least) flush->bytes = least;
    if (flush->bytes > most) flush->bytes = most;
    return trine_malloc(stream, flush->bytes, &flush->buffer);
}

void bench_flush_destroy(bench_flush *flush, trine_stream *stream)
{
    if (flush->buffer) trine_free(stream, flush->buffer);
    flush->buffer = NULL;
}

/* ---- Statistics ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int count, double q)
{
    double at = q * (count - 1);
    int i = (int)at;
    return i + 1 < count ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[count - 1];
}

static void summarise(bench_times *times, double *samples)
{
    const int count = times->count;
    if (count == 0) return;
    qsort(samples, (size_t)count, sizeof *samples, by_value);
    times->min = samples[0];
    times->median = quantile(samples, count, 0.5);
    times->p10 = quantile(samples, count, 0.1);
    times->p90 = quantile(samples, count, 0.9);
}

/* ---- Repetitions ---- */

typedef struct clock_pair {
    trine_event *begin, *end;
} clock_pair;

static trine_status clock_create(clock_pair *clock, trine_stream *stream)
{
    trine_status status = trine_event_create(stream, &clock->begin);
    return status == TRINE_OK ? trine_event_create(stream, &clock->end) : status;
}

static void clock_destroy(clock_pair *clock)
{
    trine_event_destroy(clock->begin);
    trine_event_destroy(clock->end);
}

static trine_status repeat_once(const bench_entry *e, const clock_pair *clock, const bench_flush *flush, double *seconds)
{
    trine_status status = flush ? trine_memset(e->stream, flush->buffer, 0x33, flush->bytes) : TRINE_OK;
    if (status == TRINE_OK) status = trine_event_record(clock->begin, e->stream);
    if (status == TRINE_OK) status = e->run(e->state, e->stream);
    if (status == TRINE_OK) status = trine_event_record(clock->end, e->stream);
    return status == TRINE_OK ? trine_event_elapsed(clock->begin, clock->end, seconds) : status;
}

/* A round: every entry whose turn it is once. samples NULL: a warm-up. */
static void run_round(bench_entry *entries, const clock_pair *clocks, int count, const bench_flush *flush, double **samples,
                      int round)
{
    for (int i = 0; i < count; i++) {
        double seconds = 0;
        if (entries[i].status != TRINE_OK || (entries[i].every && round % entries[i].every != 0)) continue;
        entries[i].status = repeat_once(&entries[i], &clocks[i], flush, &seconds);
        if (samples && entries[i].status == TRINE_OK) samples[i][entries[i].times.count++] = seconds;
    }
}

/* Rounds until the time is up; but enough of them, unless they take very long. */
static void run_rounds(bench_entry *entries, const clock_pair *clocks, int count, const bench_flush *flush, double **samples,
                       double seconds)
{
    double begin = bench_now();
    int round = 0;
    while (round < REPETITIONS_MOST) {
        double spent = bench_now() - begin;
        if (spent >= seconds && (round >= REPETITIONS_LEAST || (round >= HURRY && spent >= 10 * seconds))) break;
        run_round(entries, clocks, count, flush, samples, round++);
    }
}

static void warm_up(bench_entry *entries, const clock_pair *clocks, int count, const bench_flush *flush, double seconds)
{
    double begin = bench_now();
    do run_round(entries, clocks, count, flush, NULL, 0);
    while (bench_now() - begin < seconds);
}

void bench_time(bench_entry *entries, int count, const bench_flush *flush, double seconds)
{
    clock_pair clocks[BENCH_TIMED] = {{NULL, NULL}};
    double *samples[BENCH_TIMED] = {NULL};
    double share = 0; /* rounds' repetitions */
    for (int i = 0; i < count; i++) {
        share += entries[i].every ? 1.0 / entries[i].every : 1;
        entries[i].times.count = 0;
        samples[i] = calloc(REPETITIONS_MOST, sizeof **samples);
        trine_status status = clock_create(&clocks[i], entries[i].stream);
        if (entries[i].status == TRINE_OK) entries[i].status = samples[i] ? status : TRINE_ERROR_OUT_OF_MEMORY;
    }
    warm_up(entries, clocks, count, flush, 0.1 * seconds * share);
    run_rounds(entries, clocks, count, flush, samples, seconds * share);
    for (int i = 0; i < count; i++) {
        if (entries[i].status == TRINE_OK) summarise(&entries[i].times, samples[i]);
        clock_destroy(&clocks[i]);
        free(samples[i]);
    }
}

/* ---- Graphs ---- */

static trine_status launch_graph(void *graph, trine_stream *stream)
{
    (void)stream;
    return trine_graph_launch(graph);
}

void bench_time_graph(bench_entry *entry)
{
    trine_graph *graph = NULL;
    if (entry->status != TRINE_OK || trine_graph_begin(entry->stream) != TRINE_OK) return;
    trine_status status = TRINE_OK;
    for (int i = 0; i < GRAPH_RUNS && status == TRINE_OK; i++) status = entry->run(entry->state, entry->stream);
    trine_status ended = trine_graph_end(entry->stream, &graph);
    bench_entry replay = {.name = "graph", .stream = entry->stream, .run = launch_graph, .state = graph};
    if (status == TRINE_OK && ended == TRINE_OK) {
        bench_time(&replay, 1, NULL, 0.01);
        if (replay.status == TRINE_OK) entry->times.graph = replay.times.median / GRAPH_RUNS;
    }
    trine_graph_destroy(graph);
}
