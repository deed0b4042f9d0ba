/* The page that trine compare writes. */
#ifndef TRINE_BENCH_COMPARE_H
#define TRINE_BENCH_COMPARE_H

#include <stdio.h>

#include "bench/format.h"
#include "bench/results.h"

/* "2.93 TB/s" or "686 TFLOP/s", by what bounds the case; "-" for a result that has neither (an overhead). */
const char *compare_time(const cJSON *cell, char text[FORMAT_TEXT]); /* "1.23 us", "~1.23 us" if it is modelled */
const char *compare_rate(const cJSON *cell, char text[FORMAT_TEXT]);

/* One HTML file that needs no other: roofline plot and tables, readable on light and on dark. False if it can't be written. */
bool compare_html(const results *r, const char *path);
/* Text with HTML's special characters escaped. */
void compare_put_text(FILE *to, const char *text);
/* The plot alone, as an SVG element in the page; nothing if no case has both bytes and flops. */
void compare_roofline_svg(const results *r, FILE *to);

#endif
