/* Four threads, a stream each, all ops at once: the bits of a serial run, and texts that don't mix. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

enum { THREADS = 4, ROUNDS = 3 };

static unsigned char *serial[TRINE_OP_COUNT][CASE_TENSORS];

typedef struct job {
    int number;
    long good, bad;
    char complaint[256];
} job;

static void complain(job *j, const char *op, const char *what)
{
    if (j->bad++ == 0) snprintf(j->complaint, sizeof j->complaint, "thread %d: %s: %s", j->number, op, what);
}

/* Every error text must be of this thread's own mistake. */
static void fail_on_purpose(job *j, trine_stream *s)
{
    char name[32];
    int32_t count;
    snprintf(name, sizeof name, "thread%d", j->number);
    trine_device_count(name, &count);
    bool own = names_word(trine_error_text(), name);
    trine_run(s, (trine_op)(TRINE_OP_COUNT + j->number), s);
    snprintf(name, sizeof name, "%d", TRINE_OP_COUNT + j->number);
    own = own && names_word(trine_error_text(), name);
    if (own)
        j->good++;
    else
        complain(j, "text", trine_error_text());
}

static void run_op(job *j, trine_stream *s, trine_op op)
{
    valid_call v;
    const char *name = trine_op_get_info(op)->name;
    if (!serial[op][0]) return;
    if (!valid_call_open(&v, s, op)) {
        complain(j, name, "no case");
        return;
    }
    for (int round = 0; round < ROUNDS; round++) {
        bool same = trine_run(s, op, v.place.args) == TRINE_OK;
        for (int32_t k = 0; same && k < v.c->tensor_count; k++)
            same = memcmp(serial[op][k], v.place.tensor[k].device, v.place.tensor[k].bytes) == 0;
        if (same)
            j->good++;
        else
            complain(j, name, "other bits than serially");
        valid_call_restore(&v);
        fail_on_purpose(j, s);
    }
    valid_call_close(&v);
}

static void *work(void *user)
{
    job *j = user;
    trine_stream *s = NULL;
    const trine_stream_options options = {.backend = "cpu"};
    if (trine_stream_create(&options, &s) != TRINE_OK) {
        complain(j, "stream", trine_error_text());
        return NULL;
    }
    /* each begins elsewhere, so that different ops meet */
    for (int i = 0; i < TRINE_OP_COUNT; i++)
        run_op(j, s, (trine_op)((i + j->number * TRINE_OP_COUNT / THREADS) % TRINE_OP_COUNT));
    trine_stream_destroy(s);
    return NULL;
}

static void run_serially(void)
{
    trine_stream *s = cpu_stream();
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        valid_call v;
        const char *name = trine_op_get_info((trine_op)op)->name;
        bool valid = valid_call_open(&v, s, (trine_op)op);
        CHECK(valid && trine_run(s, (trine_op)op, v.place.args) == TRINE_OK, "%s: %s", name,
              valid ? trine_error_text() : "no case to start from");
        for (int32_t k = 0; valid && k < v.c->tensor_count; k++) {
            serial[op][k] = malloc(v.place.tensor[k].bytes);
            if (serial[op][k]) memcpy(serial[op][k], v.place.tensor[k].device, v.place.tensor[k].bytes);
        }
        valid_call_close(&v);
    }
    trine_stream_destroy(s);
}

int main(void)
{
    pthread_t threads[THREADS];
    job jobs[THREADS] = {{0}};
    int started = 0;
    run_serially();
    for (; started < THREADS; started++) {
        jobs[started].number = started;
        if (pthread_create(&threads[started], NULL, work, &jobs[started]) != 0) break;
    }
    EXPECT(started == THREADS);
    for (int i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        passed += jobs[i].good;
        failed += jobs[i].bad;
        if (jobs[i].bad) printf("%s (and %ld more)\n", jobs[i].complaint, jobs[i].bad - 1);
    }
    for (int op = 0; op < TRINE_OP_COUNT; op++)
        for (int k = 0; k < CASE_TENSORS; k++) free(serial[op][k]);
    return finish();
}
