/* trine bench: times what checks.
 *
 * Every timed case is first run once from poisoned outputs, and samples of its results are compared with the oracle; a case that
 * is wrong is reported and not timed. Peers (vendor libraries found on the machine) have to pass the same samples and are timed
 * in turn with ours. With --huge it is the results that count: those of cases grown beyond 2^31 elements. */
#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/driver/fuzz.h"
#include "tests/driver/place.h"
#include "tools/commands.h"
#include "tools/options.h"

enum { MODELLED_WORK = 200000 }; /* some seconds on the simulator */

/* ---- All cases of a target ---- */

static bool op_wanted(const bench_options *opt, trine_op op)
{
    const trine_op_info *info = trine_op_get_info(op);
    return !opt->op || strcmp(opt->op, info->name) == 0 || strcmp(opt->op, info->family) == 0;
}

/* Of the small cases only those whose results can be checked. */
static bool case_fits(const bench_options *opt, const test_case *c)
{
    for (int32_t k = 0; k < c->tensor_count && opt->max_work > 0; k++)
        if (c->tensor[k].layout != LAYOUT_DENSE || c->tensor[k].numel == 0) return false;
    return opt->max_work == 0 || (c->tensor_count > 0 && c->work <= opt->max_work);
}

static bool case_matches(const bench_options *opt, const test_case *c)
{
    if (opt->filter && !strstr(c->name, opt->filter)) return false;
    if (opt->dtype != TRINE_DTYPE_NONE && bench_dtype(c) != opt->dtype) return false;
    return case_fits(opt, c);
}

/* A quick run takes one case of each op and dtype: the first, of the small ones the one with most work. */
static bool case_wanted(const bench_options *opt, const case_list *list, int64_t i)
{
    const test_case *c = list->items[i];
    if (!case_matches(opt, c)) return false;
    for (int64_t j = 0; opt->quick && j < list->count; j++) {
        const test_case *other = list->items[j];
        bool before = opt->max_work > 0 && other->work != c->work ? other->work > c->work : j < i;
        if (before && bench_dtype(other) == bench_dtype(c) && case_matches(opt, other)) return false;
    }
    return true;
}

static void progress(const bench_session *s, const char *name)
{
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r\033[K"); /* clears the line; the next row of the table then goes over this text */
    if (name) fprintf(stderr, "[%lld/%lld] %s\r", (long long)s->done, (long long)s->total, name);
}

typedef void (*case_fn)(bench_session *s, target *t, test_case *c);

static void count_case(bench_session *s, target *t, test_case *c)
{
    (void)t, (void)c;
    s->total++;
}

static void progress_and_run(bench_session *s, target *t, test_case *c)
{
    s->done++;
    progress(s, c->name);
    bench_run_case(s, t, c);
}

/* Whether the case can be grown, and the op then still takes it: sizes may hang together. */
static bool grows(const bench_session *s, target *t, test_case *c)
{
    trine_query_result answer;
    if (!fuzz_grow(c, bench_memory_free(t) - (double)s->flush.bytes)) return false;
    void *args = place_shape_args(c, NULL);
    const trine_status status = trine_query(t->stream, c->op, args, &answer);
    free(args);
    return status == TRINE_OK;
}

/* Of each dtype the first case that grows. */
static void each_huge(bench_session *s, target *t, const case_list *list, case_fn fn)
{
    bool done[TRINE_DTYPE_COUNT] = {false};
    for (int64_t i = 0; i < list->count; i++) {
        test_case *c = list->items[i];
        const trine_dtype dtype = bench_dtype(c);
        if (done[dtype] || !case_matches(s->opt, c) || !grows(s, t, c)) continue;
        fn(s, t, c);
        done[dtype] = true;
    }
}

static void each_case(bench_session *s, target *t, case_fn fn)
{
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        case_list list = {0};
        if (!op_wanted(s->opt, (trine_op)op)) continue;
        cases_of((trine_op)op, &list, s->opt->sizes ? CASES_SIZES : s->opt->max_work > 0 ? CASES_CHECK : CASES_BENCH);
        if (s->opt->huge) each_huge(s, t, &list, fn);
        for (int64_t i = 0; i < list.count && !s->opt->huge; i++)
            if (case_wanted(s->opt, &list, i)) fn(s, t, list.items[i]);
        cases_free(&list);
    }
}

