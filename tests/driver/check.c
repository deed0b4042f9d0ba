/* trine check: every case on every backend, level and variant that this machine can run.
 *
 * A case passes if its outputs, poisoned before, are right element by element, nothing else was written, and a second run from
 * another poison gives the same bits. The first sizeable case of an op also runs on two streams from two threads at once. Refused
 * cases are counted and listed; a run in which nothing was executed has failed. */
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/driver/check_report.h"
#include "tests/driver/place.h"
#include "tests/driver/targets.h"
#include "tests/driver/verdict.h"
#include "tools/commands.h"

typedef struct options {
    const char *backend, *arch, *variant, *op, *filter, *json;
    double max_work;
    bool digest, verbose, list;
    check_report *report;
} options;

/* ---- One case ---- */

typedef struct outcome {
    enum { PASSED, FAILED, REFUSED } kind;
    double worst;
    uint64_t digest;
    char text[512];
} outcome;

static outcome failed(const char *what, const char *why)
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

/* Uploads, runs, brings back. */
static trine_status run_once(placement *p, unsigned char poison)
{
    trine_status status = place_upload(p, poison);
    if (status == TRINE_OK) status = trine_run(p->stream, p->c->op, p->args);
    trine_status brought = place_download(p);
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

/* Second run from another poison, on the same placement. */
static outcome run_again(placement *p, const results *first)
{
    results second = {0};
    outcome o = {.kind = PASSED};
    if (run_once(p, 0x5a) != TRINE_OK) return failed("second run", trine_error_text());
    if (!results_gather(&second, p))
        o = failed("second run", "no memory");
    else if (!same_results(first, &second))
        o = failed("second run", "other bits than the first");
    results_free(&second);
    return o;
}

static outcome judge(placement *p, const results *r)
{
    verdict v;
    char text[160];
    outcome o = {.kind = PASSED};
    verdict_units(&v, p->c, 0, p->c->units, (const void *const *)r->dense);
    if (!v.passed) return failed("wrong", v.text);
    const char *damage = place_damage(p, text);
    if (damage) return failed("damage", damage);
    o.worst = v.worst;
    return o;
}

static outcome run_case(trine_stream *stream, const test_case *c)
{
    placement p;
    results first = {0};
    outcome o = {.kind = PASSED};
    trine_status status = place_create(&p, stream, c);
    if (status == TRINE_OK) status = run_once(&p, 0xff);
    if (status == TRINE_ERROR_UNSUPPORTED && c->may_refuse) {
        char text[160];
        const char *damage = p.tensor && p.tensor[0].back ? place_damage(&p, text) : NULL;
        o = damage ? failed("refused, but", damage) : (outcome){.kind = REFUSED};
        if (!damage) snprintf(o.text, sizeof o.text, "%s", trine_error_text());
    } else if (status != TRINE_OK) {
        o = failed("error", trine_error_text());
    } else if (!results_gather(&first, &p)) {
        o = failed("error", "no memory");
    } else {
        o = judge(&p, &first);
        if (o.kind == PASSED) {
            outcome again = run_again(&p, &first);
            if (again.kind != PASSED) o = again;
        }
        o.digest = digest_of(c, &first);
    }
    results_free(&first);
    place_destroy(&p);
    return o;
}

/* ---- Two streams at once ---- */

typedef struct parallel_job {
    const target *where;
    const test_case *c;
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
        job->result = failed("stream", trine_error_text());
        return NULL;
    }
    for (int i = 0; i < 3 && job->result.kind == PASSED; i++) job->result = run_case(stream, job->c);
    trine_stream_destroy(stream);
    return NULL;
}

static outcome run_parallel(const target *t, const test_case *c)
{
    parallel_job jobs[2] = {{.where = t, .c = c}, {.where = t, .c = c}};
    pthread_t threads[2];
    int started = 0;
    while (started < 2 && pthread_create(&threads[started], NULL, parallel_thread, &jobs[started]) == 0) started++;
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    if (started < 2) return failed("two streams", "no thread could be started");
    return jobs[0].result.kind != PASSED ? jobs[0].result : jobs[1].result;
}

/* ---- All cases of an op on a target ---- */

