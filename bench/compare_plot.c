/* The roofline plot: flops a byte across, flops a second up, both logarithmic; a roof and the cases' points for each target. */
#include <math.h>
#include <string.h>

#include "bench/compare.h"

enum { WIDTH = 900, HEIGHT = 460, LEFT = 80, RIGHT = 20, TOP = 20, BOTTOM = 50 };

/* Decades. */
typedef struct frame {
    double x0, x1, y0, y1;
} frame;

static double across(const frame *f, double value)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (log10(value) - f->x0) / (f->x1 - f->x0);
}

static double up(const frame *f, double value)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (log10(value) - f->y0) / (f->y1 - f->y0);
}

static bool point_of(const cJSON *cell, double *intensity, double *flops)
{
    double bytes = cell ? results_number(cell, "bytes") : 0, work = cell ? results_number(cell, "flops") : 0;
    if (bytes <= 0 || work <= 0 || results_modelled(cell)) return false;
    *intensity = work / bytes;
    *flops = work / results_number(cell, "median");
    return true;
}

static double copy_of(const results_column *c) { return results_number(c->target, "copy_bytes_per_second"); }

static double fma_of(const results_column *c) { return results_number(c->target, "fma_f32_flops_per_second"); }

static void include(double *low, double *high, double value)
{
    if (value <= 0) return;
    if (floor(log10(value)) < *low) *low = floor(log10(value));
    if (ceil(log10(value)) > *high) *high = ceil(log10(value));
}

/* Whole decades around all points and roofs; false without a point. */
static bool fit(const results *r, frame *f)
{
    bool any = false;
    *f = (frame){99, -99, 99, -99};
    for (int k = 0; k < r->rows; k++)
        for (int i = 0; i < r->columns; i++) {
            double intensity, flops;
            if (!point_of(r->row[k].cell[i], &intensity, &flops)) continue;
            include(&f->x0, &f->x1, intensity);
            include(&f->y0, &f->y1, flops);
            any = true;
        }
    for (int i = 0; i < r->columns && any; i++) {
        if (copy_of(&r->column[i]) > 0) include(&f->x0, &f->x1, fma_of(&r->column[i]) / copy_of(&r->column[i]));
        include(&f->y0, &f->y1, fma_of(&r->column[i]));
    }
    if (f->x1 == f->x0) f->x1++;
    if (f->y1 == f->y0) f->y1++;
    return any;
}

static void put_axes(const frame *f, FILE *to)
{
    char text[FORMAT_TEXT];
    for (double x = f->x0; x <= f->x1; x++) {
        double at = across(f, pow(10, x));
        fprintf(to, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, TOP, HEIGHT - BOTTOM);
        fprintf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", at, HEIGHT - BOTTOM + 18, pow(10, x));
    }
    for (double y = f->y0; y <= f->y1; y++) {
        double at = up(f, pow(10, y));
        fprintf(to, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT, at, at);
        fprintf(to, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 6, at + 4,
                format_flops(pow(10, y), text));
    }
    fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">flops a byte</text>\n", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10);
}

/* The slope of the copy bandwidth up to the multiply-add ceiling, clipped to the frame. */
static void put_roof(const frame *f, const results_column *c, int i, FILE *to)
{
    double copy = copy_of(c), fma = fma_of(c), left = pow(10, f->x0), right = pow(10, f->x1), floor_at = pow(10, f->y0);
    if (copy <= 0) return;
    double begin = left * copy < floor_at ? floor_at / copy : left;
    double ridge = fma > 0 ? fma / copy : right;
    if (ridge < begin) ridge = begin;
    double top = pow(10, f->y1), end = ridge > right ? right : ridge;
    if (fma <= 0 && end * copy > top) end = top / copy;
    fprintf(to, "<polyline class=\"roof\" style=\"stroke: var(--c%d)\" points=\"%.1f,%.1f %.1f,%.1f", i % 6, across(f, begin),
            up(f, begin * copy), across(f, end), up(f, end * copy));
    if (fma > 0) fprintf(to, " %.1f,%.1f", across(f, right), up(f, end * copy));
    fprintf(to, "\"/>\n");
}

static void put_points(const frame *f, const results *r, int i, FILE *to)
{
    for (int k = 0; k < r->rows; k++) {
        double intensity, flops;
        char time[FORMAT_TEXT], rate[FORMAT_TEXT];
        const cJSON *cell = r->row[k].cell[i];
        if (!point_of(cell, &intensity, &flops)) continue;
        fprintf(to, "<circle class=\"point\" style=\"fill: var(--c%d)\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s: ", i % 6,
                across(f, intensity), up(f, flops), r->column[i].letter);
        compare_put_text(to, r->row[k].name);
        fprintf(to, ", %s, %s</title></circle>\n", format_time(results_number(cell, "median"), time), format_flops(flops, rate));
    }
}

void compare_roofline_svg(const results *r, FILE *to)
{
    frame f;
    if (!fit(r, &f)) return;
    fprintf(to, "<h2>Roofline</h2>\n<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\"", WIDTH, HEIGHT, WIDTH,
            HEIGHT);
    fprintf(to, " aria-label=\"Roofline plot\">\n");
    put_axes(&f, to);
    for (int i = 0; i < r->columns; i++) put_roof(&f, &r->column[i], i, to);
    for (int i = 0; i < r->columns; i++) put_points(&f, r, i, to);
    for (int i = 0; i < r->columns; i++) {
        fprintf(to, "<text x=\"%d\" y=\"%d\" style=\"fill: var(--c%d)\">%s ", LEFT + 12, TOP + 18 + 16 * i, i % 6,
                r->column[i].letter);
        compare_put_text(to, results_text(r->column[i].target, "name"));
        fprintf(to, " (");
        compare_put_text(to, results_text(r->column[i].target, "arch"));
        fprintf(to, ")</text>\n");
    }
    fprintf(to, "</svg>\n<p class=\"note\">Roofs: copy bandwidth and f32 multiply-adds. Matrix units go above the flat part; "
                "cases without flops are in the tables only.</p>\n");
}
