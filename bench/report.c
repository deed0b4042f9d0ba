/* The results: a table for people on stdout, a JSON object a line in a file, the first of which is a header. bench/results.c
 * reads such files: a change of what it needs is a new format number. */
#include <string.h>

#include "bench/bench.h"
#include "bench/format.h"
#include "tools/describe.h"

trine_dtype bench_dtype(const test_case *c) { return c->tensor_count ? c->tensor[0].dtype : TRINE_DTYPE_NONE; }

/* ---- JSON ---- */

static void write_line(const bench_report *r, cJSON *object)
{
    char *text = r->json ? cJSON_PrintUnformatted(object) : NULL;
    if (text) fprintf(r->json, "%s\n", text);
    if (text) fflush(r->json);
    cJSON_free(text);
    cJSON_Delete(object);
}

static void add_number(cJSON *object, const char *name, double value)
{
    if (value != 0)
        cJSON_AddNumberToObject(object, name, value);
    else
        cJSON_AddNullToObject(object, name);
}

/* The median by this name, the best repetition by this name and "_best". */
static void add_ceiling(cJSON *object, const char *name, const bench_ceiling *ceiling)
{
    char best[64];
    snprintf(best, sizeof best, "%s_best", name);
    add_number(object, name, ceiling->median);
    add_number(object, best, ceiling->best);
}

static cJSON *target_object(const target *t, const bench_roofline *roof)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "backend", t->backend);
    describe_device(o, &t->props);
    if (bench_is_modelled(t)) cJSON_AddTrueToObject(o, "modelled");
    add_ceiling(o, "copy_bytes_per_second", &roof->copy);
    add_ceiling(o, "read_bytes_per_second", &roof->read);
    add_ceiling(o, "fma_f32_flops_per_second", &roof->fma);
    return o;
}

void bench_report_header(const bench_report *r, const target *targets, const bench_roofline *roofs, int count)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", "header");
    cJSON_AddNumberToObject(o, "format", 1);
    describe_build(o);
    cJSON *list = cJSON_AddArrayToObject(o, "targets");
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, target_object(&targets[i], &roofs[i]));
    write_line(r, o);
}

/* What all lines of a case share. */
static cJSON *line_object(const target *t, const char *status)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "type", "result");
    cJSON_AddStringToObject(o, "status", status);
    cJSON_AddStringToObject(o, "backend", t->backend);
    cJSON_AddStringToObject(o, "arch", t->props.arch);
    return o;
}

/* "x bf16[8192,1024] y bf16[8192,1024]" */
static void shape_text(const test_case *c, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int32_t k = 0; k < c->tensor_count && used < size; k++) {
        const case_tensor *t = &c->tensor[k];
        char name[CASE_TEXT];
        used += (size_t)snprintf(text + used, size - used, "%s%s %s[", k ? " " : "", case_tensor_name(c, t, name),
                                 trine_dtype_name(t->dtype));
        for (int32_t d = 0; d < t->ndim && used < size; d++)
            used += (size_t)snprintf(text + used, size - used, d ? ",%lld" : "%lld", (long long)t->shape[d]);
        if (used < size) used += (size_t)snprintf(text + used, size - used, "]");
    }
}

static cJSON *case_object(const target *t, const test_case *c, const char *status)
{
    char shape[BENCH_TEXT];
    cJSON *o = line_object(t, status);
    const trine_op_info *info = trine_op_get_info(c->op);
    shape_text(c, shape, sizeof shape);
    cJSON_AddStringToObject(o, "family", info->family);
    cJSON_AddStringToObject(o, "op", info->name);
    cJSON_AddStringToObject(o, "case", c->name);
    cJSON_AddStringToObject(o, "dtype", trine_dtype_name(bench_dtype(c)));
    cJSON_AddStringToObject(o, "shape", shape);
    cJSON_AddNumberToObject(o, "bytes", c->bytes);
    cJSON_AddNumberToObject(o, "flops", c->flops);
    return o;
}

