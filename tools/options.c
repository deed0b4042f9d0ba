#include "tools/options.h"

#include <stdio.h>
#include <stdlib.h>

bool option_positive(const char *command, const char *text, const char *what, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end != text && !*end && *value > 0) return true;
    fprintf(stderr, "trine %s: '%s' is no number of %s\n", command, text, what);
    return false;
}
