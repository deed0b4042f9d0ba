/* What the files of the bench share. A result is made in four steps: data (a case in device memory, checked), timer (repetitions
 * of several entries in turn), roofline (what the device can do at best), report (table and JSON lines); contest
 * puts them together. */
#ifndef TRINE_BENCH_BENCH_H
#define TRINE_BENCH_BENCH_H

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "tests/cases/cases.h"
#include "tests/driver/targets.h"

enum {
    BENCH_TEXT = 512,
    BENCH_ENTRIES = 24,
    BENCH_PACES = 2,
    BENCH_BARE = 2,
    BENCH_TIMED = BENCH_ENTRIES + BENCH_PACES + BENCH_BARE
};

static inline bool bench_on_cpu(const target *t) { return strcmp(t->props.backend, "cpu") == 0; }

/* ---- data.c: a case's tensors in device memory ---- */

typedef struct bench_data {
    trine_stream *stream;
    const test_case *c;
    void *memory[CASE_TENSORS]; /* NULL where a tensor uses another one's */
    trine_tensor view[CASE_TENSORS];
    int64_t begin[CASE_TENSORS]; /* elements before element 0 */
    void *args;                  /* the op's, and behind them the tensors of its lists */
} bench_data;

/* Memory that the target has left, as far as it is known: on a GPU, what is not another process's. */
double bench_memory_free(const target *t);
/* Bytes of device memory that the case's tensors take. */
double bench_data_bytes(const test_case *c);
/* Allocates and fills args; the case must be prepared. Destroy it in any case. */
trine_status bench_data_create(bench_data *d, trine_stream *stream, const test_case *c);
/* Writes the inputs, poisons the outputs, waits. */
trine_status bench_data_reset(const bench_data *d);
/* Compares units of the outputs (the first, the last and runs of others, together about `budget` element operations) with the
 * oracle. False: wrong, or a copy failed; text says what. worst: the largest error as a part of what is allowed. */
bool bench_data_check(const bench_data *d, double budget, double *worst, char text[BENCH_TEXT]);
void bench_data_destroy(bench_data *d);

/* ---- timer.c ---- */

typedef struct bench_times {
    double median, min, p10, p90; /* seconds */
    double graph;                 /* seconds a run inside a replayed graph; 0 where not measured */
    int count;
} bench_times;

typedef trine_status (*bench_run)(void *state, trine_stream *stream);

/* What the simulated AMD GPU of tests/amdsim counts of a run; none of it was measured. */

enum { MODELLED_PARTS = 5 };
typedef struct bench_modelled {
    char kernel[256]; /* the one that took longest; its own numbers up to sgpr_spills */
    uint32_t vgprs, agprs, sgprs, lds_bytes, scratch_bytes, waves_per_simd, vgpr_spills, sgpr_spills;
    int kernels; /* sums over all that ran from here on */
    uint64_t launches;
    double seconds, instructions; /* instructions: of waves */
    double bytes_read, bytes_written, scratch_traffic, lds_traffic, lds_conflict_cycles;
    double cycles[MODELLED_PARTS]; /* that parts of a compute unit are busy: vector, matrix, LDS, memory, scalar */
    double memory_cycles;          /* that the op's own bytes take at the card's memory bandwidth */
} bench_modelled;

/* Something that is timed. */
typedef struct bench_entry {
    const char *name;
    trine_stream *stream;
    bench_run run;
    void *state;
    int every; /* timed in every so manieth round; 0: in each */
    bench_times times;
    bench_modelled modelled; /* instead of times, on the simulator */
    double worst;            /* error of its check, as a part of what is allowed */
    trine_status status;     /* not TRINE_OK: left out, or failed while it was timed */
} bench_entry;

/* A buffer that is written before every repetition, so that the caches hold nothing of the case. */
typedef struct bench_flush {
    void *buffer;
    size_t bytes;
} bench_flush;

trine_status bench_flush_create(bench_flush *flush, trine_stream *stream, const trine_device_props *props);
void bench_flush_destroy(bench_flush *flush, trine_stream *stream);

/* Times the entries whose status is TRINE_OK, at most BENCH_TIMED, in turn: repetition by repetition, each after a flush (flush may
 * be NULL), for about `seconds` an entry that is timed in each round. An entry that fails gets its status and is left out from then on. */
void bench_time(bench_entry *entries, int count, const bench_flush *flush, double seconds);
/* Fills times.graph: runs recorded in one graph and replayed, caches warm, no launch between them. */
void bench_time_graph(bench_entry *entry);
/* Seconds on the host's clock. */
double bench_now(void);

/* ---- roofline.c ---- */

/* A ceiling, a second. What ops reach is told by their medians, so that is what they are compared with; the best repetition is
 * kept to show how far apart the two are. 0: not measured. */
typedef struct bench_ceiling {
    double median, best;
} bench_ceiling;

