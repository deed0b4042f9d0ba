/* What `trine check --json FILE` writes: one JSON object that can be sent to somebody who has no such device. It is written anew
 * before every op, so that a run that a device ends tells how far it came. */
#ifndef TRINE_TESTS_CHECK_REPORT_H
#define TRINE_TESTS_CHECK_REPORT_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "tests/cases/cases.h"
#include "tests/driver/targets.h"

typedef struct check_tally {
    int64_t passed, failed, refused, left_out;
    double worst; /* largest error, as a part of what is allowed */
    char worst_case[160];
} check_tally;

typedef struct check_report {
    const char *path; /* NULL: there is no report, and all functions do nothing */
    cJSON *root, *target[TARGETS_MAX];
    cJSON *op[TARGETS_MAX]; /* the one at hand, of each target */
} check_report;

/* The build, the system, the backends and why they are not there. argv: the options of this run. False if the file can't be
 * written. */
bool check_report_begin(check_report *r, const char *path, int argc, char **argv);
/* Targets come first, in the order of `k`. */
void check_report_target(check_report *r, int k, const target *t);
/* On all targets. */
void check_report_op(check_report *r, trine_op op);
/* A case of the op at hand; the first few of each kind are kept. kind: "failures" or "refusals". */
void check_report_case(check_report *r, int k, const char *kind, const test_case *c, const char *variant, const char *text);
void check_report_op_end(check_report *r, int k, const check_tally *sum);
/* False if the file could not be written. */
bool check_report_end(check_report *r, const check_tally *all);

#endif
