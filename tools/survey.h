/* What would run: a typical call of every op and dtype, put to a stream by trine_query. */
#ifndef TRINE_TOOLS_SURVEY_H
#define TRINE_TOOLS_SURVEY_H

#include "trine/trine.h"

enum { SURVEY_COLUMNS = 24 };

typedef struct survey_cell {
    trine_status status;
    trine_query_result answer;
    char why[512]; /* not TRINE_OK: the reason */
} survey_cell;

typedef struct survey_row {
    trine_dtype dtype; /* of the op's first tensor */
    char call[160];    /* the case asked about */
    survey_cell cell[SURVEY_COLUMNS];
} survey_row;

/* One op: a row for each dtype that its cases have, floats first. */
typedef struct survey {
    const trine_op_info *op;
    int rows;
    survey_row row[TRINE_DTYPE_COUNT];
} survey;

/* Asks `count` streams about the op. */
void survey_op(survey *s, trine_op op, trine_stream *const *streams, int count);

#endif
