/* Graphs on the CPU: recorded calls run when they are launched, with the same bits as the calls themselves. */
#include <stdlib.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

#define REFUSED(call, status, word) \
    do { \
        EXPECT((call) == (status)); \
        CHECK(names_word(trine_error_text(), "cpu") && names_word(trine_error_text(), word), \
              "line %d: the text lacks cpu or '%s': %s", __LINE__, word, trine_error_text()); \
    } while (0)

/* One op: recorded in a graph and not run; then launched three times, each with the bits of the plain call. */
static void test_op(trine_stream *s, trine_op op)
{
    valid_call v;
    trine_graph *graph = NULL;
    const char *name = trine_op_get_info(op)->name;
    if (!valid_call_open(&v, s, op)) {
        fail("%s: no case to start from", name);
        return;
    }
    CHECK(trine_run(s, op, v.place.args) == TRINE_OK, "%s: %s", name, trine_error_text());
    unsigned char *wanted[CASE_TENSORS] = {0};
    for (int32_t k = 0; k < v.c->tensor_count; k++) {
        wanted[k] = malloc(v.place.tensor[k].bytes);
        if (wanted[k]) memcpy(wanted[k], v.place.tensor[k].device, v.place.tensor[k].bytes);
    }
    valid_call_restore(&v);
    EXPECT(trine_graph_begin(s) == TRINE_OK);
    CHECK(trine_run(s, op, v.place.args) == TRINE_OK, "%s: recorded: %s", name, trine_error_text());
    CHECK(valid_call_untouched(&v), "%s: ran while it was recorded", name);
    memset(v.place.args, 0xff, v.place.args_bytes); /* the arguments were copied */
    EXPECT(trine_graph_end(s, &graph) == TRINE_OK && graph);
    CHECK(valid_call_untouched(&v), "%s: ran when the graph was ended", name);
    for (int i = 0; i < 3; i++) {
        CHECK(trine_graph_launch(graph) == TRINE_OK, "%s: launch: %s", name, trine_error_text());
        for (int32_t k = 0; k < v.c->tensor_count; k++)
            CHECK(wanted[k] && memcmp(wanted[k], v.place.tensor[k].device, v.place.tensor[k].bytes) == 0,
                  "%s: launch %d gives other bits", name, i);
        valid_call_restore(&v);
    }
    trine_graph_destroy(graph);
    for (int32_t k = 0; k < v.c->tensor_count; k++) free(wanted[k]);
    valid_call_close(&v);
}

/* Copies, sets and ops in their order; data are read at the launch. */
static void test_sequence(trine_stream *s)
{
    float x[4] = {1, 2, 3, 4}, y[4] = {0}, z[4] = {0};
    trine_graph *graph = NULL;
    const trine_scale_args twice = {trine_tensor_1d(y, TRINE_F32, 4), trine_tensor_1d(z, TRINE_F32, 4), 2};
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_memcpy(s, y, x, sizeof y, TRINE_HOST_TO_DEVICE) == TRINE_OK);
    EXPECT(trine_scale(s, &twice) == TRINE_OK && trine_memset(s, y, 0, 8) == TRINE_OK &&
           trine_memcpy(s, z + 3, y, 4, TRINE_DEVICE_TO_HOST) == TRINE_OK);
    EXPECT(trine_memcpy(s, NULL, NULL, 0, TRINE_HOST_TO_DEVICE) == TRINE_OK && trine_memset(s, NULL, 0, 0) == TRINE_OK);
    EXPECT(trine_graph_end(s, &graph) == TRINE_OK && y[3] == 0 && z[0] == 0);
    EXPECT(trine_graph_launch(graph) == TRINE_OK && z[0] == 2 && z[2] == 6 && z[3] == 0 && y[0] == 0 && y[3] == 4);
    x[2] = 10;
    EXPECT(trine_graph_launch(graph) == TRINE_OK && z[2] == 20);
    trine_graph_destroy(graph);
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_graph_end(s, &graph) == TRINE_OK &&
           trine_graph_launch(graph) == TRINE_OK); /* empty */
    trine_graph_destroy(graph);
}

static void test_outlives_its_stream(void)
{
    float x[4] = {0};
    trine_graph *graph = NULL;
    trine_event *event = NULL;
    trine_stream *s = cpu_stream();
    EXPECT(trine_event_create(s, &event) == TRINE_OK && trine_event_record(event, s) == TRINE_OK);
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_memset(s, x, 1, 4) == TRINE_OK && trine_graph_end(s, &graph) == TRINE_OK);
    trine_stream_destroy(s);
    REFUSED(trine_graph_launch(graph), TRINE_ERROR_INVALID_ARGUMENT, "trine_graph_launch");
    trine_graph_destroy(graph);
    trine_event_destroy(event);
}

