/* What commands' options have in common. */
#ifndef TRINE_TOOLS_OPTIONS_H
#define TRINE_TOOLS_OPTIONS_H

#include <stdbool.h>

/* A number above 0 and nothing behind it; otherwise false, and a line on stderr that names the command and what is counted. */
bool option_positive(const char *command, const char *text, const char *what, double *value);

#endif