static void count_outcome(check_tally *sum, const outcome *o, const target *t, const char *variant, const test_case *c,
                          const options *opt)
{
    if (o->kind == PASSED) sum->passed++;
    if (o->kind == FAILED) sum->failed++;
    if (o->kind == REFUSED) sum->refused++;
    if (o->worst > sum->worst) {
        sum->worst = o->worst;
        snprintf(sum->worst_case, sizeof sum->worst_case, "%s", c->name);
    }
    if (o->kind != PASSED) check_report_case(opt->report, o->kind == FAILED ? "failures" : "refusals", c, variant, o->text);
    if (o->kind == FAILED) printf("FAILED %s %s [%s] %s: %s\n", t->backend, t->props.arch, variant, c->name, o->text);
    if (o->kind == REFUSED && opt->verbose)
        printf("refused %s %s [%s] %s: %s\n", t->backend, t->props.arch, variant, c->name, o->text);
    if (o->kind == PASSED && opt->verbose)
        printf("passed %s %s [%s] %s (worst %.2f)\n", t->backend, t->props.arch, variant, c->name, o->worst);
    if (o->kind == PASSED && opt->digest && c->vendor_exact)
        printf("digest %016llx %s\n", (unsigned long long)o->digest, c->name);
}

/* Every variant that accepts the case; those of other cases of the op differ. */
static void check_case(check_tally *sum, target *t, test_case *c, const options *opt)
{
    trine_query_result answer;
    void *args = place_shape_args(c, NULL);
    char list[sizeof answer.accepted] = "", *rest = NULL;
    if (trine_query(t->stream, c->op, args, &answer) == TRINE_OK) snprintf(list, sizeof list, "%s", answer.accepted);
    free(args);
    bool several = strchr(list, ',') != NULL;
    if (!list[0]) { /* refused, or wrong: let the run say which */
        outcome o = run_case(t->stream, c);
        count_outcome(sum, &o, t, "", c, opt);
        return;
    }
    for (char *variant = strtok_r(list, ",", &rest); variant; variant = strtok_r(NULL, ",", &rest)) {
        if (opt->variant && strcmp(opt->variant, variant) != 0) continue;
        trine_stream *stream = target_stream(t, several ? variant : NULL);
        outcome o = stream ? run_case(stream, c) : failed("stream", trine_error_text());
        count_outcome(sum, &o, t, variant, c, opt);
    }
}

static check_tally check_op(target *t, trine_op op, const options *opt)
{
    case_list list = {0};
    check_tally sum = {0};
    bool parallel_done = false;
    cases_of(op, &list, CASES_CHECK);
    for (int64_t i = 0; i < list.count; i++) {
        test_case *c = list.items[i];
        if (opt->filter && !strstr(c->name, opt->filter)) continue;
        if (opt->max_work > 0 && c->work > opt->max_work) {
            sum.left_out++;
            continue;
        }
        if (!case_prepare(c, 0)) {
            outcome o = failed("error", "no memory");
            count_outcome(&sum, &o, t, "", c, opt);
            continue;
        }
        int64_t failures = sum.failed;
        check_case(&sum, t, c, opt);
        if (!parallel_done && sum.failed == failures && c->units > 0 && c->work >= 1000 && !c->may_refuse) {
            outcome o = run_parallel(t, c);
            count_outcome(&sum, &o, t, "two streams", c, opt);
            parallel_done = true;
        }
        case_release(c);
    }
    cases_free(&list);
    return sum;
}

static void add_up(check_tally *all, const check_tally *sum)
{
    all->passed += sum->passed;
    all->failed += sum->failed;
    all->refused += sum->refused;
    all->left_out += sum->left_out;
    if (sum->worst <= all->worst) return;
    all->worst = sum->worst;
    memcpy(all->worst_case, sum->worst_case, sizeof all->worst_case);
}

