/* What the core makes of a device's answers, on the fake plugin: errors of every function with their texts, the workspace,
 * adopted streams, work that is late. argv[1]: the folder of the fake plugins. */
#include "tests/api/fake_run.h"

static void add_args(trine_add_args *a, float *memory)
{
    *a = (trine_add_args){trine_tensor_1d(memory, TRINE_F32, 4), trine_tensor_1d(memory + 4, TRINE_F32, 4),
                          trine_tensor_1d(memory + 8, TRINE_F32, 4)};
}

/* ---- Errors ---- */

static void errors_of_creation(const void *user)
{
    static const struct {
        fake_function function;
        trine_status status;
    } failures[] = {{FAKE_COUNT, TRINE_ERROR_UNAVAILABLE},
                    {FAKE_OPEN, TRINE_ERROR_UNSUPPORTED},
                    {FAKE_OPEN, TRINE_ERROR_OUT_OF_MEMORY},
                    {FAKE_STREAM, TRINE_ERROR_DEVICE},
                    {FAKE_ALLOC, TRINE_ERROR_OUT_OF_MEMORY}};
    use_fake();
    const trine_stream_options options = {.backend = "cuda", .workspace_size = 100};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        trine_stream *stream = (trine_stream *)(void *)control;
        control->silent = user != NULL;
        fail_at(failures[i].function, 1, failures[i].status);
        trine_status status = trine_stream_create(&options, &stream);
        CHECK(status == failures[i].status && !stream, "failure %zu: %s", i, trine_status_name(status));
        CHECK(names_word(trine_error_text(), "cuda") && (strstr(trine_error_text(), "fake failure") || control->silent),
              "failure %zu: %s", i, trine_error_text());
        size_t length = strlen(trine_error_text());
        CHECK(length && trine_error_text()[length - 1] != ' ', "failure %zu: no reason: '%s'", i, trine_error_text());
        EXPECT(control->live == 0);
    }
    trine_device_props props;
    fail_at(FAKE_OPEN, 1, TRINE_ERROR_OUT_OF_MEMORY);
    EXPECT(trine_device_get_props("cuda", 0, &props) == TRINE_ERROR_OUT_OF_MEMORY && names_word(trine_error_text(), "cuda"));
    EXPECT(trine_device_get_props("cuda", 2, &props) == TRINE_ERROR_INVALID_ARGUMENT &&
           trine_device_get_props("cuda", -1, &props) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_device_get_props("cuda", 1, &props) == TRINE_OK && props.index == 1 && control->live == 0);
}

/* The function's next call fails: the status and the text arrive. */
#define FAILS(function, status, call, word) \
    do { \
        fail_at(function, 1, status); \
        EXPECT((call) == (status)); \
        EXPECT_TEXT(word, "fake failure"); \
    } while (0)