typedef struct bench_roofline {
    bench_ceiling copy; /* bytes, read plus written: the better of trine_copy and a device-to-device memcpy */
    bench_ceiling read; /* bytes that are only read: the best of sum, amax and, on the CPU, a plain loop */
    bench_ceiling fma;  /* f32 flops */
} bench_roofline;

/* Measures it. The errors are those of memory and of trine_memcpy. */
trine_status bench_roofline_measure(bench_roofline *roof, const target *t, double seconds);

/* On a CPU the memory's rate is that of the minute: others share the bus. So a case that memory bounds is timed in turn with a
 * copy that moves as many bytes and, if it writes next to nothing, with a loop that reads as many, a third as often: its own
 * ceilings. */
typedef struct bench_pace {
    void *x, *y;  /* NULL on a GPU: there the roofline's rates hold */
    size_t bytes; /* of each of the two */
    trine_copy_args copy;
    trine_reduce_args read;
    double copied, loaded; /* bytes that they move */
} bench_pace;

trine_status bench_pace_create(bench_pace *p, const target *t);
void bench_pace_destroy(bench_pace *p, trine_stream *stream);
/* Writes the entries for the case and returns how many: none where its memory bandwidth says nothing. */
int bench_pace_add(bench_pace *p, const bench_roofline *roof, const target *t, const test_case *c, bench_entry *entries);
/* The roofline with the ceilings that the `count` entries give once they were timed. */
bench_roofline bench_pace_roofline(const bench_pace *p, const bench_roofline *roof, const bench_entry *entries, int count);

/* How a case stands to the roofline. percent is 0 where the roofline says nothing: a case that is bound by flops which the f32
 * probe does not measure (matrix units). */
typedef struct bench_standing {
    const char *bound; /* "memory" or "compute" */
    double percent;    /* of the copy's rate where memory is the bound */
    double read;       /* percent of the read's rate, of a case that writes next to nothing; 0 for others */
} bench_standing;
bench_standing bench_stand(const bench_roofline *roof, const test_case *c, double seconds);

/* What a call costs the host: seconds a call of an empty kernel (its bare launch), of the smallest op, of its query. */
typedef struct bench_overhead {
    double empty, op, query;
} bench_overhead;
trine_status bench_overhead_measure(bench_overhead *o, const target *t, double seconds);

/* ---- modelled.c: instead of the timer and the roofline, where the device is the simulator ---- */

/* Whether the target is the simulator. */
bool bench_is_modelled(const target *t);
/* One run of the entry, counted into e->modelled; e->status. */
void bench_model(bench_entry *e, const target *t, const test_case *c);
/* For the JSON file and the table. */
cJSON *bench_modelled_object(const bench_modelled *m);
void bench_modelled_heading(void);
void bench_modelled_row(const test_case *c, const bench_entry *e);

/* ---- report.c ---- */

typedef struct bench_report {
    FILE *json; /* NULL: none */
    bool peers; /* the table has columns for them */
} bench_report;

/* One case on one target. entries: ours first (`ours` of them, entries[winner] is what runs by itself), then the peers. */
typedef struct bench_result {
    const target *where;
    const test_case *c;
    const bench_roofline *roof; /* the case's own if `paced` */
    const bench_entry *entries;
    int ours, count, winner;
    bool modelled;
    int paced;               /* how many of its ceilings were timed in turn: none, the copy, the copy and the read */
    const bench_entry *bare; /* what its launches cost by themselves, empty and with a load and a store (bare.h), or NULL */
    int launches;            /* how many they are */
} bench_result;

/* The dtype that a case is sorted by: its first tensor's. */
trine_dtype bench_dtype(const test_case *c);
void bench_report_header(const bench_report *r, const target *targets, const bench_roofline *roofs, int count);
void bench_report_target(const bench_report *r, const target *t, const bench_roofline *roof);
void bench_report_overhead(const bench_report *r, const target *t, const bench_overhead *o);
void bench_report_result(const bench_report *r, const bench_result *result);
/* A case without a time: what is "failed", "skipped" or "refused". */
void bench_report_missing(const bench_report *r, const target *t, const test_case *c, const char *what, const char *why);

/* ---- contest.c ---- */

typedef struct bench_options {
    const char *backend, *arch, *op, *filter, *variant, *json;
    trine_dtype dtype;
    bool quick, large, sizes, huge, no_peers, help;
    double seconds, budget; /* to time an entry; element operations of the oracle a case */
    double max_work;        /* 0, or the small cases of at most so many element operations */
} bench_options;

typedef struct bench_session {
    const bench_options *opt;
    bench_report report;
    const bench_roofline *roof; /* of the target at hand */
    bench_flush flush;          /* likewise */
    bench_pace pace;            /* likewise */
    bool modelled;              /* likewise: it is the simulator */
    int64_t timed, failed, skipped, done, total;
} bench_session;

/* Checks, times and reports a case. */
void bench_run_case(bench_session *s, target *t, test_case *c);

#endif