static check_tally check_target(target *t, const options *opt)
{
    check_tally all = {0};
    check_report_target(opt->report, t);
    printf("%s: %s (%s, %s)\n", t->backend, t->props.name, t->props.arch, t->props.driver);
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        const trine_op_info *info = trine_op_get_info((trine_op)op);
        if (opt->op && strcmp(opt->op, info->name) != 0 && strcmp(opt->op, info->family) != 0) continue;
        check_report_op(opt->report, (trine_op)op);
        check_tally sum = check_op(t, (trine_op)op, opt);
        check_report_op_end(opt->report, &sum);
        add_up(&all, &sum);
        if (sum.passed + sum.failed + sum.refused + sum.left_out == 0) continue;
        printf("  %-22s %5lld passed %3lld failed", info->name, (long long)sum.passed, (long long)sum.failed);
        if (sum.refused) printf(" %3lld refused", (long long)sum.refused);
        if (sum.left_out) printf(" %3lld left out", (long long)sum.left_out);
        printf("   worst error %.0f %% of the bound\n", 100 * sum.worst);
        fflush(stdout);
    }
    return all;
}

/* ---- The command ---- */

static const char usage[] =
    "usage: trine check [options]\n"
    "  --backend B    cuda, hip, cpu or name:index (default: all that have a device)\n"
    "  --arch A       (cpu) one level, x86-64-v3 say; default: all that run here\n"
    "  --op NAME      one op or family\n"
    "  --case TEXT    cases whose name contains TEXT\n"
    "  --variant V    one variant\n"
    "  --max-work N   leave out cases of more than N element operations\n"
    "  --digest       print a hash of the outputs of every case that is bit-exact across vendors\n"
    "  --json FILE    also write a report there: devices, versions, counts, worst errors, first failures\n"
    "  --list         print the cases' names\n"
    "  --verbose      a line a case\n";

static int list_cases(const options *opt)
{
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        case_list list = {0};
        const trine_op_info *info = trine_op_get_info((trine_op)op);
        if (opt->op && strcmp(opt->op, info->name) != 0 && strcmp(opt->op, info->family) != 0) continue;
        cases_of((trine_op)op, &list, CASES_CHECK);
        for (int64_t i = 0; i < list.count; i++) printf("%s\n", list.items[i]->name);
        cases_free(&list);
    }
    return 0;
}

static bool parse(int argc, char **argv, options *opt)
{
    static const struct option longs[] = {{"backend", 1, NULL, 'b'}, {"arch", 1, NULL, 'a'},    {"op", 1, NULL, 'o'},
                                          {"case", 1, NULL, 'c'},    {"variant", 1, NULL, 'v'}, {"max-work", 1, NULL, 'w'},
                                          {"digest", 0, NULL, 'd'},  {"list", 0, NULL, 'l'},    {"verbose", 0, NULL, 'V'},
                                          {"json", 1, NULL, 'j'},    {NULL, 0, NULL, 0}};
    *opt = (options){0};
    for (int key; (key = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (key) {
        case 'b': opt->backend = optarg; break;
        case 'a': opt->arch = optarg; break;
        case 'o': opt->op = optarg; break;
        case 'c': opt->filter = optarg; break;
        case 'v': opt->variant = optarg; break;
        case 'w': opt->max_work = atof(optarg); break;
        case 'j': opt->json = optarg; break;
        case 'd': opt->digest = true; break;
        case 'l': opt->list = true; break;
        case 'V': opt->verbose = true; break;
        default: return false;
        }
    }
    return optind == argc;
}

static int report_unwritten(const char *path)
{
    fprintf(stderr, "trine check: %s: ", path);
    perror(NULL);
    return 2;
}

int command_check(int argc, char **argv)
{
    options opt;
    target targets[TARGETS_MAX];
    check_tally all = {0};
    check_report report;
    if (!parse(argc, argv, &opt)) {
        fputs(usage, stderr);
        return 2;
    }
    if (opt.list) return list_cases(&opt);
    opt.report = &report;
    if (!check_report_begin(&report, opt.json, argc, argv)) return report_unwritten(opt.json);
    int count = targets_open(targets, opt.backend, opt.arch, stdout);
    for (int i = 0; i < count; i++) {
        check_tally sum = check_target(&targets[i], &opt);
        add_up(&all, &sum);
    }
    targets_close(targets, count);
    if (all.passed + all.failed == 0) {
        printf("nothing was executed: that is a failure\n");
        all.failed++;
    }
    printf("%lld refused, %lld left out\n%lld passed, %lld failed\n", (long long)all.refused, (long long)all.left_out,
           (long long)all.passed, (long long)all.failed);
    if (!check_report_end(&report, &all)) return report_unwritten(opt.json);
    return all.failed ? 1 : 0;
}
