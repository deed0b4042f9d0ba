#include "tests/driver/run_case.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

outcome outcome_failed(const char *what, const char *why)
{
    outcome o = {.kind = FAILED};
    snprintf(o.text, sizeof o.text, "%s: %s", what, why);
    return o;
}

typedef struct results {
    void *dense[CASE_OUT_MAX];
    size_t bytes[CASE_OUT_MAX];
    int count;
} results;

static void results_free(results *r)
{
    for (int k = 0; k < r->count; k++) free(r->dense[k]);
}

static bool results_gather(results *r, const placement *p)
{
    r->count = 0;
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        const case_tensor *t = &p->c->tensor[k];
        if (!t->output) continue;
        r->bytes[r->count] = (size_t)t->numel * (size_t)trine_dtype_bits(t->dtype) / 8;
        r->dense[r->count] = malloc(r->bytes[r->count] + 1);
        if (!r->dense[r->count]) return false;
        place_gather(p, k, r->dense[r->count++]);
    }
    return true;
}

/* Uploads, runs, brings back; again: only the outputs. */
static trine_status run_once(placement *p, unsigned char poison, bool again)
{
    trine_status status = again ? place_upload_outputs(p, poison) : place_upload(p, poison);
    if (status == TRINE_OK) status = trine_run(p->stream, p->c->op, p->args);
    trine_status brought = again ? place_download_outputs(p) : place_download(p);
    return status == TRINE_OK ? brought : status;
}

static bool same_results(const results *a, const results *b)
{
    for (int k = 0; k < a->count; k++)
        if (memcmp(a->dense[k], b->dense[k], a->bytes[k]) != 0) return false;
    return true;
}

/* FNV-1a over the outputs; of a NaN only that it is one. */
static uint64_t digest_of(const test_case *c, const results *r)
{
    uint64_t h = 1469598103934665603u;
    int n = 0;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        const case_tensor *t = &c->tensor[k];
        size_t size = (size_t)trine_dtype_bits(t->dtype) / 8;
        if (!t->output) continue;
        const unsigned char *bits = r->dense[n++];
        for (int64_t i = 0; i < t->numel; i++, bits += size) {
            double value;
            trine_convert(bits, t->dtype, &value, TRINE_F64, 1);
            bool nan = value != value && !c->oracle_bits;
            for (size_t b = 0; b < size; b++) h = (h ^ (nan ? 0x7f : bits[b])) * 1099511628211u;
        }
    }
    return h;
}

/* Second run from another poison, on the same placement, whose inputs are still what they were: the first run has been judged. */
static outcome run_again(placement *p, const results *first)
{
    results second = {0};
    outcome o = {.kind = PASSED};
    if (run_once(p, 0x5a, true) != TRINE_OK) return outcome_failed("second run", trine_error_text());
    if (!results_gather(&second, p))
        o = outcome_failed("second run", "no memory");
    else if (!same_results(first, &second))
        o = outcome_failed("second run", "other bits than the first");
    results_free(&second);
    return o;
}

static outcome judge(placement *p, const results *r, expectation *wanted)
{
    verdict v = {.passed = true};
    char text[160];
    outcome o = {.kind = PASSED};
    if (!wanted->want) expectation_make(wanted, p->c, 0, p->c->units);
    verdict_expected(&v, p->c, wanted, (const void *const *)r->dense);
    if (!v.passed) return outcome_failed("wrong", v.text);
    const char *damage = place_damage(p, text);
    if (damage) return outcome_failed("damage", damage);
    o.worst = v.worst;
    return o;
}

outcome run_case(trine_stream *stream, placement *p, expectation *wanted, bool digest)
{
    const test_case *c = p->c;
    results first = {0};
    outcome o = {.kind = PASSED};
    trine_status status = place_attach(p, stream);
    if (status == TRINE_OK) status = run_once(p, 0xff, false);
    if (status == TRINE_ERROR_UNSUPPORTED && c->may_refuse) {
        char text[160];
        const char *damage = place_damage(p, text);
        o = damage ? outcome_failed("refused, but", damage) : (outcome){.kind = REFUSED};
        if (!damage) snprintf(o.text, sizeof o.text, "%s", trine_error_text());
    } else if (status == TRINE_ERROR_INVALID_ARGUMENT && c->random) {
        o = (outcome){.kind = REFUSED};
        snprintf(o.text, sizeof o.text, "%s", trine_error_text());
    } else if (status != TRINE_OK) {
        o = outcome_failed("error", trine_error_text());
    } else if (!results_gather(&first, p)) {
        o = outcome_failed("error", "no memory");
    } else {
        o = judge(p, &first, wanted);
        if (o.kind == PASSED) {
            outcome again = run_again(p, &first);
            if (again.kind != PASSED) o = again;
        }
        if (digest) o.digest = digest_of(c, &first);
    }
    results_free(&first);
    place_detach(p);
    return o;
}

/* ---- Two streams at once ---- */

typedef struct parallel_job {
    const target *where;
    const test_case *c;
    expectation *wanted;
    outcome result;
} parallel_job;

static void *parallel_thread(void *user)
{
    parallel_job *job = user;
    trine_stream *stream;
    trine_stream_options o = {.backend = job->where->backend,
                              .arch = job->where->arch[0] ? job->where->arch : NULL,
                              .variant = "",
                              .flags = TRINE_STREAM_NO_FALLBACK};
    if (trine_stream_create(&o, &stream) != TRINE_OK) {
        job->result = outcome_failed("stream", trine_error_text());
        return NULL;
    }
    placement p;
    if (place_prepare(&p, job->c) != TRINE_OK) job->result = outcome_failed("error", "no memory");
    for (int i = 0; i < 3 && job->result.kind == PASSED; i++) job->result = run_case(stream, &p, job->wanted, false);
    place_destroy(&p);
    trine_stream_destroy(stream);
    return NULL;
}

outcome run_parallel(const target *t, const test_case *c, expectation *wanted)
{
    parallel_job jobs[2] = {{.where = t, .c = c, .wanted = wanted}, {.where = t, .c = c, .wanted = wanted}};
    pthread_t threads[2];
    int started = 0;
    if (!wanted->want) expectation_make(wanted, c, 0, c->units); /* which the threads share */
    while (started < 2 && pthread_create(&threads[started], NULL, parallel_thread, &jobs[started]) == 0) started++;
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    if (started < 2) return outcome_failed("two streams", "no thread could be started");
    return jobs[0].result.kind != PASSED ? jobs[0].result : jobs[1].result;
}
