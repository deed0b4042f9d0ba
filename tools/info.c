/* trine info: devices, backends found or why not, and what would run for every op and dtype.
 *
 * The table is made by trine_query, which is the code that runs: it can't promise what a call would refuse. A backend without a
 * device is asked about devices that need not be there. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/driver/targets.h"
#include "tools/commands.h"
#include "tools/describe.h"
#include "tools/survey.h"

enum { BACKENDS = 8, STATUS_MISSING = 3 };

typedef struct options {
    const char *backend, *arch;
    bool json, markdown, help;
} options;

typedef struct backend_info {
    const char *name;
    int32_t devices;
    char why[512]; /* why there is none */
} backend_info;

typedef struct machine {
    backend_info backend[BACKENDS];
    int backends;
    target column[SURVEY_COLUMNS];
    trine_stream *stream[SURVEY_COLUMNS];
    bool assumed[SURVEY_COLUMNS]; /* not a device of this machine */
    int columns;
} machine;

/* ---- What is there ---- */

/* Whose an arch is. */
static const char *backend_of_arch(const char *arch)
{
    static const char *const prefixes[][2] = {{"sm_", "cuda"}, {"gfx", "hip"}, {"x86-64-", "cpu"}, {"generic", "cpu"}};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(arch, prefixes[i][0], strlen(prefixes[i][0])) == 0) return prefixes[i][1];
    return NULL;
}

static bool add_column(machine *m, const char *backend, const char *arch)
{
    target *t = &m->column[m->columns];
    if (m->columns == SURVEY_COLUMNS || !targets_open(t, backend, arch, NULL)) return false;
    m->stream[m->columns] = t->stream;
    m->assumed[m->columns] = arch && strcmp(t->props.backend, "cpu") != 0;
    m->columns++;
    return true;
}

/* The archs that a plugin is asked about when the machine has no device for it. */
static void add_assumed(machine *m, const char *backend)
{
    static const char *const archs[] = {"sm_80", "sm_90", "gfx90a", "gfx942", "gfx1100", "gfx1200"};
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (strcmp(backend_of_arch(archs[i]), backend) == 0) add_column(m, backend, archs[i]);
}

/* The last error, without the backend's name before it. */
static void keep_reason(backend_info *b)
{
    const char *text = trine_error_text();
    size_t length = strlen(b->name);
    if (strncmp(text, b->name, length) == 0 && strncmp(text + length, ": ", 2) == 0) text += length + 2;
    snprintf(b->why, sizeof b->why, "%s", text);
}

static void add_backend(machine *m, const char *name, bool columns)
{
    backend_info *b = &m->backend[m->backends++];
    b->name = name;
    trine_status status = trine_device_count(name, &b->devices);
    if (status == TRINE_OK && b->devices == 0) snprintf(b->why, sizeof b->why, "no device");
    if (status != TRINE_OK) keep_reason(b);
    if (!columns) return;
    for (int32_t i = 0; i < b->devices; i++) {
        char word[32];
        snprintf(word, sizeof word, "%s:%d", name, (int)i);
        if (!add_column(m, word, NULL)) keep_reason(b);
    }
    if (b->devices == 0) add_assumed(m, name);
}

