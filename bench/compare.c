/* trine compare: results of several benches side by side. Cases are joined by op and name; of each, the variant that ran by
 * itself counts. */
#include "bench/compare.h"

#include <getopt.h>
#include <string.h>

#include "tools/commands.h"

const char *compare_time(const cJSON *cell, char text[FORMAT_TEXT])
{
    char time[FORMAT_TEXT];
    snprintf(text, FORMAT_TEXT, "%s%.20s", results_modelled(cell) ? "~" : "", format_time(results_seconds(cell), time));
    return text;
}

const char *compare_rate(const cJSON *cell, char text[FORMAT_TEXT])
{
    bool compute = strcmp(results_text(cell, "bound"), "compute") == 0;
    return compute ? format_flops(1e12 * results_number(cell, "tflops"), text)
                   : format_rate(1e9 * results_number(cell, "gbps"), text);
}

/* ---- Text ---- */

static void print_columns(const results *r)
{
    for (int i = 0; i < r->columns; i++) {
        const results_column *c = &r->column[i];
        char copy[FORMAT_TEXT], fma[FORMAT_TEXT];
        printf("%s  %s %s (%s, %s): copy %s, f32 multiply-add %s\n", c->letter, results_text(c->target, "backend"),
               results_text(c->target, "name"), results_text(c->target, "arch"), results_text(c->target, "driver"),
               format_rate(results_number(c->target, "copy_bytes_per_second"), copy),
               format_flops(results_number(c->target, "fma_f32_flops_per_second"), fma));
        if (c->modelled)
            printf("   a simulator: its times (~) are modelled, not measured, and are not compared with measured ones\n");
        printf("   %s: trine %s, commit %s, %s\n", c->file, results_text(c->header, "version"), results_text(c->header, "commit"),
               results_text(c->header, "date"));
    }
}

static void print_heading(const results *r, const char *family)
{
    printf("\n%-48s", family);
    for (int i = 0; i < r->columns; i++)
        printf(" | %-10s %9s %12s %6s%s", r->column[i].letter, "time", "rate", "% roof", i ? "  speed" : "");
    printf("\n");
}

static void print_cell(const results_row *row, int i)
{
    const cJSON *cell = row->cell[i];
    char time[FORMAT_TEXT], rate[FORMAT_TEXT], percent[FORMAT_TEXT], speed[FORMAT_TEXT];
    printf(" | %-10.10s %9s %12s %6s", cell ? results_text(cell, "variant") : "-", cell ? compare_time(cell, time) : "-",
           cell ? compare_rate(cell, rate) : "-",
           cell ? format_number(results_number(cell, "percent_of_roofline"), 1, percent) : "-");
    if (i) printf(" %6s", format_number(results_speed(row, i), 2, speed));
}

static void print_geomean(const results *r, const char *family, const char *label)
{
    for (int i = 1; i < r->columns; i++) {
        int rows;
        double mean = results_geomean(r, family, i, &rows);
        if (rows)
            printf("%s: %s runs at %.3f times the %sspeed of %s (geometric mean of %d cases)\n", label, r->column[i].letter, mean,
                   r->column[i].modelled ? "modelled " : "", r->column[0].letter, rows);
    }
}

static void print_row(const results *r, const results_row *row, bool first, bool last, void *user)
{
    (void)user;
    if (first) print_heading(r, row->family);
    printf("%-48s", row->name);
    for (int i = 0; i < r->columns; i++) print_cell(row, i);
    printf("\n");
    if (last) print_geomean(r, row->family, row->family);
}

static void print_table(const results *r)
{
    print_columns(r);
    results_each(r, print_row, NULL);
    printf("\n");
    print_geomean(r, NULL, "all");
}

/* ---- The command ---- */

static const char usage[] =
    "usage: trine compare [--html FILE] A.json [B.json ...]\n"
    "  the files are what trine bench --json writes; speeds are relative to the first target of the first file\n"
    "  --html FILE   also write a page with the tables and a roofline plot\n";

static int compare_files(int count, char **paths, const char *html)
{
    results r = {0};
    bool right = true;
    for (int i = 0; i < count && right; i++) right = results_read(&r, paths[i]);
    if (right) print_table(&r);
    if (right && html) right = compare_html(&r, html);
    results_free(&r);
    return right ? 0 : 1;
}

int command_compare(int argc, char **argv)
{
    static const struct option longs[] = {{"html", 1, NULL, 'H'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const char *html = NULL;
    bool right = true, help = false;
    for (int key; (key = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (key == 'H')
            html = optarg;
        else if (key == 'h')
            help = true;
        else
            right = false;
    }
    if (!right || help || optind == argc) {
        fputs(usage, help ? stdout : stderr);
        return help ? 0 : 2;
    }
    return compare_files(argc - optind, argv + optind, html);
}
