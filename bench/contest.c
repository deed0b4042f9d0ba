/* One case on one target: ours and the peers are checked, then timed in turn. */
#include "bench/bare.h"
#include "bench/bench.h"
#include "bench/peers/peer.h"

/* A prime number of elements: rows of large inputs then differ from each other. */
enum { REPEAT = 1048573, SHORT_KERNEL_US = 20 };

/* ---- The entries of a case ---- */

typedef struct contest {
    bench_data data;
    bench_entry entries[BENCH_TIMED]; /* behind the `count` ones the paces, when they are timed */
    char names[BENCH_ENTRIES][64];
    const bench_peer *peers[BENCH_ENTRIES]; /* NULL for ours */
    int count, ours, winner;
} contest;

static trine_status run_ours(void *state, trine_stream *stream)
{
    const bench_data *d = state;
    return trine_run(stream, d->c->op, d->args);
}

/* Runs an entry once from poisoned outputs and judges it. */
static bool entry_checks(const contest *k, bench_entry *e, const bench_options *opt, char why[BENCH_TEXT])
{
    trine_status status = bench_data_reset(&k->data);
    if (status == TRINE_OK) status = e->run(e->state, e->stream);
    if (status == TRINE_OK) status = trine_stream_synchronize(e->stream);
    if (status == TRINE_OK) return bench_data_check(&k->data, opt->budget, &e->worst, why);
    snprintf(why, BENCH_TEXT, "%s: %.400s", trine_status_name(status), trine_error_text());
    return false;
}

/* Adds the entry if it checks. */
static bool add_entry(contest *k, const bench_options *opt, const char *name, trine_stream *stream, bench_run run, void *state,
                      char why[BENCH_TEXT])
{
    bench_entry *e = &k->entries[k->count];
    snprintf(k->names[k->count], sizeof k->names[0], "%s", name);
    *e = (bench_entry){.name = k->names[k->count], .stream = stream, .run = run, .state = state};
    if (!entry_checks(k, e, opt, why)) return false;
    k->count++;
    return true;
}

static void report_failed(bench_session *s, const target *t, const test_case *c, const char *variant, const char *why)
{
    char text[2 * BENCH_TEXT];
    snprintf(text, sizeof text, "%s%s%s%s", variant[0] ? "[" : "", variant, variant[0] ? "] " : "", why);
    bench_report_missing(&s->report, t, c, "failed", text);
    s->failed++;
}

/* Ours: what would run by itself, or one variant, or all that accept the case. */
static void add_ours(bench_session *s, contest *k, target *t, const trine_query_result *answer)
{
    const char *wanted = s->opt->variant;
    char list[sizeof answer->accepted], why[BENCH_TEXT], *rest = NULL;
    snprintf(list, sizeof list, "%s", answer->variant[0] == '\0' ? "default" : wanted ? answer->accepted : answer->variant);
    bool several = strchr(answer->accepted, ',') != NULL;
    k->winner = -1;
    for (char *name = strtok_r(list, ",", &rest); name && k->count < BENCH_ENTRIES; name = strtok_r(NULL, ",", &rest)) {
        bool wins = answer->variant[0] == '\0' || strcmp(name, answer->variant) == 0;
        if (wanted && strcmp(wanted, "all") != 0 && strcmp(wanted, name) != 0) continue;
        trine_stream *stream = several && !wins ? target_stream(t, name) : t->stream;
        if (!stream) {
            report_failed(s, t, k->data.c, name, trine_error_text());
        } else if (!add_entry(k, s->opt, name, stream, run_ours, &k->data, why)) {
            report_failed(s, t, k->data.c, name, why);
        } else if (wins) {
            k->winner = k->count - 1;
        }
    }
    k->ours = k->count;
}

static void add_peers(bench_session *s, contest *k, const target *t)
{
    for (int i = 0; bench_peers[i] && k->count < BENCH_ENTRIES; i++) {
        const bench_peer *peer = bench_peers[i];
        void *state = NULL;
        char why[BENCH_TEXT] = "";
        if (strcmp(peer->backend, t->props.backend) != 0) continue;
        trine_status status = peer->prepare(t->stream, k->data.c, k->data.args, &state, why, sizeof why);
        if (status == TRINE_OK) {
            k->peers[k->count] = peer;
            if (add_entry(k, s->opt, peer->name, t->stream, peer->run, state, why)) continue;
            k->peers[k->count] = NULL;
            peer->finish(state);
        }
        if (status != TRINE_ERROR_UNSUPPORTED) fprintf(stderr, "peer %s left out of %s: %s\n", peer->name, k->data.c->name, why);
    }
}

