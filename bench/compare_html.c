/* The page of trine compare. Text from files is escaped wherever it goes into the page. */
#include <errno.h>
#include <string.h>

#include "bench/compare.h"

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Trine: benches compared</title>\n<style>\n"
    ":root { color-scheme: light dark; --page: #fff; --ink: #1d2127; --faint: #6b7280; --line: #d5d9e0; --bar: #c7dcf5;\n"
    "  --c0: #1f6fc4; --c1: #d1580b; --c2: #16834a; --c3: #9333ca; --c4: #c81e4b; --c5: #8a6d00; }\n"
    "@media (prefers-color-scheme: dark) { :root { --page: #14171c; --ink: #e6e9ee; --faint: #98a1ae; --line: #363c46;\n"
    "  --bar: #254566;\n"
    "  --c0: #63a9f5; --c1: #f79a4e; --c2: #4cc783; --c3: #c58af5; --c4: #fb7a99; --c5: #dbbd3c; } }\n"
    "body { background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;\n"
    "  max-width: 76rem; padding: 0 1rem; }\n"
    "h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }\n"
    ".wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }\n"
    "th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: right; }\n"
    "th { color: var(--faint); font-weight: 600; }\n"
    "th:first-child, td:first-child, .text { text-align: left; } .note { color: var(--faint); }\n"
    ".share { background: linear-gradient(to right, var(--bar) var(--part), transparent var(--part)); }\n"
    "svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }\n"
    ".grid { stroke: var(--line); } .roof { fill: none; stroke-width: 2; } .point { fill-opacity: .8; }\n"
    "</style>\n</head>\n<body>\n<h1>Trine: benches compared</h1>\n";

void compare_put_text(FILE *to, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '"': fputs("&quot;", to); break;
        default: fputc(*text, to);
        }
    }
}

static void put_cell(FILE *to, const char *class, const char *text)
{
    fprintf(to, "<td class=\"%s\">", class);
    compare_put_text(to, text);
    fprintf(to, "</td>");
}

/* ---- What is compared ---- */

static void put_targets(const results *r, FILE *to)
{
    static const char *const members[] = {"backend", "name", "arch", "driver"};
    fprintf(to, "<div class=\"wide\"><table>\n<tr><th></th>");
    for (size_t k = 0; k < sizeof members / sizeof members[0]; k++) fprintf(to, "<th class=\"text\">%s</th>", members[k]);
    fprintf(to, "<th>copy</th><th>f32 multiply-add</th><th class=\"text\">file</th><th class=\"text\">commit</th></tr>\n");
    for (int i = 0; i < r->columns; i++) {
        const results_column *c = &r->column[i];
        char text[FORMAT_TEXT];
        fprintf(to, "<tr><td style=\"color: var(--c%d)\"><b>%s</b></td>", i % 6, c->letter);
        for (size_t k = 0; k < sizeof members / sizeof members[0]; k++) put_cell(to, "text", results_text(c->target, members[k]));
        put_cell(to, "number", format_rate(results_number(c->target, "copy_bytes_per_second"), text));
        put_cell(to, "number", format_flops(results_number(c->target, "fma_f32_flops_per_second"), text));
        put_cell(to, "text", c->file);
        put_cell(to, "text", results_text(c->header, "commit"));
        fprintf(to, "</tr>\n");
    }
    fprintf(to,
            "</table></div>\n<p class=\"note\">Times are medians with cold caches; %% roof is of each device's own roofline, "
            "measured in the same run; speed is relative to A, larger is faster. Times with ~ are modelled by a simulator, not "
            "measured: they are not compared with measured ones.</p>\n");
}

/* ---- Tables ---- */

static void put_heading(const results *r, const char *family, FILE *to)
{
    fprintf(to, "<h2>");
    compare_put_text(to, family);
    fprintf(to, "</h2>\n<div class=\"wide\"><table>\n<tr><th>case</th>");
    for (int i = 0; i < r->columns; i++)
        fprintf(to, "<th class=\"text\">%s</th><th>time</th><th>rate</th><th>%% roof</th>%s", r->column[i].letter,
                i ? "<th>speed</th>" : "");
    fprintf(to, "</tr>\n");
}

static void put_result(const results_row *row, int i, FILE *to)
{
    const cJSON *cell = row->cell[i];
    char text[FORMAT_TEXT];
    if (!cell) {
        fprintf(to, "<td class=\"text\">-</td><td>-</td><td>-</td><td>-</td>");
    } else {
        double percent = results_number(cell, "percent_of_roofline");
        put_cell(to, "text", results_text(cell, "variant"));
        put_cell(to, "number", compare_time(cell, text));
        put_cell(to, "number", compare_rate(cell, text));
        fprintf(to, "<td class=\"share\" style=\"--part: %.1f%%\">%s</td>", percent < 100 ? percent : 100,
                format_number(percent, 1, text));
    }
    if (i) put_cell(to, "number", format_number(results_speed(row, i), 2, text));
}

static void put_geomean(const results *r, const char *family, FILE *to)
{
    fprintf(to, "<tr><td><b>geometric mean of the speeds</b></td>");
    for (int i = 0; i < r->columns; i++) {
        int rows;
        char text[FORMAT_TEXT];
        fprintf(to, "<td></td><td></td><td></td><td></td>");
        if (i) fprintf(to, "<td><b>%s</b></td>", format_number(results_geomean(r, family, i, &rows), 2, text));
    }
    fprintf(to, "</tr>\n</table></div>\n");
}

static void put_row(const results *r, const results_row *row, bool first, bool last, void *user)
{
    FILE *to = user;
    if (first) put_heading(r, row->family, to);
    fprintf(to, "<tr>");
    put_cell(to, "number", row->name);
    for (int i = 0; i < r->columns; i++) put_result(row, i, to);
    fprintf(to, "</tr>\n");
    if (last) put_geomean(r, row->family, to);
}

bool compare_html(const results *r, const char *path)
{
    FILE *to = fopen(path, "w");
    if (!to) {
        fprintf(stderr, "trine compare: %s: %s\n", path, strerror(errno));
        return false;
    }
    fputs(head, to);
    put_targets(r, to);
    compare_roofline_svg(r, to);
    results_each(r, put_row, to);
    fprintf(to, "</body>\n</html>\n");
    bool written = !ferror(to);
    written = fclose(to) == 0 && written;
    if (!written) fprintf(stderr, "trine compare: %s could not be written\n", path);
    return written;
}
