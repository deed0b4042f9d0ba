/* A host allocator that fails at the k-th allocation, for every k, over a scenario that makes one of everything: each failure is
 * OUT_OF_MEMORY with a text, and nothing leaks. On the CPU, and on the fake plugin (captured graphs, fallback). argv[1]: the
 * folder of the fake plugins. */
#include "tests/api/fake_run.h"

static struct {
    long count, fails_at, live;
} host;

static void *failing_alloc(size_t bytes, void *user)
{
    (void)user;
    if (++host.count == host.fails_at) return NULL;
    host.live++;
    return malloc(bytes);
}

static void failing_release(void *ptr, void *user)
{
    (void)user;
    host.live--;
    free(ptr);
}

static float memory[12] = {1, 2, 3, 4, 5, 6, 7, 8};

typedef struct scene {
    trine_stream *stream;
    trine_event *begin, *end;
    trine_graph *graph;
    void *device;
} scene;

/* Stops at the first call that fails. */
#define STEP(call) \
    do { \
        trine_status step_status = (call); \
        if (step_status != TRINE_OK) return step_status; \
    } while (0)

static trine_status build(scene *s, const char *backend)
{
    const trine_stream_options options = {
        .backend = backend, .variant = "", .workspace_size = 100, .flags = TRINE_STREAM_FALLBACK_CPU};
    STEP(trine_stream_create(&options, &s->stream));
    STEP(trine_event_create(s->stream, &s->begin));
    STEP(trine_event_create(s->stream, &s->end));
    STEP(trine_malloc(s->stream, 64, &s->device));
    STEP(trine_event_record(s->begin, s->stream));
    STEP(trine_stream_reserve(s->stream, 1000));
    return trine_stream_synchronize(s->stream);
}

static trine_status record(scene *s)
{
    trine_tensor x = trine_tensor_1d(memory, TRINE_F32, 4), y = trine_tensor_1d(memory + 4, TRINE_F32, 4);
    STEP(trine_graph_begin(s->stream));
    STEP(trine_add(s->stream, &(trine_add_args){x, x, y}));
    STEP(trine_memcpy(s->stream, s->device, memory, 16, TRINE_HOST_TO_DEVICE));
    STEP(trine_memset(s->stream, s->device, 0, 8));
    STEP(trine_graph_end(s->stream, &s->graph));
    STEP(trine_graph_launch(s->graph));
    return trine_stream_synchronize(s->stream);
}

/* Ops, refused by the fake when `refuse` is set: then they are staged. */
static trine_status run(scene *s, bool refuse)
{
    trine_tensor x = trine_tensor_1d(memory, TRINE_F32, 4), y = trine_tensor_1d(memory + 4, TRINE_F32, 4),
                 z = trine_tensor_1d(memory + 8, TRINE_F32, 4);
    if (control) control->refuse = refuse;
    STEP(trine_add(s->stream, &(trine_add_args){x, y, z}));
    STEP(trine_scale(s->stream, &(trine_scale_args){z, z, 2}));
    STEP(trine_event_record(s->end, s->stream));
    return trine_stream_synchronize(s->stream);
}

/* said: the text of the first failure, before the scene is cleared. */
static trine_status play(const char *backend, char said[1024])
{
    scene s = {0};
    if (control) control->refuse = false;
    trine_status status = build(&s, backend);
    if (status == TRINE_OK) status = record(&s);
    if (status == TRINE_OK) status = run(&s, false);
    if (status == TRINE_OK) status = run(&s, true);
    snprintf(said, 1024, "%s", trine_error_text());
    trine_graph *half = NULL;
    if (s.stream && !s.graph && trine_graph_end(s.stream, &half) == TRINE_OK) trine_graph_destroy(half);
    trine_graph_destroy(s.graph);
    trine_event_destroy(s.begin);
    trine_event_destroy(s.end);
    if (s.device) EXPECT(trine_free(s.stream, s.device) == TRINE_OK);
    trine_stream_destroy(s.stream);
    return status;
}

/* The k-th allocation of the library fails. */
static void fail_each(const char *backend)
{
    long k = 0;
    char said[1024];
    trine_status status;
    EXPECT(trine_set_host_allocator(failing_alloc, failing_release, NULL) == TRINE_OK);
    do {
        host.count = 0;
        host.fails_at = ++k;
        trine_device_count("no backend", &(int32_t){0}); /* another text, so that an old one does not pass for this one */
        status = play(backend, said);
        bool reached = host.count >= k;
        CHECK(status == (reached ? TRINE_ERROR_OUT_OF_MEMORY : TRINE_OK), "%s: allocation %ld fails: %s", backend, k,
              trine_status_name(status));
        CHECK(!reached || !strstr(said, "no backend"), "%s: allocation %ld fails: no text", backend, k);
        CHECK(!reached || strstr(said, "memory"), "%s: allocation %ld fails: %s", backend, k, said);
        CHECK(host.live == 0, "%s: allocation %ld fails: %ld blocks are left", backend, k, host.live);
        CHECK(!control || control->live == 0, "%s: allocation %ld fails: %ld objects of the device are left", backend, k,
              control ? (long)control->live : 0);
    } while (status != TRINE_OK && k < 1000);
    EXPECT(k > 5 && k < 1000);
    EXPECT(trine_set_host_allocator(NULL, NULL, NULL) == TRINE_OK);
    printf("%s: %ld allocations\n", backend, k - 1);
}

static void on_cpu(const void *user)
{
    (void)user;
    fail_each("cpu");
}

static void on_fake(const void *user)
{
    (void)user;
    use_fake();
    fail_each("cuda");
}

/* The k-th call of each of the device's functions that may run out of memory fails. */
static void device_fails(const void *user)
{
    static const fake_function functions[] = {FAKE_OPEN, FAKE_STREAM,        FAKE_ALLOC,       FAKE_EVENT,  FAKE_COPY,
                                              FAKE_SET,  FAKE_CAPTURE_BEGIN, FAKE_CAPTURE_END, FAKE_LAUNCH, FAKE_OP};
    char said[1024];
    (void)user;
    use_fake();
    EXPECT(trine_set_host_allocator(failing_alloc, failing_release, NULL) == TRINE_OK);
    host.fails_at = 0;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        long k = 0;
        trine_status status;
        do {
            fail_at(functions[i], ++k, TRINE_ERROR_OUT_OF_MEMORY);
            status = play("cuda", said);
            bool reached = control->failing[functions[i]].at == 0;
            fail_at(functions[i], 0, TRINE_OK);
            CHECK(status == (reached ? TRINE_ERROR_OUT_OF_MEMORY : TRINE_OK), "function %zu, call %ld fails: %s", i, k,
                  trine_status_name(status));
            CHECK(!reached || strstr(said, "fake failure"), "function %zu, call %ld fails: %s", i, k, said);
            CHECK(host.live == 0 && control->live == 0, "function %zu, call %ld fails: %ld blocks, %ld objects are left", i, k,
                  host.live, (long)control->live);
        } while (status != TRINE_OK && k < 1000);
        EXPECT(k > 1 && k < 1000);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    fakes = argv[1];
    in_child("cpu", on_cpu, NULL);
    in_child("fake", on_fake, NULL);
    in_child("device", device_fails, NULL);
    return finish();
}
