/* Statuses and their texts; NULL and nonsense given to every function that is no op; streams on the CPU. */
#include <pthread.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

/* A call that fails with this status and names this word. */
#define REFUSED(call, status, word) \
    do { \
        EXPECT((call) == (status)); \
        CHECK(names_word(trine_error_text(), word), "line %d: the text lacks '%s': %s", __LINE__, word, trine_error_text()); \
    } while (0)

static void test_names(void)
{
    EXPECT(trine_error_text()[0] == '\0');
    EXPECT(strcmp(trine_status_name(TRINE_OK), "TRINE_OK") == 0);
    for (int i = 1; i < TRINE_STATUS_COUNT; i++) {
        const char *name = trine_status_name((trine_status)i);
        EXPECT(name && strncmp(name, "TRINE_ERROR_", 12) == 0 && name[12] != '?');
        for (int k = 0; k < i; k++) EXPECT(strcmp(name, trine_status_name((trine_status)k)) != 0);
    }
    EXPECT(strcmp(trine_status_name((trine_status)TRINE_STATUS_COUNT), "TRINE_ERROR_?") == 0 &&
           strcmp(trine_status_name((trine_status)-1), "TRINE_ERROR_?") == 0);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", TRINE_VERSION_MAJOR, TRINE_VERSION_MINOR, TRINE_VERSION_PATCH);
    EXPECT(strcmp(trine_version(), version) == 0);
}

static void test_ops_list(void)
{
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        const trine_op_info *info = trine_op_get_info((trine_op)op);
        bool output = false;
        size_t end = 0;
        EXPECT(info && info->name[0] && info->family[0] && info->field_count > 0 && info->args_size <= CASE_ARGS_MAX);
        for (int32_t i = 0; i < info->field_count; i++) {
            const trine_op_field *f = &info->fields[i];
            output |= (f->flags & TRINE_FIELD_OUT) != 0;
            const size_t size = f->flags & TRINE_FIELD_LIST ? sizeof(trine_tensor_list) : sizeof(trine_tensor);
            EXPECT(f->name[0] && f->offset >= end && f->offset + size <= info->args_size &&
                   f->offset % _Alignof(trine_tensor) == 0);
            EXPECT(f->flags & (TRINE_FIELD_IN | TRINE_FIELD_OUT));
            /* what is updated has no second view to be in place of */
            EXPECT(!(f->flags & TRINE_FIELD_INPLACE) || (f->flags & (TRINE_FIELD_IN | TRINE_FIELD_OUT)) == TRINE_FIELD_OUT);
            end = f->offset + size;
        }
        EXPECT(output);
    }
}

static void test_backends(void)
{
    trine_device_props props;
    int32_t count = 5;
    EXPECT(strcmp(trine_backend_name(0), "cuda") == 0 && strcmp(trine_backend_name(1), "hip") == 0 &&
           strcmp(trine_backend_name(2), "cpu") == 0);
    EXPECT(trine_backend_name(3) == NULL && trine_backend_name(-1) == NULL);
    REFUSED(trine_device_count("rocm", &count), TRINE_ERROR_UNKNOWN_BACKEND, "rocm");
    REFUSED(trine_device_count("", &count), TRINE_ERROR_UNKNOWN_BACKEND, "cpu");
    REFUSED(trine_device_count(NULL, &count), TRINE_ERROR_INVALID_ARGUMENT, "trine_device_count");
    REFUSED(trine_device_count("cpu", NULL), TRINE_ERROR_INVALID_ARGUMENT, "trine_device_count");
    REFUSED(trine_device_get_props("cpu", 0, NULL), TRINE_ERROR_INVALID_ARGUMENT, "trine_device_get_props");
    REFUSED(trine_device_get_props("cpu", 1, &props), TRINE_ERROR_INVALID_ARGUMENT, "cpu");
    REFUSED(trine_device_get_props("cpu", -1, &props), TRINE_ERROR_INVALID_ARGUMENT, "cpu");
    REFUSED(trine_device_get_props("cpu:0", 0, &props), TRINE_ERROR_UNKNOWN_BACKEND, "cpu");
    REFUSED(trine_device_get_props(NULL, 0, &props), TRINE_ERROR_INVALID_ARGUMENT, "NULL");
    EXPECT(trine_device_count("cpu", &count) == TRINE_OK && count == 1);
    EXPECT(trine_device_get_props("cpu", 0, &props) == TRINE_OK && strcmp(props.backend, "cpu") == 0 && props.index == 0 &&
           props.wave_size == 1);
    EXPECT(props.name[0] && props.arch[0] && props.driver[0] && props.compute_units >= 1 && props.memory_bytes > 0 &&
           props.shared_bytes == 0);
}