static void test_refused(trine_stream *s)
{
    float x[4] = {0};
    void *ptr = x;
    double flops;
    trine_event *event = NULL;
    trine_graph *graph = NULL, *other = NULL;
    trine_scale_args a = {trine_tensor_1d(x, TRINE_F32, 4), trine_tensor_1d(x, TRINE_F32, 4), 2};
    EXPECT(trine_event_create(s, &event) == TRINE_OK);
    REFUSED(trine_graph_end(s, &graph), TRINE_ERROR_CAPTURE, "trine_graph_end");
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_graph_end(s, &other) == TRINE_OK && trine_graph_begin(s) == TRINE_OK);
    REFUSED(trine_graph_begin(s), TRINE_ERROR_CAPTURE, "trine_graph_begin");
    REFUSED(trine_malloc(s, 8, &ptr), TRINE_ERROR_CAPTURE, "trine_malloc");
    EXPECT(ptr == NULL);
    REFUSED(trine_free(s, x), TRINE_ERROR_CAPTURE, "trine_free");
    REFUSED(trine_stream_synchronize(s), TRINE_ERROR_CAPTURE, "trine_stream_synchronize");
    REFUSED(trine_event_record(event, s), TRINE_ERROR_CAPTURE, "trine_event_record");
    REFUSED(trine_probe(s, TRINE_PROBE_EMPTY, &flops), TRINE_ERROR_CAPTURE, "trine_probe");
    REFUSED(trine_graph_launch(other), TRINE_ERROR_CAPTURE, "trine_graph_launch");
    REFUSED(trine_stream_reserve(s, (size_t)1 << 20), TRINE_ERROR_WORKSPACE_TOO_SMALL, "trine_stream_reserve");
    a.y.dtype = TRINE_F16; /* a wrong call is refused now, not at the launch */
    REFUSED(trine_scale(s, &a), TRINE_ERROR_INVALID_ARGUMENT, "scale");
    EXPECT(trine_memcpy(s, x, NULL, 4, TRINE_HOST_TO_DEVICE) == TRINE_ERROR_INVALID_ARGUMENT &&
           trine_memset(s, NULL, 0, 4) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_graph_end(s, &graph) == TRINE_OK && trine_graph_launch(graph) == TRINE_OK &&
           trine_graph_launch(other) == TRINE_OK);
    EXPECT(trine_malloc(s, 8, &ptr) == TRINE_OK && trine_free(s, ptr) == TRINE_OK && trine_event_record(event, s) == TRINE_OK);
    trine_graph_destroy(graph);
    trine_graph_destroy(other);
    trine_event_destroy(event);
}

/* The first case of the op that needs workspace on this backend; NULL if none does. */
static test_case *case_with_workspace(case_list *list, trine_stream *s, trine_op op, size_t *workspace)
{
    cases_of(op, list, CASES_CHECK);
    for (int64_t i = 0; i < list->count; i++) {
        placement p;
        trine_query_result answer;
        test_case *c = list->items[i];
        if (c->work > 1e6) continue;
        bool needs =
            place_create(&p, s, c) == TRINE_OK && trine_query(s, op, p.args, &answer) == TRINE_OK && answer.workspace > 0;
        place_destroy(&p);
        if (!needs) continue;
        *workspace = answer.workspace;
        return c;
    }
    return NULL;
}

/* An op that needs more workspace than the stream has can't be recorded, and one for which enough was reserved can. */
static bool test_workspace(trine_op op)
{
    case_list list = {0};
    placement p;
    size_t workspace = 0;
    trine_graph *graph = NULL;
    trine_stream *s = cpu_stream();
    test_case *c = case_with_workspace(&list, s, op, &workspace);
    if (c && case_prepare(c, 0) && place_create(&p, s, c) == TRINE_OK && place_upload(&p, 0xff) == TRINE_OK) {
        EXPECT(trine_graph_begin(s) == TRINE_OK);
        REFUSED(trine_run(s, op, p.args), TRINE_ERROR_WORKSPACE_TOO_SMALL, trine_op_get_info(op)->name);
        EXPECT(trine_graph_end(s, &graph) == TRINE_OK);
        trine_graph_destroy(graph);
        EXPECT(trine_stream_reserve(s, workspace) == TRINE_OK && trine_graph_begin(s) == TRINE_OK &&
               trine_run(s, op, p.args) == TRINE_OK);
        EXPECT(trine_graph_end(s, &graph) == TRINE_OK && trine_graph_launch(graph) == TRINE_OK);
        trine_graph_destroy(graph);
        place_destroy(&p);
    }
    cases_free(&list);
    trine_stream_destroy(s);
    return c != NULL;
}

int main(void)
{
    int needy = 0;
    trine_stream *s = cpu_stream();
    for (int op = 0; op < TRINE_OP_COUNT; op++) test_op(s, (trine_op)op);
    test_sequence(s);
    test_refused(s);
    test_outlives_its_stream();
    EXPECT(trine_graph_begin(s) == TRINE_OK);
    trine_stream_destroy(s); /* while it records */
    for (int op = 0; op < TRINE_OP_COUNT; op++) needy += test_workspace((trine_op)op);
    printf("%d ops need workspace on the CPU\n", needy);
    return finish();
}
