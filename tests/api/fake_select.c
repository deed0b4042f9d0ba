/* Selections, forced variants, queries about devices that are not there, the lines of the log: on the fake plugin as cuda, with
 * no hip. argv[1]: the folder of the fake plugins. */
#include "tests/api/fake_run.h"

/* The backend and index that a selection ends at, "cuda 1"; the status' name when it fails. */
static const char *selected(const char *selection, const char *variable)
{
    static char text[64];
    trine_stream *stream = NULL;
    trine_device_props props;
    if (variable)
        setenv("TRINE_BACKEND", variable, 1);
    else
        unsetenv("TRINE_BACKEND");
    trine_status status = trine_stream_create(&(trine_stream_options){.backend = selection}, &stream);
    if (status != TRINE_OK) return trine_status_name(status);
    trine_stream_get_props(stream, &props);
    snprintf(text, sizeof text, "%s %d", props.backend, (int)props.index);
    trine_stream_destroy(stream);
    return text;
}
#define SELECTS(selection, variable, expected) \
    do { \
        const char *got = selected(selection, variable); \
        CHECK(strcmp(got, expected) == 0, "line %d: selected %s, not %s (%s)", __LINE__, got, expected, trine_error_text()); \
    } while (0)

static void selections(const void *user)
{
    (void)user;
    use_fake();
    SELECTS(NULL, NULL, "cuda 0");
    SELECTS(NULL, "", "cuda 0");
    SELECTS(NULL, "auto", "cuda 0");
    SELECTS("auto", "cpu", "cuda 0");
    SELECTS(NULL, "cpu", "cpu 0");
    SELECTS("cpu", "cuda", "cpu 0");
    SELECTS(NULL, "cuda:1", "cuda 1");
    SELECTS("cuda:1", NULL, "cuda 1");
    SELECTS("cpu:0", NULL, "cpu 0");
    SELECTS("hip,cuda:1,cpu", NULL, "cuda 1");
    SELECTS("hip, cuda", NULL, "cuda 0");
    SELECTS("cuda:7,cuda:1", NULL, "cuda 1");
    SELECTS("cuda:7,cpu", NULL, "cpu 0");
    SELECTS("cuda:2", NULL, "TRINE_ERROR_UNAVAILABLE");
    EXPECT_TEXT("cuda", "no device 2");
    SELECTS("cpu:1", NULL, "TRINE_ERROR_UNAVAILABLE");
    SELECTS("hip", NULL, "TRINE_ERROR_UNAVAILABLE");
    SELECTS("hip,cuda:9", NULL, "TRINE_ERROR_UNAVAILABLE");
    EXPECT(strstr(trine_error_text(), "hip") && strstr(trine_error_text(), "no device 9"));
    static const char *const unknown[] = {
        "",        "cud",     "CPU",     "cuda ,cpux", "cpu,bogus",  "cuda,cpu,rocm",    "cuda:", "cuda:x",   "cuda:1x",
        "cuda:-1", "cuda:+1", "cuda: 1", ":0",         "cpu,cuda:x", "cuda:99999999999", ",",     "auto,cpu", "cpu:0:0"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const char *got = selected(unknown[i], NULL);
        CHECK(strcmp(got, "TRINE_ERROR_UNKNOWN_BACKEND") == 0, "'%s' selects %s", unknown[i], got);
    }
    char many[600] = "cpu";
    while (strlen(many) < 250) strcat(many, ",cpu");
    SELECTS(many, NULL, "cpu 0");
    while (strlen(many) < 500) strcat(many, ",cpu");
    SELECTS(many, NULL, "TRINE_ERROR_UNKNOWN_BACKEND");
    EXPECT(control->live == 0);
}