/* The rates that were timed in turn with the case, which its percents are of; without them they are of the target's. */
static void add_paces(cJSON *o, const bench_result *result)
{
    if (result->paced > 0) cJSON_AddNumberToObject(o, "copy_bytes_per_second", result->roof->copy.median);
    if (result->paced > 1) cJSON_AddNumberToObject(o, "read_bytes_per_second", result->roof->read.median);
}

static void add_times(cJSON *o, const bench_result *result, const bench_times *times)
{
    bench_standing stand = bench_stand(result->roof, result->c, times->median);
    cJSON_AddNumberToObject(o, "median", times->median);
    cJSON_AddNumberToObject(o, "min", times->min);
    cJSON_AddNumberToObject(o, "p10", times->p10);
    cJSON_AddNumberToObject(o, "p90", times->p90);
    add_number(o, "graph", times->graph);
    cJSON_AddNumberToObject(o, "repetitions", times->count);
    cJSON_AddNumberToObject(o, "gbps", 1e-9 * result->c->bytes / times->median);
    cJSON_AddNumberToObject(o, "tflops", 1e-12 * result->c->flops / times->median);
    cJSON_AddStringToObject(o, "bound", stand.bound);
    add_number(o, "percent_of_roofline", stand.percent);
    if (stand.read > 0) cJSON_AddNumberToObject(o, "percent_of_read", stand.read);
}

/* What the case's launches cost without its work. */
static void add_bare(cJSON *o, const bench_result *result)
{
    if (!result->bare) return;
    cJSON_AddNumberToObject(o, "launches", result->launches);
    cJSON_AddNumberToObject(o, "empty", result->bare[0].times.median);
    cJSON_AddNumberToObject(o, "touch", result->bare[1].times.median);
}

/* The fastest peer, or NULL. */
static const bench_entry *best_peer(const bench_result *result)
{
    const bench_entry *best = NULL;
    for (int i = result->ours; i < result->count; i++) {
        const bench_entry *e = &result->entries[i];
        if (e->status == TRINE_OK && (!best || e->times.median < best->times.median)) best = e;
    }
    return best;
}

static void add_peers(cJSON *o, const bench_result *result, const bench_entry *own)
{
    const bench_entry *best = best_peer(result);
    if (!best) return;
    cJSON_AddStringToObject(o, "peer", best->name);
    cJSON_AddNumberToObject(o, "ratio", best->times.median / own->times.median);
    cJSON *list = cJSON_AddArrayToObject(o, "peers");
    for (int i = result->ours; i < result->count; i++) {
        const bench_entry *e = &result->entries[i];
        cJSON *peer = e->status == TRINE_OK ? cJSON_CreateObject() : NULL;
        if (!peer) continue;
        cJSON_AddStringToObject(peer, "name", e->name);
        cJSON_AddNumberToObject(peer, "ratio", e->times.median / own->times.median);
        add_times(peer, result, &e->times);
        cJSON_AddItemToArray(list, peer);
    }
}

static void write_result(const bench_report *r, const bench_result *result, int i)
{
    const bench_entry *e = &result->entries[i];
    cJSON *o = case_object(result->where, result->c, "ok");
    cJSON_AddStringToObject(o, "variant", e->name);
    cJSON_AddBoolToObject(o, "winner", i == result->winner);
    cJSON_AddNumberToObject(o, "worst_error", e->worst);
    if (result->modelled) { /* no member that stands for a measured time */
        cJSON_AddItemToObject(o, "modelled", bench_modelled_object(&e->modelled));
    } else {
        add_times(o, result, &e->times);
        add_paces(o, result);
        add_bare(o, result);
        add_peers(o, result, e);
    }
    write_line(r, o);
}

/* ---- Table ---- */