static void run_target(bench_session *s, target *t, const bench_roofline *roof)
{
    bench_overhead overhead;
    s->roof = roof;
    s->modelled = bench_is_modelled(t);
    if (!s->modelled &&
        (bench_flush_create(&s->flush, t->stream, &t->props) != TRINE_OK || bench_pace_create(&s->pace, t) != TRINE_OK)) {
        fprintf(stderr, "trine bench: %s: no memory for the caches' flush and the copy: %s\n", t->backend, trine_error_text());
        bench_flush_destroy(&s->flush, t->stream);
        s->failed++;
        return;
    }
    bench_report_target(&s->report, t, roof);
    each_case(s, t, progress_and_run);
    progress(s, NULL);
    if (s->modelled) return;
    bench_flush_destroy(&s->flush, t->stream);
    bench_pace_destroy(&s->pace, t->stream);
    if (s->opt->op || s->opt->filter || s->opt->dtype) return;
    if (bench_overhead_measure(&overhead, t, s->opt->seconds / 3) == TRINE_OK)
        bench_report_overhead(&s->report, t, &overhead);
    else
        fprintf(stderr, "overhead: %s\n", trine_error_text());
}

/* ---- The command ---- */

static const char usage[] =
    "usage: trine bench [options]\n"
    "  --backend B     cuda, hip, cpu or name:index (default: every device)\n"
    "  --arch A        (cpu) a level, x86-64-v3 say, or all (default: the highest)\n"
    "  --op NAME       one op or family\n"
    "  --case TEXT     cases whose name contains TEXT\n"
    "  --dtype D       cases whose first tensor is of dtype D\n"
    "  --variant V     one variant, or all (default: what would run)\n"
    "  --quick         the first case of each op and dtype, a short time each\n"
    "  --max-work N    the small cases of trine check of at most N element operations (on the simulator: 200000);\n"
    "                  with --quick the largest of each op and dtype\n"
    "  --sizes         the commonest ops on tensors of 4 KiB to 64 MiB; on NVIDIA's GPUs with what their launches cost alone\n"
    "  --large         on the simulator, too, the cases of a card; choose few of them\n"
    "  --huge          of each op and dtype the first case that can be grown beyond 2^31 elements; without peers\n"
    "  --time SECONDS  time to spend on the repetitions of a case (default 0.3)\n"
    "  --no-peers      without vendor libraries\n"
    "  --json FILE     also write the results there, a JSON object a line\n";

static bool read_dtype(const char *text, trine_dtype *dtype)
{
    *dtype = trine_dtype_from_name(text);
    if (*dtype == TRINE_DTYPE_NONE) fprintf(stderr, "trine bench: no dtype is called '%s'\n", text);
    return *dtype != TRINE_DTYPE_NONE;
}