static void without_devices(const void *user)
{
    int32_t count = 7;
    (void)user;
    use_fake();
    control->devices = 0;
    EXPECT(trine_device_count("cuda", &count) == TRINE_OK && count == 0);
    SELECTS("cuda", NULL, "TRINE_ERROR_UNAVAILABLE");
    SELECTS(NULL, NULL, "cpu 0");
    fail_at(FAKE_COUNT, 1, TRINE_ERROR_UNAVAILABLE);
    count = 7;
    EXPECT(trine_device_count("cuda", &count) == TRINE_ERROR_UNAVAILABLE && count == 0);
    EXPECT_TEXT("cuda", "fake failure");
    fail_at(FAKE_COUNT, 1, TRINE_ERROR_UNAVAILABLE);
    SELECTS("cuda", NULL, "TRINE_ERROR_UNAVAILABLE");
    fail_at(FAKE_COUNT, 1, TRINE_ERROR_UNAVAILABLE);
    SELECTS("auto", NULL, "cpu 0");
    control->devices = 2;
    fail_at(FAKE_OPEN, 1, TRINE_ERROR_UNSUPPORTED); /* a device that this build has no code for: the next one */
    SELECTS("auto", NULL, "cpu 0");
    fail_at(FAKE_OPEN, 1, TRINE_ERROR_UNSUPPORTED);
    SELECTS("cuda", NULL, "TRINE_ERROR_UNSUPPORTED");
}

static void queries_only(const void *user)
{
    static const char *const selections[] = {"cuda", "cuda:1", "auto", "hip,cuda"};
    float memory[12] = {0};
    trine_query_result answer;
    trine_device_props props;
    trine_add_args a = {trine_tensor_1d(memory, TRINE_F32, 4), trine_tensor_1d(memory + 4, TRINE_F32, 4),
                        trine_tensor_1d(memory + 8, TRINE_F32, 4)};
    (void)user;
    use_fake();
    control->devices = 0; /* it need not be there */
    for (size_t i = 0; i < sizeof selections / sizeof selections[0]; i++) {
        trine_stream *s = NULL;
        trine_event *event = NULL;
        void *ptr = NULL;
        trine_status status =
            trine_stream_create(&(trine_stream_options){.backend = selections[i], .arch = "sm_90", .workspace_size = 100}, &s);
        CHECK(status == TRINE_OK, "%s for sm_90: %s", selections[i], trine_error_text());
        if (status != TRINE_OK) continue;
        EXPECT(trine_stream_get_props(s, &props) == TRINE_OK && strcmp(props.arch, "sm_90") == 0 &&
               trine_stream_native(s) == NULL);
        EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK && strcmp(answer.variant, "slow") == 0);
        EXPECT(trine_add(s, &a) == TRINE_ERROR_UNAVAILABLE);
        EXPECT_TEXT("add", "only answers queries");
        EXPECT(trine_malloc(s, 8, &ptr) == TRINE_ERROR_UNAVAILABLE && trine_stream_synchronize(s) == TRINE_ERROR_UNAVAILABLE);
        EXPECT(trine_memset(s, memory, 0, 4) == TRINE_ERROR_UNAVAILABLE &&
               trine_memcpy(s, memory, memory, 4, TRINE_DEVICE_TO_DEVICE) == TRINE_ERROR_UNAVAILABLE);
        EXPECT(trine_event_create(s, &event) == TRINE_ERROR_UNAVAILABLE && trine_graph_begin(s) == TRINE_ERROR_UNAVAILABLE);
        EXPECT(trine_stream_reserve(s, 10) == TRINE_ERROR_UNAVAILABLE &&
               trine_probe(s, TRINE_PROBE_EMPTY, NULL) == TRINE_ERROR_UNAVAILABLE);
        trine_stream_destroy(s);
        EXPECT(control->live == 0 && control->waited == 0);
    }
    trine_stream *s = NULL;
    EXPECT(trine_stream_create(&(trine_stream_options){.backend = "cuda", .arch = "sm_12345"}, &s) == TRINE_ERROR_UNSUPPORTED &&
           !s);
    EXPECT_TEXT("cuda", "sm_12345");
    EXPECT(trine_stream_create(&(trine_stream_options){.backend = "cuda,cpu", .arch = "x86-64-v99"}, &s) ==
               TRINE_ERROR_UNSUPPORTED &&
           !s);
}

/* ---- Variants ---- */

