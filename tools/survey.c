#include "tools/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/driver/place.h"

static const trine_dtype order[] = {TRINE_F32,     TRINE_F16,         TRINE_BF16,        TRINE_F64, TRINE_F8_E4M3FN,
                                    TRINE_F8_E5M2, TRINE_F8_E4M3FNUZ, TRINE_F8_E5M2FNUZ, TRINE_I64, TRINE_I32,
                                    TRINE_I8,      TRINE_U8,          TRINE_BOOL,        TRINE_NF4};
enum { ORDERED = sizeof order / sizeof order[0] };

/* How typical a case is of its dtype: dense tensors with elements in them are a must, then one dtype throughout, then what every
 * backend should take, then the sizes that people run. */
static int typical(const test_case *c, bool bench)
{
    bool same = true;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        const case_tensor *t = &c->tensor[k];
        if (t->layout != LAYOUT_DENSE || t->inplace_of >= 0 || t->numel == 0) return 0;
        same = same && t->dtype == c->tensor[0].dtype;
    }
    return c->tensor_count ? 1 + 4 * same + 2 * !c->may_refuse + bench : 0;
}

typedef struct choice {
    const test_case *c;
    int score;
} choice;

/* The first of the most typical cases, by the dtype of their first tensor. */
static void choose(const case_list *list, bool bench, choice best[TRINE_DTYPE_COUNT])
{
    for (int64_t i = 0; i < list->count; i++) {
        const test_case *c = list->items[i];
        int score = typical(c, bench);
        choice *of = score ? &best[c->tensor[0].dtype] : NULL;
        if (of && score > of->score) *of = (choice){c, score};
    }
}

static void ask(survey_cell *cell, trine_stream *stream, const test_case *c)
{
    void *args = place_shape_args(c, NULL);
    cell->status = trine_query(stream, c->op, args, &cell->answer);
    free(args);
    cell->why[0] = '\0';
    if (cell->status == TRINE_OK) return;
    snprintf(cell->why, sizeof cell->why, "%s", cell->answer.why[0] ? cell->answer.why : trine_error_text());
}

void survey_op(survey *s, trine_op op, trine_stream *const *streams, int count)
{
    choice best[TRINE_DTYPE_COUNT] = {{NULL, 0}};
    case_list check = {0}, bench = {0};
    cases_of(op, &check, CASES_CHECK);
    cases_of(op, &bench, CASES_BENCH);
    choose(&bench, true, best);
    choose(&check, false, best);
    s->op = trine_op_get_info(op);
    s->rows = 0;
    for (int i = 0; i < ORDERED; i++) {
        const test_case *c = best[order[i]].c;
        if (!c) continue;
        survey_row *row = &s->row[s->rows++];
        row->dtype = order[i];
        snprintf(row->call, sizeof row->call, "%s", c->name);
        for (int k = 0; k < count; k++) ask(&row->cell[k], streams[k], c);
    }
    cases_free(&check);
    cases_free(&bench);
}
