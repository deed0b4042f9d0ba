/* What a driver runs on: a backend at an arch, with one stream a forced variant. */
#ifndef TRINE_TESTS_TARGETS_H
#define TRINE_TESTS_TARGETS_H

#include <stdio.h>

#include "trine/trine.h"

enum { TARGET_STREAMS = 32 };

typedef struct target {
    char backend[32]; /* "cuda:0" */
    char arch[32];    /* "" for the device's own */
    trine_device_props props;
    trine_stream *stream; /* no variant forced */
    struct {
        char variant[64];
        trine_stream *stream;
    } forced[TARGET_STREAMS];
} target;

enum { TARGETS_MAX = 16 };

/* The targets of a selection: NULL gives every device and, on the CPU, every level that runs here; a name gives that backend's. A
 * backend that can't be opened writes a line to `report` (skipped, with its reason). Returns how many. */
int targets_open(target targets[TARGETS_MAX], const char *backend, const char *arch, FILE *report);
/* The target's stream that forces `variant` ("" or NULL: none); NULL if it can't be made. */
trine_stream *target_stream(target *t, const char *variant);
void targets_close(target *targets, int count);

#endif
