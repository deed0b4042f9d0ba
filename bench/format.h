/* How numbers are written for people. */
#ifndef TRINE_BENCH_FORMAT_H
#define TRINE_BENCH_FORMAT_H

enum { FORMAT_TEXT = 24 };

/* "3.21 us", with three digits or more and the unit that suits; "-" for 0. */
const char *format_time(double seconds, char text[FORMAT_TEXT]);
/* A number with `digits` after the point; "-" for 0, which stands for "not known". */
const char *format_number(double value, int digits, char text[FORMAT_TEXT]);
/* Bytes a second with their unit, "3.00 TB/s". */
const char *format_rate(double bytes_per_second, char text[FORMAT_TEXT]);
/* Flops a second with their unit, "51.9 TFLOP/s". */
const char *format_flops(double flops_per_second, char text[FORMAT_TEXT]);

#endif
