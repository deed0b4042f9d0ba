/* trine check: every case on every backend, level and variant that this machine can run.
 *
 * What a case must fulfil is in run_case.h. The first sizeable case of an op also runs on two streams from two threads at once.
 * Refused cases are counted and listed; a run in which nothing was executed has failed. A case's data, their image in memory and
 * what its oracle says are made once for all targets and variants. */
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "tests/driver/check_report.h"
#include "tests/driver/fuzz.h"
#include "tests/driver/run_case.h"
#include "tests/driver/targets.h"
#include "tools/commands.h"
#include "tools/options.h"

typedef struct options {
    const char *backend, *arch, *variant, *op, *filter, *json;
    double max_work, random;
    bool digest, exact, verbose, list, help;
    check_report *report;
} options;

/* ---- All cases of an op on all targets ---- */

/* The targets, and what was counted for each of them. */
typedef struct check_run {
    const options *opt;
    target *targets;
    int count;
    check_tally op[TARGETS_MAX], all; /* of the op at hand; of everything */
    bool parallel_done[TARGETS_MAX];  /* of the op at hand */
} check_run;

static void count_outcome(check_run *r, int k, const outcome *o, const char *variant, const test_case *c)
{
    const options *opt = r->opt;
    const target *t = &r->targets[k];
    check_tally *sum = &r->op[k];
    if (o->kind == PASSED) sum->passed++;
    if (o->kind == FAILED) sum->failed++;
    if (o->kind == REFUSED) sum->refused++;
    if (o->worst > sum->worst) {
        sum->worst = o->worst;
        snprintf(sum->worst_case, sizeof sum->worst_case, "%s", c->name);
    }
    if (o->kind != PASSED) check_report_case(opt->report, k, o->kind == FAILED ? "failures" : "refusals", c, variant, o->text);
    if (o->kind == FAILED) printf("FAILED %s %s [%s] %s: %s\n", t->backend, t->props.arch, variant, c->name, o->text);
    if (o->kind == REFUSED && opt->verbose)
        printf("refused %s %s [%s] %s: %s\n", t->backend, t->props.arch, variant, c->name, o->text);
    if (o->kind == PASSED && opt->verbose)
        printf("passed %s %s [%s] %s (worst %.2f)\n", t->backend, t->props.arch, variant, c->name, o->worst);
    if (o->kind == PASSED && o->digest) printf("digest %016llx %s\n", (unsigned long long)o->digest, c->name);
}

/* Every variant that accepts the case; those of other cases of the op differ. */
static void check_variants(check_run *r, int k, placement *p, expectation *wanted)
{
    const test_case *c = p->c;
    target *t = &r->targets[k];
    const bool digest = r->opt->digest && c->vendor_exact;
    trine_query_result answer;
    void *args = place_shape_args(c, NULL);
    char list[sizeof answer.accepted] = "", *rest = NULL;
    if (trine_query(t->stream, c->op, args, &answer) == TRINE_OK) snprintf(list, sizeof list, "%s", answer.accepted);
    free(args);
    bool several = strchr(list, ',') != NULL;
    if (!list[0]) { /* refused, or wrong: let the run say which */
        outcome o = run_case(t->stream, p, wanted, digest);
        count_outcome(r, k, &o, "", c);
        return;
    }
    for (char *variant = strtok_r(list, ",", &rest); variant; variant = strtok_r(NULL, ",", &rest)) {
        if (r->opt->variant && strcmp(r->opt->variant, variant) != 0) continue;
        trine_stream *stream = target_stream(t, several ? variant : NULL);
        outcome o = stream ? run_case(stream, p, wanted, digest) : outcome_failed("stream", trine_error_text());
        count_outcome(r, k, &o, variant, c);
    }
}