static void variants(const void *user)
{
    static const struct {
        const char *option, *variable;
        bool fast;
        const char *add, *mul; /* the variants that run; NULL: refused */
    } rows[] = {
        {NULL, NULL, true, "fast", "fast"},
        {NULL, NULL, false, "slow", "slow"},
        {NULL, "slow", true, "slow", "slow"},
        {NULL, "", true, "fast", "fast"},
        {"", "slow", true, "fast", "fast"},
        {"fast", "slow", true, "fast", "fast"},
        {"fast", NULL, false, NULL, NULL},
        {NULL, "add=slow", true, "slow", "fast"},
        {"add=slow,mul=fast", NULL, true, "slow", "fast"},
        {"slow,mul=fast", NULL, true, "slow", "fast"},
        {"add=bogus", NULL, true, NULL, "fast"},
        {"bogus", NULL, true, NULL, NULL},
    };
    float memory[12] = {0};
    trine_add_args a = {trine_tensor_1d(memory, TRINE_F32, 4), trine_tensor_1d(memory + 4, TRINE_F32, 4),
                        trine_tensor_1d(memory + 8, TRINE_F32, 4)};
    (void)user;
    use_fake();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        trine_query_result answer;
        if (rows[i].variable)
            setenv("TRINE_VARIANT", rows[i].variable, 1);
        else
            unsetenv("TRINE_VARIANT");
        control->fast = rows[i].fast;
        trine_stream *s = fake_stream_create(&(trine_stream_options){.backend = "cuda", .variant = rows[i].option});
        for (int k = 0; k < 2; k++) {
            const char *expected = k ? rows[i].mul : rows[i].add;
            trine_op op = k ? TRINE_OP_mul : TRINE_OP_add;
            trine_status asked = trine_query(s, op, &a, &answer), ran = trine_run(s, op, &a);
            CHECK(asked == (expected ? TRINE_OK : TRINE_ERROR_UNSUPPORTED) && ran == asked, "row %zu: %s, %s", i,
                  trine_status_name(asked), trine_status_name(ran));
            CHECK(strcmp(answer.variant, expected ? expected : "") == 0, "row %zu: variant %s", i, answer.variant);
            CHECK(expected || answer.why[0], "row %zu: no reason", i);
        }
        trine_stream_destroy(s);
    }
    EXPECT(control->live == 0);
}

static void wrong_variants(const void *user)
{
    static const char *const wrong[] = {"bogus_op=fast", "add=", "=fast", "add=slow,nothing=x"};
    (void)user;
    use_fake();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        trine_stream *s = NULL;
        const trine_stream_options options = {.backend = "cuda", .variant = wrong[i]};
        CHECK(trine_stream_create(&options, &s) == TRINE_ERROR_INVALID_ARGUMENT && !s, "'%s' passes", wrong[i]);
        EXPECT(names_word(trine_error_text(), "variant"));
    }
    EXPECT(control->live == 0);
}

static void lists_of_variants(const void *user)
{
    float memory[12] = {0};
    trine_query_result answer;
    trine_add_args a = {trine_tensor_1d(memory, TRINE_F32, 4), trine_tensor_1d(memory + 4, TRINE_F32, 4),
                        trine_tensor_1d(memory + 8, TRINE_F32, 4)};
    (void)user;
    use_fake();
    trine_stream *s = fake_stream_create(NULL);
    control->fast = true;
    control->workspace = 123;
    EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK && strcmp(answer.accepted, "fast,slow") == 0 && !answer.why[0] &&
           answer.workspace == 123);
    control->fast = false;
    EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK && strcmp(answer.accepted, "slow") == 0 &&
           strcmp(answer.why, "fast: is not fast today") == 0);
    a.a.data = a.b.data = a.y.data = NULL;
    EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK && control->ran == 0);
    trine_stream_destroy(s);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    fakes = argv[1];
    in_child("selections", selections, NULL);
    in_child("without devices", without_devices, NULL);
    in_child("queries only", queries_only, NULL);
    in_child("variants", variants, NULL);
    in_child("wrong variants", wrong_variants, NULL);
    in_child("lists of variants", lists_of_variants, NULL);
    return finish();
}
