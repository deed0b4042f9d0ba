/* Graphs of a backend that captures by itself, on the fake plugin. argv[1]: the folder of the fake plugins. */
#include "tests/api/fake_run.h"

static float memory[16];
static const trine_add_args add = {
    {memory, TRINE_F32, 1, {4}, {1}}, {memory + 4, TRINE_F32, 1, {4}, {1}}, {memory + 8, TRINE_F32, 1, {4}, {1}}};

static void record_and_replay(const void *user)
{
    unsigned char bytes[4] = {0};
    trine_graph *graph = NULL;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    control->workspace = 500;
    EXPECT(trine_stream_reserve(s, 500) == TRINE_OK && trine_graph_begin(s) == TRINE_OK);
    EXPECT(trine_add(s, &add) == TRINE_OK && trine_memset(s, bytes, 3, 2) == TRINE_OK &&
           trine_memcpy(s, bytes + 2, bytes, 2, TRINE_DEVICE_TO_DEVICE) == TRINE_OK);
    EXPECT(trine_graph_end(s, &graph) == TRINE_OK && graph);
    EXPECT(trine_stream_synchronize(s) == TRINE_OK && control->ran == 0 && bytes[3] == 0); /* recorded, not run */
    for (int i = 1; i <= 3; i++)
        EXPECT(trine_graph_launch(graph) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK && control->ran == i &&
               bytes[3] == 3);
    trine_graph_destroy(graph);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* Everything that is refused while a graph is captured. */
static void expect_closed(trine_stream *s, trine_event *event, trine_graph *other)
{
    void *ptr = memory;
    double flops;
    EXPECT(trine_malloc(s, 16, &ptr) == TRINE_ERROR_CAPTURE && ptr == NULL);
    EXPECT_TEXT("trine_malloc", "captured");
    EXPECT(trine_free(s, memory) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("trine_free", "captured");
    EXPECT(trine_malloc(s, 0, &ptr) == TRINE_OK && trine_free(s, NULL) == TRINE_OK);
    EXPECT(trine_stream_synchronize(s) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("trine_stream_synchronize", "captured");
    EXPECT(trine_event_record(event, s) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("trine_event_record", "captured");
    EXPECT(trine_probe(s, TRINE_PROBE_EMPTY, &flops) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("trine_probe", "captured");
    EXPECT(trine_graph_begin(s) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("trine_graph_begin", "captured");
    EXPECT(trine_graph_launch(other) == TRINE_ERROR_CAPTURE);
    EXPECT_TEXT("trine_graph_launch", "captured");
    EXPECT(trine_stream_reserve(s, 100000) == TRINE_ERROR_WORKSPACE_TOO_SMALL && trine_stream_reserve(s, 10) == TRINE_OK);
    EXPECT_TEXT("trine_stream_reserve", "captured");
    control->workspace = 501;
    EXPECT(trine_add(s, &add) == TRINE_ERROR_WORKSPACE_TOO_SMALL);
    EXPECT_TEXT("add", "501");
    control->workspace = 500;
    EXPECT(trine_add(s, &add) == TRINE_OK);
}

static void refused_while_captured(const void *user)
{
    trine_graph *graph = NULL, *other = NULL, *none = NULL;
    trine_event *event = NULL;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    EXPECT(trine_stream_reserve(s, 500) == TRINE_OK && trine_event_create(s, &event) == TRINE_OK);
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_graph_end(s, &other) == TRINE_OK);
    EXPECT(trine_graph_begin(s) == TRINE_OK);
    expect_closed(s, event, other);
    EXPECT(trine_graph_end(s, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_graph_end(s, &graph) == TRINE_OK && trine_graph_end(s, &none) == TRINE_ERROR_CAPTURE && none == NULL);
    EXPECT(trine_graph_launch(graph) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK && control->ran == 1);
    trine_graph_destroy(graph);
    trine_graph_destroy(other);
    trine_event_destroy(event);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* The caller began a capture of its own stream with the vendor's functions. */
static void native_capture(const void *user)
{
    fake_stream own = {0};
    trine_graph *empty = NULL;
    trine_event *event = NULL;
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .native = &own, .workspace_size = 500});
    EXPECT(trine_event_create(s, &event) == TRINE_OK && trine_graph_begin(s) == TRINE_OK &&
           trine_graph_end(s, &empty) == TRINE_OK);
    own.capturing = true;
    expect_closed(s, event, empty);
    trine_graph *none = empty;
    EXPECT(trine_graph_end(s, &none) == TRINE_ERROR_CAPTURE && none == NULL); /* not Trine's to end */
    own.capturing = false;
    EXPECT(trine_stream_synchronize(s) == TRINE_OK && control->ran == 1);
    trine_graph_destroy(empty);
    trine_event_destroy(event);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* A stream that goes while it is captured gives back everything. */
static void destroyed_while_captured(const void *user)
{
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .workspace_size = 500});
    EXPECT(trine_graph_begin(s) == TRINE_OK && trine_memset(s, memory, 1, 4) == TRINE_OK);
    trine_stream_destroy(s);
    EXPECT(control->live == 0 && memory[0] == 0);
    s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .workspace_size = 500});
    EXPECT(trine_graph_begin(s) == TRINE_OK);
    fail_at(FAKE_CAPTURE_END, 1, TRINE_ERROR_DEVICE);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

/* Events and graphs may outlive their stream; no more than to be destroyed, in any order. */
static void outlive_the_stream(const void *user)
{
    trine_graph *graph = NULL;
    trine_event *event = NULL;
    double seconds;
    bool event_first = user != NULL;
    use_fake();
    trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .workspace_size = 500});
    EXPECT(trine_event_create(s, &event) == TRINE_OK && trine_graph_begin(s) == TRINE_OK && trine_add(s, &add) == TRINE_OK &&
           trine_graph_end(s, &graph) == TRINE_OK);
    trine_stream_destroy(s);
    EXPECT(control->live > 0);
    EXPECT(trine_graph_launch(graph) == TRINE_ERROR_INVALID_ARGUMENT && control->ran == 0);
    EXPECT_TEXT("trine_graph_launch", "destroyed");
    s = fake_stream_create(NULL);
    EXPECT(trine_event_record(event, s) == TRINE_OK && trine_event_elapsed(event, event, &seconds) == TRINE_OK);
    if (event_first) trine_event_destroy(event);
    trine_graph_destroy(graph);
    if (!event_first) trine_event_destroy(event);
    trine_stream_destroy(s);
    EXPECT(control->live == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    fakes = argv[1];
    in_child("record and replay", record_and_replay, NULL);
    in_child("refused while captured", refused_while_captured, NULL);
    in_child("native capture", native_capture, NULL);
    in_child("destroyed while captured", destroyed_while_captured, NULL);
    in_child("outlive the stream", outlive_the_stream, NULL);
    in_child("outlive the stream, event first", outlive_the_stream, "event");
    return finish();
}