static void check_case(check_run *r, test_case *c)
{
    expectation wanted = {0};
    placement p = {0};
    const bool prepared = case_prepare(c, 0) && place_prepare(&p, c) == TRINE_OK;
    if (prepared && c->random) fuzz_repeat(c);
    for (int k = 0; k < r->count; k++) {
        if (!prepared) {
            outcome o = outcome_failed("error", "no memory");
            count_outcome(r, k, &o, "", c);
            continue;
        }
        int64_t failures = r->op[k].failed;
        check_variants(r, k, &p, &wanted);
        if (!r->parallel_done[k] && r->op[k].failed == failures && c->units > 0 && c->work >= 1000 && !c->may_refuse) {
            outcome o = run_parallel(&r->targets[k], c, &wanted);
            count_outcome(r, k, &o, "two streams", c);
            r->parallel_done[k] = true;
        }
    }
    place_destroy(&p);
    expectation_free(&wanted);
    case_release(c);
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

static void check_op(check_run *r, trine_op op)
{
    const options *opt = r->opt;
    case_list list = {0};
    memset(r->op, 0, sizeof r->op);
    memset(r->parallel_done, 0, sizeof r->parallel_done);
    cases_of(op, &list, CASES_CHECK);
    for (int64_t i = 0; i < list.count; i++) {
        test_case *c = list.items[i];
        if ((opt->filter && !strstr(c->name, opt->filter)) || (opt->exact && !c->vendor_exact)) continue;
        if (opt->random > 0) fuzz_case(c, (uint64_t)opt->random);
        if (opt->max_work > 0 && c->work > opt->max_work)
            for (int k = 0; k < r->count; k++) r->op[k].left_out++;
        else
            check_case(r, c);
    }
    cases_free(&list);
}

static void print_tally(const check_run *r, int k, const char *op)
{
    const check_tally *sum = &r->op[k];
    if (sum->passed + sum->failed + sum->refused + sum->left_out == 0) return;
    printf("  %-22s %5lld passed %3lld failed", op, (long long)sum->passed, (long long)sum->failed);
    if (sum->refused) printf(" %3lld refused", (long long)sum->refused);
    if (sum->left_out) printf(" %3lld left out", (long long)sum->left_out);
    printf("   worst error %.0f %% of the bound", 100 * sum->worst);
    if (r->count > 1) printf("   %s %s", r->targets[k].backend, r->targets[k].props.arch);
    printf("\n");
    fflush(stdout);
}

static void check_targets(check_run *r)
{
    const options *opt = r->opt;
    for (int k = 0; k < r->count; k++) {
        const trine_device_props *props = &r->targets[k].props;
        check_report_target(opt->report, k, &r->targets[k]);
        printf("%s: %s (%s, %s)\n", r->targets[k].backend, props->name, props->arch, props->driver);
    }
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        const trine_op_info *info = trine_op_get_info((trine_op)op);
        if (opt->op && strcmp(opt->op, info->name) != 0 && strcmp(opt->op, info->family) != 0) continue;
        check_report_op(opt->report, (trine_op)op);
        check_op(r, (trine_op)op);
        for (int k = 0; k < r->count; k++) {
            check_report_op_end(opt->report, k, &r->op[k]);
            print_tally(r, k, info->name);
            add_up(&r->all, &r->op[k]);
        }
    }
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
    "  --random SEED  change every case's sizes and its tensors' layouts at random\n"
    "  --digest       print a hash of the outputs of every case that is bit-exact across vendors\n"
    "  --exact        only those cases\n"
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
                                          {"random", 1, NULL, 'r'},  {"digest", 0, NULL, 'd'},  {"list", 0, NULL, 'l'},
                                          {"verbose", 0, NULL, 'V'}, {"json", 1, NULL, 'j'},    {"exact", 0, NULL, 'e'},
                                          {"help", 0, NULL, 'h'},    {NULL, 0, NULL, 0}};
    bool right = true;
    *opt = (options){0};
    for (int key; (key = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (key) {
        case 'b': opt->backend = optarg; break;
        case 'a': opt->arch = optarg; break;
        case 'o': opt->op = optarg; break;
        case 'c': opt->filter = optarg; break;
        case 'v': opt->variant = optarg; break;
        case 'w': right = option_positive("check", optarg, "element operations", &opt->max_work) && right; break;
        case 'r': right = option_positive("check", optarg, "the seed", &opt->random) && right; break;
        case 'j': opt->json = optarg; break;
        case 'd': opt->digest = true; break;
        case 'e': opt->exact = true; break;
        case 'l': opt->list = true; break;
        case 'V': opt->verbose = true; break;
        case 'h': opt->help = true; break;
        default: right = false;
        }
    }
    return right && optind == argc;
}

static int report_unwritten(const char *path)
{
    fprintf(stderr, "trine check: %s: ", path);
    perror(NULL);
    return 2;
}

/* Cases come and go by the thousand: what one frees stays for the next, instead of new pages, which the system clears, for each. */
static void keep_memory(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

int command_check(int argc, char **argv)
{
    options opt;
    target targets[TARGETS_MAX];
    check_run run = {.opt = &opt, .targets = targets};
    check_tally *all = &run.all;
    check_report report;
    if (!parse(argc, argv, &opt) || opt.help) {
        fputs(usage, opt.help ? stdout : stderr);
        return opt.help ? 0 : 2;
    }
    if (opt.list) return list_cases(&opt);
    opt.report = &report;
    if (!check_report_begin(&report, opt.json, argc, argv)) return report_unwritten(opt.json);
    keep_memory();
    run.count = targets_open(targets, opt.backend, opt.arch, stdout);
    check_targets(&run);
    targets_close(targets, run.count);
    if (all->passed + all->failed == 0) {
        printf("nothing was executed: that is a failure\n");
        all->failed++;
    }
    printf("%lld refused, %lld left out\n%lld passed, %lld failed\n", (long long)all->refused, (long long)all->left_out,
           (long long)all->passed, (long long)all->failed);
    if (!check_report_end(&report, all)) return report_unwritten(opt.json);
    return all->failed ? 1 : 0;
}