/* Columns of a comma-separated list of archs. */
static bool add_archs(machine *m, const char *list)
{
    char words[256], *rest = NULL;
    snprintf(words, sizeof words, "%s", list);
    for (char *word = strtok_r(words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        const char *backend = backend_of_arch(word);
        if (backend && add_column(m, backend, word)) continue;
        fprintf(stderr, "trine info: %s: %s\n", word,
                backend ? trine_error_text() : "of which backend is that? sm_*, gfx*, x86-64-*");
        return false;
    }
    return true;
}

static bool look_around(machine *m, const options *opt)
{
    if (opt->backend && strchr(opt->backend, ':') && !add_column(m, opt->backend, NULL)) {
        fprintf(stderr, "trine info: %s\n", trine_error_text());
        return false;
    }
    size_t length = opt->backend ? strcspn(opt->backend, ":") : 0;
    for (int32_t i = 0; trine_backend_name(i) && m->backends < BACKENDS; i++) {
        const char *name = trine_backend_name(i);
        bool wanted = !opt->backend || (strlen(name) == length && strncmp(opt->backend, name, length) == 0);
        if (wanted) add_backend(m, name, !opt->arch && !(opt->backend && opt->backend[length]));
    }
    if (m->backends == 0) fprintf(stderr, "trine info: no backend is called '%s'\n", opt->backend);
    return m->backends && (!opt->arch || add_archs(m, opt->arch));
}

/* ---- Text ---- */

static void print_device(const target *t)
{
    const trine_device_props *p = &t->props;
    printf("  %-8s %s (%s), %s\n", t->backend, p->name, p->arch, p->driver);
    printf("           %d compute units, waves of %d, ", (int)p->compute_units, (int)p->wave_size);
    if (p->clock_khz) printf("%.2f GHz, ", 1e-6 * p->clock_khz);
    printf("%.1f GiB of memory, %.1f MiB of cache", (double)p->memory_bytes / (1 << 30), (double)p->l2_bytes / (1 << 20));
    if (p->shared_bytes) printf(", %.0f KiB of shared memory a block", (double)p->shared_bytes / 1024);
    printf("\n");
}

static void print_machine(const machine *m)
{
    printf("trine %s\n\nbackends\n", trine_version());
    for (int i = 0; i < m->backends; i++) {
        const backend_info *b = &m->backend[i];
        if (b->devices)
            printf("  %-8s %d device%s%s%s\n", b->name, (int)b->devices, b->devices == 1 ? "" : "s", b->why[0] ? "; " : "",
                   b->why);
        else
            printf("  %-8s %s\n", b->name, b->why);
    }
    for (int assumed = 0; assumed < 2; assumed++) {
        bool first = true;
        for (int i = 0; i < m->columns; i++) {
            if (m->assumed[i] != assumed) continue;
            if (first) printf("\n%s\n", assumed ? "assumed devices, which are not here" : "devices");
            first = false;
            print_device(&m->column[i]);
        }
    }
}

static void print_heading(const machine *m)
{
    printf("\nwhat would run: the variant for a typical call; - refuses\n  %-22s", "");
    for (int i = 0; i < m->columns; i++) printf(" %-14s", m->column[i].backend);
    printf("\n  %-22s", "op");
    for (int i = 0; i < m->columns; i++) printf(" %-14s", m->column[i].props.arch);
    printf(" dtypes\n");
}

static const char *cell_text(const survey_cell *cell) { return cell->status == TRINE_OK ? cell->answer.variant : "-"; }

static bool same_cells(const survey_row *a, const survey_row *b, int columns)
{
    for (int i = 0; i < columns; i++)
        if (strcmp(cell_text(&a->cell[i]), cell_text(&b->cell[i])) != 0) return false;
    return true;
}

/* Dtypes for which every column says the same share a line. */
static void print_op(const survey *s, const machine *m)
{
    bool printed[TRINE_DTYPE_COUNT] = {false};
    for (int r = 0; r < s->rows; r++) {
        if (printed[r]) continue;
        printf("  %-22s", r ? "" : s->op->name);
        for (int i = 0; i < m->columns; i++) printf(" %-14s", cell_text(&s->row[r].cell[i]));
        for (int like = r; like < s->rows; like++) {
            if (!same_cells(&s->row[r], &s->row[like], m->columns)) continue;
            printf(" %s", trine_dtype_name(s->row[like].dtype));
            printed[like] = true;
        }
        printf("\n");
    }
}

static void note_refusals(const survey *s, const machine *m, FILE *to)
{
    for (int r = 0; r < s->rows; r++)
        for (int i = 0; i < m->columns; i++) {
            const survey_cell *cell = &s->row[r].cell[i];
            if (cell->status == TRINE_OK) continue;
            fprintf(to, "  %s %s: %s: %s\n", m->column[i].backend, m->column[i].props.arch, s->row[r].call, cell->why);
        }
}

static int info_text(const machine *m)
{
    static survey s; /* large */
    char *text = NULL;
    size_t length = 0;
    FILE *reasons = open_memstream(&text, &length);
    if (!reasons) return 1;
    print_machine(m);
    print_heading(m);
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        survey_op(&s, (trine_op)op, m->stream, m->columns);
        print_op(&s, m);
        note_refusals(&s, m, reasons);
    }
    fclose(reasons);
    if (length) printf("\nrefused\n%s", text);
    free(text);
    return 0;
}

/* ---- JSON ---- */

static cJSON *device_object(const target *t, bool assumed)
{
    const trine_device_props *p = &t->props;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "backend", p->backend);
    cJSON_AddNumberToObject(o, "index", p->index);
    cJSON_AddBoolToObject(o, "assumed", assumed);
    describe_device(o, p);
    return o;
}

static cJSON *cell_object(const survey *s, const survey_row *row, const machine *m, int column)
{
    const survey_cell *cell = &row->cell[column];
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "family", s->op->family);
    cJSON_AddStringToObject(o, "op", s->op->name);
    cJSON_AddStringToObject(o, "dtype", trine_dtype_name(row->dtype));
    cJSON_AddStringToObject(o, "case", row->call);
    cJSON_AddStringToObject(o, "backend", m->column[column].backend);
    cJSON_AddStringToObject(o, "arch", m->column[column].props.arch);
    cJSON_AddStringToObject(o, "status", trine_status_name(cell->status));
    cJSON_AddStringToObject(o, "variant", cell->answer.variant);
    cJSON_AddStringToObject(o, "accepted", cell->answer.accepted);
    cJSON_AddNumberToObject(o, "workspace", (double)cell->answer.workspace);
    cJSON_AddStringToObject(o, "why", cell->status == TRINE_OK ? cell->answer.why : cell->why);
    return o;
}