static bool parse(int argc, char **argv, bench_options *opt)
{
    static const struct option longs[] = {
        {"backend", 1, NULL, 'b'},  {"arch", 1, NULL, 'a'},    {"op", 1, NULL, 'o'},       {"case", 1, NULL, 'c'},
        {"dtype", 1, NULL, 'd'},    {"variant", 1, NULL, 'v'}, {"quick", 0, NULL, 'q'},    {"large", 0, NULL, 'l'},
        {"time", 1, NULL, 't'},     {"json", 1, NULL, 'j'},    {"no-peers", 0, NULL, 'n'}, {"help", 0, NULL, 'h'},
        {"max-work", 1, NULL, 'w'}, {"sizes", 0, NULL, 's'},   {"huge", 0, NULL, 'H'},     {NULL, 0, NULL, 0}};
    bool right = true;
    *opt = (bench_options){.seconds = 0, .budget = 2e6};
    for (int key; (key = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (key) {
        case 'b': opt->backend = optarg; break;
        case 'a': opt->arch = optarg; break;
        case 'o': opt->op = optarg; break;
        case 'c': opt->filter = optarg; break;
        case 'd': right = read_dtype(optarg, &opt->dtype) && right; break;
        case 'v': opt->variant = optarg; break;
        case 'q': opt->quick = true; break;
        case 'l': opt->large = true; break;
        case 's': opt->sizes = true; break;
        case 'H': opt->huge = opt->no_peers = true; break;
        case 't': right = option_positive("bench", optarg, "seconds", &opt->seconds) && right; break;
        case 'w': right = option_positive("bench", optarg, "element operations", &opt->max_work) && right; break;
        case 'j': opt->json = optarg; break;
        case 'n': opt->no_peers = true; break;
        case 'h': opt->help = true; break;
        default: right = false;
        }
    }
    if (opt->seconds == 0) opt->seconds = opt->quick || opt->huge ? 0.05 : 0.3;
    return right && optind == argc;
}

static int open_devices(target *targets, int room, const char *name)
{
    int32_t devices = 0;
    int count = 0;
    trine_status status = trine_device_count(name, &devices);
    if (status != TRINE_OK || devices == 0)
        printf("skipped %s: %s\n", name, status == TRINE_OK ? "it has no device" : trine_error_text());
    for (int32_t i = 0; i < devices && count < room; i++) {
        char word[32];
        snprintf(word, sizeof word, "%s:%d", name, (int)i);
        count += targets_open(&targets[count], word, NULL, stdout);
    }
    return count;
}

/* Devices at their own arch; other levels of the CPU only when asked for. */
static int open_targets(const bench_options *opt, target targets[TARGETS_MAX])
{
    int count = 0;
    const char *arch = opt->arch && strcmp(opt->arch, "all") == 0 ? NULL : opt->arch;
    if (opt->arch) return targets_open(targets, opt->backend ? opt->backend : "cpu", arch, stdout);
    if (opt->backend && strchr(opt->backend, ':')) return targets_open(targets, opt->backend, NULL, stdout);
    if (opt->backend) return open_devices(targets, TARGETS_MAX, opt->backend);
    for (int32_t b = 0; trine_backend_name(b); b++)
        count += open_devices(targets + count, TARGETS_MAX - count, trine_backend_name(b));
    return count;
}

static int bench_all(bench_session *s, target *targets, int count)
{
    bench_roofline roofs[TARGETS_MAX];
    for (int i = 0; i < count; i++) {
        roofs[i] = (bench_roofline){0};
        if (bench_is_modelled(&targets[i]) || bench_roofline_measure(&roofs[i], &targets[i], s->opt->seconds) == TRINE_OK)
            continue;
        fprintf(stderr, "trine bench: %s: the roofline can't be measured: %s\n", targets[i].backend, trine_error_text());
        return 1;
    }
    bench_report_header(&s->report, targets, roofs, count);
    for (int i = 0; i < count; i++) each_case(s, &targets[i], count_case);
    for (int i = 0; i < count; i++) run_target(s, &targets[i], &roofs[i]);
    if (s->timed + s->failed == 0) printf("nothing was timed: that is a failure\n");
    printf("\n%lld timed, %lld failed, %lld skipped or refused\n", (long long)s->timed, (long long)s->failed,
           (long long)s->skipped);
    return s->failed || s->timed == 0;
}

int command_bench(int argc, char **argv)
{
    bench_options opt;
    target targets[TARGETS_MAX];
    if (!parse(argc, argv, &opt) || opt.help) {
        fputs(usage, opt.help ? stdout : stderr);
        return opt.help ? 0 : 2;
    }
    bench_session s = {.opt = &opt, .report.peers = !opt.no_peers};
    if (opt.json && !(s.report.json = fopen(opt.json, "w"))) {
        fprintf(stderr, "trine bench: %s: ", opt.json);
        perror(NULL);
        return 2;
    }
    int count = open_targets(&opt, targets);
    for (int i = 0; i < count && opt.max_work == 0 && !opt.large; i++)
        if (bench_is_modelled(&targets[i])) opt.max_work = MODELLED_WORK;
    int result = bench_all(&s, targets, count);
    targets_close(targets, count);
    if (s.report.json && (ferror(s.report.json) | fclose(s.report.json))) {
        fprintf(stderr, "trine bench: %s could not be written\n", opt.json);
        return 1;
    }
    return result;
}