static void test_no_stream(void)
{
    void *ptr = NULL;
    char byte = 0;
    double number;
    trine_event *event = NULL;
    trine_graph *graph = NULL;
    trine_device_props props;
    const trine_status bad = TRINE_ERROR_INVALID_ARGUMENT;
    REFUSED(trine_stream_create(NULL, NULL), bad, "trine_stream_create");
    REFUSED(trine_stream_synchronize(NULL), bad, "trine_stream_synchronize");
    REFUSED(trine_stream_reserve(NULL, 1), bad, "trine_stream_reserve");
    REFUSED(trine_stream_get_props(NULL, &props), bad, "trine_stream_get_props");
    REFUSED(trine_malloc(NULL, 1, &ptr), bad, "trine_malloc");
    REFUSED(trine_free(NULL, &byte), bad, "trine_free");
    REFUSED(trine_memcpy(NULL, &byte, &byte, 1, TRINE_HOST_TO_DEVICE), bad, "trine_memcpy");
    REFUSED(trine_memset(NULL, &byte, 0, 1), bad, "trine_memset");
    REFUSED(trine_event_create(NULL, &event), bad, "trine_event_create");
    REFUSED(trine_event_record(NULL, NULL), bad, "trine_event_record");
    REFUSED(trine_event_elapsed(NULL, NULL, &number), bad, "trine_event_elapsed");
    REFUSED(trine_probe(NULL, TRINE_PROBE_EMPTY, &number), bad, "trine_probe");
    REFUSED(trine_graph_begin(NULL), bad, "trine_graph_begin");
    REFUSED(trine_graph_end(NULL, &graph), bad, "trine_graph_end");
    REFUSED(trine_graph_launch(NULL), bad, "trine_graph_launch");
    REFUSED(trine_set_host_allocator(NULL, (void (*)(void *, void *))(void *)&fail, NULL), bad, "trine_set_host_allocator");
    EXPECT(trine_stream_native(NULL) == NULL);
    trine_stream_destroy(NULL);
    trine_event_destroy(NULL);
    trine_graph_destroy(NULL);
}

static void test_null_arguments(trine_stream *s)
{
    const trine_status bad = TRINE_ERROR_INVALID_ARGUMENT;
    trine_graph *graph = NULL;
    trine_event *event = NULL;
    double number;
    REFUSED(trine_stream_get_props(s, NULL), bad, "trine_stream_get_props");
    REFUSED(trine_malloc(s, 1, NULL), bad, "trine_malloc");
    REFUSED(trine_event_create(s, NULL), bad, "trine_event_create");
    REFUSED(trine_event_record(NULL, s), bad, "trine_event_record");
    REFUSED(trine_graph_end(s, NULL), bad, "trine_graph_end");
    REFUSED(trine_graph_end(s, &graph), TRINE_ERROR_CAPTURE, "cpu");
    REFUSED(trine_probe(s, (trine_probe_kind)77, &number), TRINE_ERROR_UNSUPPORTED, "cpu");
    EXPECT(trine_probe(s, TRINE_PROBE_EMPTY, NULL) == TRINE_OK && trine_probe(s, TRINE_PROBE_EMPTY, &number) == TRINE_OK &&
           number == 0);
    EXPECT(trine_event_create(s, &event) == TRINE_OK);
    REFUSED(trine_event_elapsed(event, event, &number), bad, "trine_event_elapsed"); /* not recorded */
    EXPECT(trine_event_record(event, s) == TRINE_OK);
    REFUSED(trine_event_elapsed(event, event, NULL), bad, "trine_event_elapsed");
    REFUSED(trine_event_elapsed(NULL, event, &number), bad, "trine_event_elapsed");
    EXPECT(trine_event_elapsed(event, event, &number) == TRINE_OK && number == 0);
    trine_event_destroy(event);
}

