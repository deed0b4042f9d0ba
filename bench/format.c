#include "bench/format.h"

#include <stdio.h>

typedef struct unit {
    double scale;
    const char *name;
} unit;

/* units: largest first; the last one serves everything smaller. */
static const char *format_unit(double value, const unit *units, int count, char text[FORMAT_TEXT])
{
    int i = 0;
    if (value <= 0) return "-";
    while (i < count - 1 && value < units[i].scale) i++;
    double scaled = value / units[i].scale;
    snprintf(text, FORMAT_TEXT, "%.*f %s", scaled < 10 ? 2 : scaled < 100 ? 1 : 0, scaled, units[i].name);
    return text;
}

const char *format_time(double seconds, char text[FORMAT_TEXT])
{
    static const unit units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    return format_unit(seconds, units, 4, text);
}

const char *format_rate(double bytes_per_second, char text[FORMAT_TEXT])
{
    static const unit units[] = {{1e12, "TB/s"}, {1e9, "GB/s"}, {1e6, "MB/s"}};
    return format_unit(bytes_per_second, units, 3, text);
}

const char *format_flops(double flops_per_second, char text[FORMAT_TEXT])
{
    static const unit units[] = {{1e12, "TFLOP/s"}, {1e9, "GFLOP/s"}, {1e6, "MFLOP/s"}};
    return format_unit(flops_per_second, units, 3, text);
}

const char *format_number(double value, int digits, char text[FORMAT_TEXT])
{
    if (value == 0) return "-";
    snprintf(text, FORMAT_TEXT, "%.*f", digits, value);
    return text;
}