static void finish_peers(contest *k)
{
    for (int i = 0; i < k->count; i++)
        if (k->peers[i]) k->peers[i]->finish(k->entries[i].state);
}

/* ---- One case ---- */

/* Behind the entries come the paces, then the bare launches; result says how many. */
static bench_roofline measure(bench_session *s, contest *k, const target *t, bench_result *result)
{
    bool cpu = bench_on_cpu(t), small = k->data.c->bytes <= 4 * (double)t->props.l2_bytes;
    bench_entry *paces = k->entries + k->count;
    int paced = bench_pace_add(&s->pace, s->roof, t, k->data.c, paces);
    bench_entry *own = &k->entries[k->winner < 0 ? 0 : k->winner], *empty = paces + paced;
    bench_bare *bare = s->opt->sizes ? bench_bare_create(own, t) : NULL;
    const int bares = bench_bare_add(bare, own->stream, empty);
    bench_time(k->entries, k->count + paced + bares, !cpu || small ? &s->flush : NULL, s->opt->seconds);
    for (int i = 0; i < k->count && !cpu; i++)
        if (k->entries[i].status == TRINE_OK && k->entries[i].times.median < 1e-6 * SHORT_KERNEL_US)
            bench_time_graph(&k->entries[i]);
    for (int i = 0; i < paced; i++)
        if (paces[i].status != TRINE_OK) paced = i;
    result->paced = paced;
    result->launches = bench_bare_launches(bare);
    if (bares == BENCH_BARE && empty[0].status == TRINE_OK && empty[1].status == TRINE_OK) result->bare = empty;
    bench_bare_destroy(bare);
    return bench_pace_roofline(&s->pace, s->roof, paces, paced);
}

static void time_contest(bench_session *s, contest *k, target *t)
{
    bench_roofline roof = *s->roof;
    bench_result result = {.where = t,
                           .c = k->data.c,
                           .roof = &roof,
                           .entries = k->entries,
                           .ours = k->ours,
                           .count = k->count,
                           .winner = k->winner,
                           .modelled = s->modelled};
    if (s->modelled)
        for (int i = 0; i < k->count; i++) bench_model(&k->entries[i], t, k->data.c);
    else
        roof = measure(s, k, t, &result);
    bench_report_result(&s->report, &result);
    for (int i = 0; i < k->ours; i++) {
        if (k->entries[i].status == TRINE_OK)
            s->timed++;
        else
            report_failed(s, t, k->data.c, k->entries[i].name, trine_status_name(k->entries[i].status));
    }
}

static void run_contest(bench_session *s, contest *k, target *t)
{
    trine_query_result answer;
    const test_case *c = k->data.c;
    trine_status status = trine_query(t->stream, c->op, k->data.args, &answer);
    if (status == TRINE_ERROR_UNSUPPORTED && c->may_refuse) {
        bench_report_missing(&s->report, t, c, "refused", answer.why);
        s->skipped++;
    } else if (status != TRINE_OK) {
        report_failed(s, t, c, "", trine_error_text());
    } else {
        add_ours(s, k, t, &answer);
        if (!s->opt->no_peers && !s->modelled && k->ours) add_peers(s, k, t);
        if (k->ours) time_contest(s, k, t);
        finish_peers(k);
    }
}

void bench_run_case(bench_session *s, target *t, test_case *c)
{
    static contest k; /* large */
    char why[BENCH_TEXT];
    double bytes = bench_data_bytes(c), room = bench_memory_free(t) - (double)s->flush.bytes;
    memset(&k, 0, sizeof k);
    trine_status status = TRINE_ERROR_OUT_OF_MEMORY;
    snprintf(why, sizeof why, "%.1f GB of memory are needed, %.1f GB are there", 1e-9 * bytes, 1e-9 * room);
    if (bytes <= room && case_prepare(c, REPEAT)) {
        status = bench_data_create(&k.data, t->stream, c);
        if (status != TRINE_OK) snprintf(why, sizeof why, "%s", trine_error_text());
    }
    if (status == TRINE_OK) {
        run_contest(s, &k, t);
    } else if (status == TRINE_ERROR_OUT_OF_MEMORY) {
        bench_report_missing(&s->report, t, c, "skipped", why);
        s->skipped++;
    } else {
        report_failed(s, t, c, "", why);
    }
    bench_data_destroy(&k.data);
    case_release(c);
}
