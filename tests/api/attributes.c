/* What a family's own rules refuse: attributes out of range, dtypes and shapes that don't go together. Each row starts from a
 * valid call of the op and breaks one thing; the text must name the op and the argument, and nothing may be written. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

typedef struct row {
    trine_op op;
    const char *what;
    const char *argument; /* that the text must name */
    trine_status status;
    void (*apply)(void *args);
} row;

#define JOIN(a, b) a##b
#define FUNCTION(line) JOIN(apply_, line)
#define APPLY(line, name_, statement) \
    static void FUNCTION(line)(void *args) \
    { \
        trine_##name_##_args *a = args; \
        statement; \
    }

#define BAD TRINE_ERROR_INVALID_ARGUMENT
#define NOT TRINE_ERROR_UNSUPPORTED

/* An input whose last axis has gaps, within the memory that it had: the outer axes repeat. */
static void stretch(trine_tensor *t)
{
    for (int32_t d = 0; d < t->ndim; d++) t->stride[d] = d == t->ndim - 1 ? 2 : 0;
}

/* An output with gaps, which goes beyond its memory: it is refused before it is touched. */
static void stretch_output(trine_tensor *t)
{
    for (int32_t d = 0; d < t->ndim; d++) t->stride[d] *= 2;
}

/* The first tensor of a list. */
static trine_tensor *first(const trine_tensor_list *list) { return (trine_tensor *)list->at; }

#define ROW(name_, status, argument, statement) APPLY(__LINE__, name_, statement)
#include "tests/api/attributes.def"
#undef ROW
#define ROW(name_, status, argument, statement) {TRINE_OP_##name_, #statement, #argument, status, FUNCTION(__LINE__)},
static const row rows[] = {
#include "tests/api/attributes.def"
};
#undef ROW

static void test_row(trine_stream *s, const row *r)
{
    valid_call v;
    trine_query_result answer;
    const char *op = trine_op_get_info(r->op)->name;
    if (!valid_call_open(&v, s, r->op)) {
        fail("%s: no case to start from", op);
        return;
    }
    r->apply(v.args);
    for (int asked = 0; asked < 2; asked++) {
        trine_status status = asked ? trine_query(s, r->op, v.args, &answer) : trine_run(s, r->op, v.args);
        const char *text = trine_error_text();
        CHECK(status == r->status, "%s: %s: status %s", op, r->what, trine_status_name(status));
        CHECK(names_word(text, "cpu") && names_word(text, op), "%s: %s: the text names no backend or op: %s", op, r->what, text);
        /* the reason of a refusal is the backend's own words */
        CHECK(r->status == NOT || names_word(text, r->argument), "%s: %s: the text does not name %s: %s", op, r->what,
              r->argument, text);
        CHECK(r->status == BAD || strlen(text) > strlen("cpu (x86-64-v4): : ") + strlen(op), "%s: %s: no reason: %s", op, r->what,
              text);
    }
    CHECK(valid_call_untouched(&v), "%s: %s: memory was written", op, r->what);
    valid_call_close(&v);
}

/* Sizes that no memory has: only asked for. */
static void test_index_of_i32(trine_stream *s)
{
    trine_query_result answer;
    trine_argmax_args a = {.x = trine_tensor_1d(NULL, TRINE_F32, (int64_t)INT32_MAX + 1),
                           .y = trine_tensor_make(NULL, TRINE_I32, 0, NULL),
                           .axis = TRINE_AXIS_ALL};
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_ERROR_INVALID_ARGUMENT && names_word(trine_error_text(), "i32"));
    a.y.dtype = TRINE_I64;
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_OK);
    a.y.dtype = TRINE_I32;
    a.x.shape[0]--;
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_OK);
    a.x = trine_tensor_2d(NULL, TRINE_F32, (int64_t)1 << 32, 2);
    a.y = trine_tensor_1d(NULL, TRINE_I32, (int64_t)1 << 32);
    a.axis = 1;
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_OK);
}

/* The query states what linear_cross_entropy needs at its peak: far less than all logits; a chunk of them at least. */
static void test_peak_memory(trine_stream *s)
{
    enum { N = 65536, D = 1024, C = 131072 };
    trine_query_result chosen, small, narrow;
    trine_linear_cross_entropy_args a = {.x = trine_tensor_2d(NULL, TRINE_BF16, N, D),
                                         .weight = trine_tensor_2d(NULL, TRINE_BF16, C, D),
                                         .labels = trine_tensor_1d(NULL, TRINE_I64, N),
                                         .loss = trine_tensor_make(NULL, TRINE_F32, 0, NULL),
                                         .dx = trine_tensor_2d(NULL, TRINE_BF16, N, D),
                                         .dweight = trine_tensor_2d(NULL, TRINE_F32, C, D)};
    EXPECT(trine_query(s, TRINE_OP_linear_cross_entropy, &a, &chosen) == TRINE_OK);
    EXPECT(chosen.workspace < (size_t)N * C * 2 / 32);
    a.chunk = 128;
    EXPECT(trine_query(s, TRINE_OP_linear_cross_entropy, &a, &small) == TRINE_OK);
    EXPECT(small.workspace >= (size_t)128 * C * 2 && small.workspace < chosen.workspace);
    a.dweight.dtype = TRINE_BF16; /* summed up in f32 elsewhere */
    EXPECT(trine_query(s, TRINE_OP_linear_cross_entropy, &a, &narrow) == TRINE_OK);
    EXPECT(narrow.workspace == small.workspace + (size_t)C * D * 4);
}

int main(void)
{
    trine_stream *s = cpu_stream();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) test_row(s, &rows[i]);
    test_index_of_i32(s);
    test_peak_memory(s);
    trine_stream_destroy(s);
    return finish();
}