static void errors_of_memory(const void *user)
{
    float memory[16] = {0};
    void *ptr = memory;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    FAILS(FAKE_ALLOC, TRINE_ERROR_OUT_OF_MEMORY, trine_malloc(s, 64, &ptr), "trine_malloc");
    EXPECT(ptr == NULL);
    EXPECT(trine_malloc(s, 64, &ptr) == TRINE_OK);
    FAILS(FAKE_SYNCHRONIZE, TRINE_ERROR_DEVICE, trine_free(s, ptr), "trine_stream_synchronize");
    EXPECT(control->live == 2); /* freed all the same: device and stream are left */
    EXPECT(trine_malloc(s, 64, &ptr) == TRINE_OK);
    FAILS(FAKE_RELEASE, TRINE_ERROR_DEVICE, trine_free(s, ptr), "trine_free");
    FAILS(FAKE_COPY, TRINE_ERROR_DEVICE, trine_memcpy(s, memory, memory + 4, 8, TRINE_DEVICE_TO_DEVICE), "trine_memcpy");
    FAILS(FAKE_SET, TRINE_ERROR_DEVICE, trine_memset(s, memory, 0, 8), "trine_memset");
    FAILS(FAKE_ALLOC, TRINE_ERROR_OUT_OF_MEMORY, trine_stream_reserve(s, 1000), "trine_stream_reserve");
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

static void errors_of_calls(const void *user)
{
    float memory[16] = {0};
    trine_event *event = NULL, *other = NULL;
    trine_graph *graph = NULL;
    trine_add_args a;
    double number;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    add_args(&a, memory);
    FAILS(FAKE_OP, TRINE_ERROR_DEVICE, trine_add(s, &a), "add");
    FAILS(FAKE_PROBE, TRINE_ERROR_UNSUPPORTED, trine_probe(s, TRINE_PROBE_EMPTY, &number), "trine_probe");
    FAILS(FAKE_SYNCHRONIZE, TRINE_ERROR_DEVICE, trine_stream_synchronize(s), "trine_stream_synchronize");
    FAILS(FAKE_EVENT, TRINE_ERROR_DEVICE, trine_event_create(s, &event), "trine_event_create");
    EXPECT(event == NULL && trine_event_create(s, &event) == TRINE_OK && trine_event_create(s, &other) == TRINE_OK);
    FAILS(FAKE_RECORD, TRINE_ERROR_DEVICE, trine_event_record(event, s), "trine_event_record");
    EXPECT(trine_event_elapsed(event, event, &number) == TRINE_ERROR_INVALID_ARGUMENT); /* it was not recorded */
    EXPECT(trine_event_record(event, s) == TRINE_OK && trine_event_record(other, s) == TRINE_OK);
    FAILS(FAKE_ELAPSED, TRINE_ERROR_DEVICE, trine_event_elapsed(event, other, &number), "trine_event_elapsed");
    EXPECT(trine_event_elapsed(event, other, &number) == TRINE_OK && number == 0.25);
    FAILS(FAKE_CAPTURE_BEGIN, TRINE_ERROR_DEVICE, trine_graph_begin(s), "trine_graph_begin");
    EXPECT(trine_graph_end(s, &graph) == TRINE_ERROR_CAPTURE && trine_graph_begin(s) == TRINE_OK);
    FAILS(FAKE_CAPTURE_END, TRINE_ERROR_DEVICE, trine_graph_end(s, &graph), "trine_graph_end");
    EXPECT(graph == NULL && trine_graph_begin(s) == TRINE_OK && trine_graph_end(s, &graph) == TRINE_OK);
    FAILS(FAKE_LAUNCH, TRINE_ERROR_DEVICE, trine_graph_launch(graph), "trine_graph_launch");
    trine_event_destroy(event);
    trine_event_destroy(other);
    trine_graph_destroy(graph);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* ---- Workspace ---- */

static void workspace_grows(const void *user)
{
    float memory[16] = {0};
    trine_add_args a;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    add_args(&a, memory);
    control->workspace = 1000;
    EXPECT(trine_add(s, &a) == TRINE_OK);
    int64_t waited = control->waited;
    EXPECT(trine_add(s, &a) == TRINE_OK && control->waited == waited); /* large enough: no waiting */
    control->workspace = 3000;
    EXPECT(trine_add(s, &a) == TRINE_OK && control->waited > waited); /* waits for the two that use the old one */
    EXPECT(control->ran == 2);
    waited = control->waited;
    EXPECT(trine_stream_reserve(s, 2000) == TRINE_OK && trine_stream_reserve(s, 0) == TRINE_OK && control->waited == waited);
    EXPECT(trine_stream_reserve(s, 5000) == TRINE_OK);
    control->workspace = 5000;
    waited = control->waited;
    EXPECT(trine_add(s, &a) == TRINE_OK && control->waited == waited);
    control->workspace = 6000;
    fail_at(FAKE_ALLOC, 1, TRINE_ERROR_OUT_OF_MEMORY);
    EXPECT(trine_add(s, &a) == TRINE_ERROR_OUT_OF_MEMORY);
    EXPECT_TEXT("add", "fake failure");
    fail_at(FAKE_SYNCHRONIZE, 1, TRINE_ERROR_DEVICE);
    EXPECT(trine_add(s, &a) == TRINE_ERROR_DEVICE);
    EXPECT_TEXT("trine_stream_synchronize", "fake failure");
    control->workspace = 5000; /* the old one is still there */
    EXPECT(trine_add(s, &a) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

static void workspace_of_the_caller(const void *user)
{
    static _Alignas(TRINE_WORKSPACE_ALIGNMENT) unsigned char workspace[1024];
    float memory[16] = {0};
    trine_add_args a;
    trine_query_result answer;
    (void)user;
    use_fake();
    trine_stream *s =
        fake_stream_create(&(trine_stream_options){.backend = "cuda", .workspace = workspace, .workspace_size = 1000});
    add_args(&a, memory);
    control->workspace = 1000;
    EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK && answer.workspace == 1000);
    EXPECT(trine_add(s, &a) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK && workspace[999] == 0x77 &&
           workspace[1000] == 0);
    control->workspace = 1001;
    EXPECT(trine_add(s, &a) == TRINE_ERROR_WORKSPACE_TOO_SMALL);
    EXPECT_TEXT("add", "1001");
    EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK && answer.workspace == 1001); /* a question, not a run */
    EXPECT(trine_stream_reserve(s, 1001) == TRINE_ERROR_WORKSPACE_TOO_SMALL && trine_stream_reserve(s, 1000) == TRINE_OK);
    EXPECT_TEXT("trine_stream_reserve", "1001");
    EXPECT(control->ran == 1);
    trine_stream_destroy(s);
    for (int shift = 1; shift < TRINE_WORKSPACE_ALIGNMENT; shift *= 2) {
        const trine_stream_options askew = {.backend = "cuda", .workspace = workspace + shift, .workspace_size = 512};
        EXPECT(trine_stream_create(&askew, &s) == TRINE_ERROR_INVALID_ARGUMENT && !s);
        EXPECT(names_word(trine_error_text(), "workspace") && names_word(trine_error_text(), "256"));
    }
    EXPECT(control->live == 0);
}

/* ---- Late work, adopted streams ---- */

static void late_work(const void *user)
{
    unsigned char from[4] = {1, 2, 3, 4}, to[4] = {0};
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    void *device = NULL;
    EXPECT(trine_malloc(s, 4, &device) == TRINE_OK);
    EXPECT(trine_memcpy(s, device, from, 4, TRINE_HOST_TO_DEVICE) == TRINE_OK &&
           trine_memcpy(s, to, device, 4, TRINE_DEVICE_TO_HOST) == TRINE_OK);
    EXPECT(to[3] == 0 && trine_stream_synchronize(s) == TRINE_OK && to[3] == 4);
    EXPECT(trine_memset(s, device, 9, 4) == TRINE_OK && trine_free(s, device) == TRINE_OK); /* waits before it frees */
    EXPECT(trine_memset(s, to, 7, 4) == TRINE_OK);
    trine_stream_destroy(s); /* waits */
    EXPECT(to[0] == 7 && control->live == 0);
}

static void adopted(const void *user)
{
    fake_stream own = {0};
    unsigned char byte = 0;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .native = &own});
    EXPECT(trine_stream_native(s) == &own && trine_memset(s, &byte, 5, 1) == TRINE_OK && own.first);
    EXPECT(trine_stream_synchronize(s) == TRINE_OK && byte == 5);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
    s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .flags = TRINE_STREAM_ADOPT});
    EXPECT(trine_stream_native(s) == NULL && trine_memset(s, &byte, 6, 1) == TRINE_OK &&
           trine_stream_synchronize(s) == TRINE_OK && byte == 6);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
    s = fake_stream_create(NULL);
    EXPECT(trine_stream_native(s) != NULL && control->live == 2);
    trine_stream_destroy(s);
}

