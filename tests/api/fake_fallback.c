/* TRINE_FALLBACK: what the fake plugin refuses runs on the CPU, with the same bits as there. argv[1]: the folder of the fake
 * plugins. */
#include "tests/api/fake_run.h"

enum { LINES = 8 };
static struct {
    char text[LINES][512];
    int count;
} heard;

static void listen(trine_log_level level, const char *line, void *user)
{
    (void)user;
    if (level == TRINE_LOG_WARN && heard.count < LINES) snprintf(heard.text[heard.count++], sizeof heard.text[0], "%s", line);
}

/* x and y [2, 3] with a gap of one column each. */
typedef struct rows {
    float x[8], y[8];
} rows;
static const rows filled = {{1, 2, 3, -1, 4, 5, 6, -1}, {9, 9, 9, 7, 9, 9, 9, 7}};

static trine_scale_args scale_args(rows *r)
{
    trine_scale_args a = {trine_tensor_2d(r->x, TRINE_F32, 2, 3), trine_tensor_2d(r->y, TRINE_F32, 2, 3), 10};
    a.x.stride[0] = a.y.stride[0] = 4;
    return a;
}

static bool is_scaled(const float *y, float gap)
{
    return y[0] == 10 && y[2] == 30 && y[3] == gap && y[4] == 40 && y[6] == 60 && y[7] == gap;
}

static void falls_back(const void *user)
{
    const char *how = user;
    use_fake();
    trine_set_log(TRINE_LOG_WARN, listen, NULL);
    bool by_variable = strcmp(how, "variable") == 0;
    if (by_variable) setenv("TRINE_FALLBACK", "cpu", 1);
    setenv("TRINE_VARIANT", "none_of_the_cpu", 1); /* is the device's, not the CPU's */
    trine_stream *s =
        fake_stream_create(&(trine_stream_options){.backend = "cuda", .flags = by_variable ? 0 : TRINE_STREAM_FALLBACK_CPU});
    rows r = filled;
    trine_scale_args a = scale_args(&r);
    control->refuse = true;
    EXPECT(trine_scale(s, &a) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK && is_scaled(r.y, 7) && r.x[3] == -1);
    EXPECT(trine_scale(s, &a) == TRINE_OK);
    CHECK(heard.count == 1 && names_word(heard.text[0], "scale") && strstr(heard.text[0], "needs !control.refuse"),
          "logged once an op: %d, %s", heard.count, heard.text[0]);
    a.y = a.x; /* in place */
    EXPECT(trine_scale(s, &a) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK && is_scaled(r.x, -1));
    trine_add_args b = {a.x, a.x, a.y};
    b.y.data = r.y;
    EXPECT(trine_add(s, &b) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK && r.y[0] == 20 && r.y[6] == 120 &&
           r.y[3] == 7 && heard.count == 2);
    trine_scale_args empty = {trine_tensor_1d(NULL, TRINE_F32, 0), trine_tensor_1d(r.y, TRINE_F32, 0), 1};
    EXPECT(trine_scale(s, &empty) == TRINE_OK);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

static void several_outputs(const void *user)
{
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6];
    unsigned char mask[6] = {9, 9, 9, 9, 9, 9};
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .flags = TRINE_STREAM_FALLBACK_CPU});
    control->refuse = true;
    trine_dropout_args a = {
        .x = trine_tensor_1d(x, TRINE_F32, 6), .y = trine_tensor_1d(y, TRINE_F32, 6), .mask = trine_tensor_1d(mask, TRINE_U8, 6)};
    trine_status status = trine_dropout(s, &a);
    CHECK(status == TRINE_OK, "dropout: %s", trine_error_text());
    EXPECT(trine_stream_synchronize(s) == TRINE_OK && memcmp(x, y, sizeof x) == 0);
    for (int i = 0; i < 6; i++) EXPECT(mask[i] == 1);
    a.mask = (trine_tensor){0}; /* optional */
    EXPECT(trine_dropout(s, &a) == TRINE_OK);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* A matrix whose columns are x, y and a gap that holds mean: one region, which goes down and up once. */
static void outputs_in_each_others_gaps(const void *user)
{
    float matrix[2][8] = {{1, 3, 9, 9, 7, 7, 7, 7}, {2, 6, 9, 9, 7, 7, 7, 7}};
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .flags = TRINE_STREAM_FALLBACK_CPU});
    control->refuse = true;
    trine_layernorm_args a = {.x = trine_tensor_2d(matrix[0], TRINE_F32, 2, 2), .eps = 1e-30f};
    a.x.stride[0] = 8;
    a.y = a.x;
    a.y.data = matrix[0] + 2;
    a.mean = trine_tensor_1d(matrix[0] + 4, TRINE_F32, 2);
    a.rstd = trine_tensor_1d(matrix[0] + 6, TRINE_F32, 2);
    trine_status status = trine_layernorm(s, &a);
    CHECK(status == TRINE_OK, "layernorm: %s", trine_error_text());
    static const float wanted[2][8] = {{1, 3, -1, 1, 2, 4, 1, 0.5f}, {2, 6, -1, 1, 7, 7, 7, 7}};
    EXPECT(trine_stream_synchronize(s) == TRINE_OK && memcmp(matrix, wanted, sizeof wanted) == 0);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* Off by default; the flag against it wins; and an error of the device is no refusal. */