static void test_stream_options(void)
{
    static const struct {
        trine_stream_options options;
        trine_status status;
        const char *says;
    } rows[] = {
        {{.backend = "cpu", .flags = 16}, TRINE_ERROR_INVALID_ARGUMENT, "flags"},
        {{.backend = "cpu", .flags = 0x80000000u}, TRINE_ERROR_INVALID_ARGUMENT, "flags"},
        {{.backend = "gpu"}, TRINE_ERROR_UNKNOWN_BACKEND, "gpu"},
        {{.backend = "gpu", .arch = "sm_90"}, TRINE_ERROR_UNKNOWN_BACKEND, "gpu"},
        {{.backend = "cpux", .arch = "x86-64-v2"}, TRINE_ERROR_UNKNOWN_BACKEND, "cpux"},
        {{.backend = "cpu", .arch = "x86-64-v9"}, TRINE_ERROR_UNSUPPORTED, "cpu"},
        {{.backend = "cpu", .arch = "sm_90"}, TRINE_ERROR_UNSUPPORTED, "sm_90"},
        {{.backend = "cpu", .native = (void *)&passed}, TRINE_ERROR_INVALID_ARGUMENT, "native"},
        {{.backend = "cpu", .variant = "nothing=x"}, TRINE_ERROR_INVALID_ARGUMENT, "variant"},
        {{.backend = "cpu", .workspace_size = SIZE_MAX / 2}, TRINE_ERROR_OUT_OF_MEMORY, "cpu"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        trine_stream *s = (trine_stream *)(void *)&passed;
        trine_status status = trine_stream_create(&rows[i].options, &s);
        CHECK(status == rows[i].status && s == NULL, "options %zu: status %s", i, trine_status_name(status));
        CHECK(strstr(trine_error_text(), rows[i].says), "options %zu: the text lacks '%s': %s", i, rows[i].says,
              trine_error_text());
    }
    static char text[300];
    memset(text, 'x', sizeof text - 1);
    trine_stream *s;
    const trine_stream_options long_variant = {.backend = "cpu", .variant = text}, flags = {.backend = "cpu", .flags = 15};
    EXPECT(trine_stream_create(&long_variant, &s) == TRINE_ERROR_INVALID_ARGUMENT && !s);
    EXPECT(trine_stream_create(&flags, &s) == TRINE_OK && trine_stream_native(s) == NULL);
    trine_stream_destroy(s);
}

/* The text belongs to the thread, and a success leaves it alone. */
static void *other_thread(void *user)
{
    int32_t count;
    (void)user;
    if (trine_error_text()[0]) return "another thread's text";
    trine_device_count("other", &count);
    return strstr(trine_error_text(), "other") ? NULL : "no text of its own";
}

static void test_text(trine_stream *s)
{
    pthread_t thread;
    void *complaint = "no thread";
    int32_t count;
    EXPECT(trine_device_count("mine", &count) == TRINE_ERROR_UNKNOWN_BACKEND);
    if (pthread_create(&thread, NULL, other_thread, NULL) == 0) pthread_join(thread, &complaint);
    CHECK(!complaint, "%s", (const char *)complaint);
    EXPECT(strstr(trine_error_text(), "mine") && trine_stream_synchronize(s) == TRINE_OK && strstr(trine_error_text(), "mine"));
    trine_stream *another;
    EXPECT(trine_stream_create(NULL, &another) == TRINE_OK && strstr(trine_error_text(), "mine"));
    trine_stream_destroy(another);
    static char name[4000]; /* longer than any buffer */
    memset(name, 'n', sizeof name - 1);
    EXPECT(trine_device_count(name, &count) == TRINE_ERROR_UNKNOWN_BACKEND && strlen(trine_error_text()) > 100 &&
           strlen(trine_error_text()) < 1024);
}

int main(void)
{
    test_names();
    test_ops_list();
    test_backends();
    test_no_stream();
    test_stream_options();
    trine_stream *s = cpu_stream();
    test_null_arguments(s);
    test_text(s);
    trine_stream_destroy(s);
    return finish();
}