/* An event belongs to a backend. */
static void events_of_two_backends(const void *user)
{
    trine_event *here = NULL, *there = NULL;
    double seconds;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL), *cpu = cpu_stream();
    EXPECT(trine_event_create(s, &here) == TRINE_OK && trine_event_create(cpu, &there) == TRINE_OK);
    EXPECT(trine_event_record(here, cpu) == TRINE_ERROR_INVALID_ARGUMENT &&
           trine_event_record(there, s) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_event_record(here, s) == TRINE_OK && trine_event_record(there, cpu) == TRINE_OK);
    EXPECT(trine_event_elapsed(here, there, &seconds) == TRINE_ERROR_INVALID_ARGUMENT);
    trine_event_destroy(here);
    trine_event_destroy(there);
    trine_stream_destroy(s);
    trine_stream_destroy(cpu);
    EXPECT(control->live == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    fakes = argv[1];
    in_child("errors of creation", errors_of_creation, NULL);
    in_child("errors without a reason", errors_of_creation, "silent");
    in_child("errors of memory", errors_of_memory, NULL);
    in_child("errors of calls", errors_of_calls, NULL);
    in_child("workspace grows", workspace_grows, NULL);
    in_child("workspace of the caller", workspace_of_the_caller, NULL);
    in_child("late work", late_work, NULL);
    in_child("adopted", adopted, NULL);
    in_child("events of two backends", events_of_two_backends, NULL);
    return finish();
}