static void add_ops(cJSON *ops, const machine *m)
{
    static survey s;
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        survey_op(&s, (trine_op)op, m->stream, m->columns);
        for (int r = 0; r < s.rows; r++)
            for (int i = 0; i < m->columns; i++) cJSON_AddItemToArray(ops, cell_object(&s, &s.row[r], m, i));
    }
}

static int info_json(const machine *m)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "version", trine_version());
    cJSON *backends = cJSON_AddArrayToObject(root, "backends"), *devices = cJSON_AddArrayToObject(root, "devices");
    for (int i = 0; i < m->backends; i++) {
        cJSON *b = cJSON_CreateObject();
        cJSON_AddStringToObject(b, "name", m->backend[i].name);
        cJSON_AddNumberToObject(b, "devices", m->backend[i].devices);
        cJSON_AddStringToObject(b, "why", m->backend[i].why);
        cJSON_AddItemToArray(backends, b);
    }
    for (int i = 0; i < m->columns; i++) cJSON_AddItemToArray(devices, device_object(&m->column[i], m->assumed[i]));
    add_ops(cJSON_AddArrayToObject(root, "ops"), m);
    char *text = cJSON_Print(root);
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return text ? 0 : 1;
}

/* ---- Markdown: the table of the README ---- */

static bool is_fp8(trine_dtype dtype) { return dtype >= TRINE_F8_E4M3FN && dtype <= TRINE_F8_E5M2FNUZ; }

/* The dtypes that a column takes; the four kinds of fp8 together are one word. */
static void print_dtypes(const survey *s, int column)
{
    int fp8 = 0;
    for (int r = 0; r < s->rows; r++) fp8 += is_fp8(s->row[r].dtype) && s->row[r].cell[column].status == TRINE_OK;
    for (int r = 0; r < s->rows; r++) {
        trine_dtype dtype = s->row[r].dtype;
        if (s->row[r].cell[column].status != TRINE_OK) continue;
        if (fp8 < 4 || !is_fp8(dtype))
            printf(" %s", trine_dtype_name(dtype));
        else if (dtype == TRINE_F8_E4M3FN)
            printf(" fp8");
    }
}

static int info_markdown(machine *m)
{
    static const char *const columns[][2] = {{"cpu", NULL}, {"cuda", "sm_90"}, {"hip", "gfx942"}};
    enum { COLUMNS = sizeof columns / sizeof columns[0] };
    static survey s;
    for (int i = 0; i < COLUMNS; i++) {
        if (add_column(m, columns[i][1] ? columns[i][0] : "cpu:0", columns[i][1])) continue;
        fprintf(stderr, "trine info: the table needs every backend: %s\n", trine_error_text());
        return STATUS_MISSING;
    }
    printf("| family | op | cpu | cuda | hip |\n|---|---|---|---|---|\n");
    const char *family = "";
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        survey_op(&s, (trine_op)op, m->stream, m->columns);
        printf("| %s | %s |", strcmp(family, s.op->family) ? s.op->family : "", s.op->name);
        family = s.op->family;
        for (int i = 0; i < COLUMNS; i++) {
            print_dtypes(&s, i);
            printf(" |");
        }
        printf("\n");
    }
    return 0;
}

/* ---- The command ---- */

static const char usage[] =
    "usage: trine info [options]\n"
    "  --backend B   cuda, hip, cpu or name:index (default: all)\n"
    "  --arch A,...  what would run on these instead: sm_90, gfx942, x86-64-v3; cuda and hip devices need not be there\n"
    "  --json        everything as one JSON object\n"
    "  --markdown    the table of ops and dtypes; exit status 3 if a backend's plugin is not there\n";

static bool parse(int argc, char **argv, options *opt)
{
    static const struct option longs[] = {{"backend", 1, NULL, 'b'},  {"arch", 1, NULL, 'a'}, {"json", 0, NULL, 'j'},
                                          {"markdown", 0, NULL, 'm'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    *opt = (options){0};
    for (int key; (key = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (key) {
        case 'b': opt->backend = optarg; break;
        case 'a': opt->arch = optarg; break;
        case 'j': opt->json = true; break;
        case 'm': opt->markdown = true; break;
        case 'h': opt->help = true; break;
        default: return false;
        }
    }
    return optind == argc;
}

int command_info(int argc, char **argv)
{
    static machine m; /* large */
    options opt;
    if (!parse(argc, argv, &opt) || opt.help) {
        fputs(usage, opt.help ? stdout : stderr);
        return opt.help ? 0 : 2;
    }
    int result = 1;
    if (opt.markdown)
        result = info_markdown(&m);
    else if (look_around(&m, &opt))
        result = opt.json ? info_json(&m) : info_text(&m);
    targets_close(m.column, m.columns);
    return result;
}