void bench_report_target(const bench_report *r, const target *t, const bench_roofline *roof)
{
    char copy[FORMAT_TEXT], read[FORMAT_TEXT], fma[FORMAT_TEXT];
    printf("\n%s: %s (%s, %s)\n", t->backend, t->props.name, t->props.arch, t->props.driver);
    if (bench_is_modelled(t)) {
        bench_modelled_heading();
        return;
    }
    printf("roofline: copy %s, read %s, f32 multiply-add %s\n", format_rate(roof->copy.median, copy),
           format_rate(roof->read.median, read), format_flops(roof->fma.median, fma));
    printf("%-48s %-14s %9s %6s %8s %8s %7s %-7s%s\n", "case", "variant", "median", "+-", "GB/s", "TFLOP/s", "% roof", "bound",
           r->peers ? "   ratio" : "");
}

static void print_row(const bench_report *r, const bench_result *result, int i, bool first)
{
    const bench_entry *e = &result->entries[i], *peer = i < result->ours ? best_peer(result) : NULL;
    const bench_times *t = &e->times;
    bench_standing stand = bench_stand(result->roof, result->c, t->median);
    char time[FORMAT_TEXT], rate[FORMAT_TEXT], flops[FORMAT_TEXT], percent[FORMAT_TEXT], graph[FORMAT_TEXT], empty[FORMAT_TEXT],
        touch[FORMAT_TEXT], name[80];
    snprintf(name, sizeof name, "%s%s", i < result->ours ? "" : "peer ", e->name[0] ? e->name : "-");
    printf("%-48s %-14s %9s %5.1f%% %8s %8s %7s %-7s", first ? result->c->name : "", name, format_time(t->median, time),
           50 * (t->p90 - t->p10) / t->median, format_number(1e-9 * result->c->bytes / t->median, 1, rate),
           format_number(1e-12 * result->c->flops / t->median, 3, flops), format_number(stand.percent, 1, percent), stand.bound);
    if (r->peers && peer) printf(" %7.2f", peer->times.median / t->median);
    if (stand.read > 0) printf("  read %.1f%%", stand.read);
    if (result->paced && first) printf("  copy %.1f", 1e-9 * result->roof->copy.median);
    if (t->graph > 0) printf("  graph %s", format_time(t->graph, graph));
    if (result->bare && first) printf("  %d empty %s", result->launches, format_time(result->bare[0].times.median, empty));
    if (result->bare && first) printf(" touch %s", format_time(result->bare[1].times.median, touch));
    printf("\n");
}

void bench_report_result(const bench_report *r, const bench_result *result)
{
    bool first = true;
    for (int i = 0; i < result->count; i++) {
        if (result->entries[i].status != TRINE_OK) continue;
        if (result->modelled)
            bench_modelled_row(result->c, &result->entries[i]);
        else
            print_row(r, result, i, first);
        first = false;
        if (i < result->ours) write_result(r, result, i);
    }
    fflush(stdout);
}

void bench_report_missing(const bench_report *r, const target *t, const test_case *c, const char *what, const char *why)
{
    cJSON *o = case_object(t, c, what);
    cJSON_AddStringToObject(o, "why", why);
    printf("%-48s %s: %s\n", c->name, what, why);
    fflush(stdout);
    write_line(r, o);
}

void bench_report_overhead(const bench_report *r, const target *t, const bench_overhead *o)
{
    const struct {
        const char *name;
        double seconds;
    } rows[] = {{"empty kernel", o->empty}, {"add of one element", o->op}, {"query of the same", o->query}};
    char text[FORMAT_TEXT];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        printf("overhead: %-38s %-14s %9s a call on the host\n", rows[i].name, "", format_time(rows[i].seconds, text));
        cJSON *line = line_object(t, "ok");
        cJSON_AddStringToObject(line, "family", "overhead");
        cJSON_AddStringToObject(line, "op", "overhead");
        cJSON_AddStringToObject(line, "case", rows[i].name);
        cJSON_AddNumberToObject(line, "median", rows[i].seconds);
        write_line(r, line);
    }
}