static void does_not(const void *user)
{
    (void)user;
    use_fake();
    rows r = filled;
    trine_scale_args a = scale_args(&r);
    trine_stream *s = fake_stream_create(NULL);
    control->refuse = true;
    EXPECT(trine_scale(s, &a) == TRINE_ERROR_UNSUPPORTED);
    EXPECT_TEXT("scale", "needs !control.refuse");
    EXPECT(strstr(trine_error_text(), "sm_90") && memcmp(&r, &filled, sizeof r) == 0);
    trine_stream_destroy(s);
    setenv("TRINE_FALLBACK", "cpu", 1);
    s = fake_stream_create(
        &(trine_stream_options){.backend = "cuda", .flags = TRINE_STREAM_NO_FALLBACK | TRINE_STREAM_FALLBACK_CPU});
    EXPECT(trine_scale(s, &a) == TRINE_ERROR_UNSUPPORTED);
    trine_stream_destroy(s);
    s = fake_stream_create(NULL);
    control->refuse = false;
    fail_at(FAKE_OP, 1, TRINE_ERROR_DEVICE);
    EXPECT(trine_scale(s, &a) == TRINE_ERROR_DEVICE && memcmp(&r, &filled, sizeof r) == 0);
    trine_query_result answer;
    control->refuse = true; /* a query is about the backend itself */
    EXPECT(trine_query(s, TRINE_OP_scale, &a, &answer) == TRINE_ERROR_UNSUPPORTED && strstr(answer.why, "refuse") &&
           !answer.variant[0] && !answer.accepted[0]);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

static void fails_on_the_way(const void *user)
{
    static const fake_function functions[] = {FAKE_COPY, FAKE_SYNCHRONIZE};
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .flags = TRINE_STREAM_FALLBACK_CPU});
    control->refuse = true;
    int failures = 0;
    for (int k = 1; k <= 4; k++)
        for (int i = 0; i < 2; i++) {
            rows r = filled;
            trine_scale_args a = scale_args(&r);
            fail_at(functions[i], k, TRINE_ERROR_DEVICE);
            trine_status status = trine_scale(s, &a);
            failures += status != TRINE_OK;
            if (status != TRINE_OK)
                EXPECT(status == TRINE_ERROR_DEVICE && strstr(trine_error_text(), "fake failure"));
            else
                EXPECT(is_scaled(r.y, 7));
            fail_at(functions[i], 0, TRINE_OK);
            EXPECT(control->live == 2); /* device and stream; no task waits that would use freed memory */
        }
    EXPECT(failures == 5); /* two copies down and one up, two waits */
    trine_graph *graph;
    rows r = filled;
    trine_scale_args a = scale_args(&r);
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_scale(s, &a) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("scale", "fall back");
    EXPECT(trine_graph_end(s, &graph) == TRINE_OK);
    trine_graph_destroy(graph);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* More tensors than one struct would hold, in two lists, each updated where it lies. */
static void lists(const void *user)
{
    enum { COUNT = 40 };
    float p[COUNT][4], g[COUNT][3], factor = 3;
    trine_tensor param[COUNT], grad[COUNT];
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .flags = TRINE_STREAM_FALLBACK_CPU});
    control->refuse = true;
    for (int k = 0; k < COUNT; k++) {
        param[k] = trine_tensor_1d(p[k], TRINE_F32, 3);
        grad[k] = trine_tensor_1d(g[k], TRINE_F32, 3);
        for (int i = 0; i < 4; i++) p[k][i] = (float)(10 * k + i);
        for (int i = 0; i < 3; i++) g[k][i] = (float)i;
    }
    trine_sgd_args a = {.param = {param, COUNT}, .grad = {grad, COUNT}, .lr = 2, .step = 1};
    CHECK(trine_sgd(s, &a) == TRINE_OK, "sgd: %s", trine_error_text());
    EXPECT(trine_scale_list(s, &(trine_scale_list_args){.x = {grad, COUNT}, .factor = trine_tensor_1d(&factor, TRINE_F32, 1)}) ==
               TRINE_OK &&
           trine_stream_synchronize(s) == TRINE_OK);
    for (int k = 0; k < COUNT; k++) {
        EXPECT(param[k].data == p[k] && grad[k].data == g[k]); /* the caller's own lists were not turned to the staged copies */
        EXPECT(p[k][0] == (float)(10 * k) && p[k][1] == (float)(10 * k - 1) && p[k][3] == (float)(10 * k + 3) && g[k][2] == 6);
    }
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    fakes = argv[1];
    in_child("by the variable", falls_back, "variable");
    in_child("by the flag", falls_back, "flag");
    in_child("several outputs", several_outputs, NULL);
    in_child("outputs in each other's gaps", outputs_in_each_others_gaps, NULL);
    in_child("lists of tensors", lists, NULL);
    in_child("does not fall back", does_not, NULL);
    in_child("fails on the way", fails_on_the_way, NULL);
    return finish();
}
