/* The environment of a process on the CPU: TRINE_BACKEND, TRINE_FALLBACK, TRINE_VARIANT, TRINE_CPU_ISA. An empty variable counts
 * as unset. */
#include "tests/api/calls.h"
#include "tests/api/child.h"

/* The status of a stream made with these options, and where it runs. */
static trine_status create(const trine_stream_options *options, trine_device_props *props)
{
    trine_stream *s = NULL;
    memset(props, 0, sizeof *props);
    trine_status status = trine_stream_create(options, &s);
    if (status == TRINE_OK) trine_stream_get_props(s, props);
    trine_stream_destroy(s);
    return status;
}

static void backend(const void *user)
{
    trine_device_props props;
    const trine_stream_options cpu = {.backend = "cpu"}, any = {.flags = 0};
    (void)user;
    setenv("TRINE_PLUGIN_DIR", "/nonexistent", 1);
    setenv("TRINE_BACKEND", "cpu", 1);
    EXPECT(create(NULL, &props) == TRINE_OK && strcmp(props.backend, "cpu") == 0);
    setenv("TRINE_BACKEND", "cuda", 1);
    EXPECT(create(&any, &props) == TRINE_ERROR_UNAVAILABLE && strstr(trine_error_text(), "/nonexistent/libtrine-cuda.so"));
    EXPECT(create(&cpu, &props) == TRINE_OK);
    setenv("TRINE_BACKEND", "metal", 1);
    EXPECT(create(NULL, &props) == TRINE_ERROR_UNKNOWN_BACKEND && names_word(trine_error_text(), "metal"));
    setenv("TRINE_BACKEND", "cpu,metal", 1);
    EXPECT(create(NULL, &props) == TRINE_ERROR_UNKNOWN_BACKEND && names_word(trine_error_text(), "metal"));
    setenv("TRINE_BACKEND", "", 1);
    EXPECT(create(NULL, &props) == TRINE_OK && strcmp(props.backend, "cpu") == 0);
    unsetenv("TRINE_BACKEND");
    EXPECT(create(NULL, &props) == TRINE_OK && strcmp(props.backend, "cpu") == 0);
}

static void fallback(const void *user)
{
    trine_device_props props;
    const trine_stream_options plain = {.backend = "cpu"}, never = {.backend = "cpu", .flags = TRINE_STREAM_NO_FALLBACK};
    (void)user;
    setenv("TRINE_FALLBACK", "cpu", 1);
    EXPECT(create(&plain, &props) == TRINE_OK && create(&never, &props) == TRINE_OK);
    setenv("TRINE_FALLBACK", "", 1);
    EXPECT(create(&plain, &props) == TRINE_OK);
    setenv("TRINE_FALLBACK", "hip", 1);
    EXPECT(create(&plain, &props) == TRINE_ERROR_INVALID_ARGUMENT && names_word(trine_error_text(), "TRINE_FALLBACK"));
    EXPECT(create(&never, &props) == TRINE_OK); /* whatever it says */
}

static void variant(const void *user)
{
    trine_device_props props;
    const trine_stream_options plain = {.backend = "cpu"}, none = {.backend = "cpu", .variant = ""};
    (void)user;
    setenv("TRINE_VARIANT", "not_an_op=x", 1);
    EXPECT(create(&plain, &props) == TRINE_ERROR_INVALID_ARGUMENT && names_word(trine_error_text(), "not_an_op"));
    EXPECT(create(&none, &props) == TRINE_OK);
    setenv("TRINE_VARIANT", "", 1);
    EXPECT(create(&plain, &props) == TRINE_OK);
    /* a name that no op has: those that have variants refuse, the others run */
    float x[2] = {1, 2};
    trine_stream *s = NULL;
    trine_query_result answer;
    const trine_scale_args scale = {trine_tensor_1d(x, TRINE_F32, 2), trine_tensor_1d(x, TRINE_F32, 2), 3};
    trine_matmul_args matmul = {.a = trine_tensor_2d(x, TRINE_F32, 1, 2), .b = trine_tensor_2d(x, TRINE_F32, 2, 1), .alpha = 1};
    matmul.d = trine_tensor_2d(NULL, TRINE_F32, 1, 1);
    setenv("TRINE_VARIANT", "not_a_variant", 1);
    EXPECT(trine_stream_create(&plain, &s) == TRINE_OK && trine_scale(s, &scale) == TRINE_OK && x[1] == 6);
    trine_status status = trine_query(s, TRINE_OP_matmul, &matmul, &answer);
    CHECK(status == TRINE_ERROR_UNSUPPORTED && strstr(answer.why, "forced"), "matmul with an unknown variant: %s (%s)",
          trine_status_name(status), answer.why);
    trine_stream_destroy(s);
    /* asked of an op by name, one without variants refuses it too, before it writes; its own name is right */
    const trine_stream_options wrong = {.backend = "cpu", .variant = "scale=not_a_variant"};
    EXPECT(trine_stream_create(&wrong, &s) == TRINE_OK && trine_scale(s, &scale) == TRINE_ERROR_UNSUPPORTED && x[1] == 6);
    EXPECT(names_word(trine_error_text(), "scale") && strstr(trine_error_text(), "forced variant"));
    EXPECT(trine_query(s, TRINE_OP_scale, &scale, &answer) == TRINE_ERROR_UNSUPPORTED && strstr(answer.why, "forced"));
    EXPECT(trine_add_scalar(s, &scale) == TRINE_OK && x[1] == 9); /* another op */
    trine_stream_destroy(s);
    char text[64];
    EXPECT(trine_stream_create(&none, &s) == TRINE_OK && trine_query(s, TRINE_OP_scale, &scale, &answer) == TRINE_OK);
    trine_stream_destroy(s);
    snprintf(text, sizeof text, "scale=%s", answer.variant);
    EXPECT(trine_stream_create(&(trine_stream_options){.backend = "cpu", .variant = text}, &s) == TRINE_OK);
    EXPECT(trine_scale(s, &scale) == TRINE_OK && x[1] == 27);
    trine_stream_destroy(s);
}

static void isa(const void *user)
{
    static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "generic"};
    trine_device_props props, best;
    int opened = 0;
    (void)user;
    const trine_stream_options plain = {.backend = "cpu"};
    EXPECT(create(&plain, &best) == TRINE_OK);
    for (int i = 0; i < 4; i++) {
        const trine_stream_options at_level = {.backend = "cpu", .arch = levels[i]};
        setenv("TRINE_CPU_ISA", levels[i], 1);
        trine_status by_variable = create(&plain, &props);
        if (by_variable == TRINE_OK)
            EXPECT(strcmp(props.arch, levels[i]) == 0);
        else
            EXPECT(by_variable == TRINE_ERROR_UNSUPPORTED && strstr(trine_error_text(), levels[i]));
        EXPECT(create(&at_level, &props) == by_variable);
        opened += by_variable == TRINE_OK;
        EXPECT((trine_device_get_props("cpu", 0, &props) == TRINE_OK) == (by_variable == TRINE_OK));
    }
    EXPECT(opened >= 1);
    static const char *const unknown[] = {"x86-64-v9", "avx512", "X86-64-V2", "x86-64-v2 "};
    for (int i = 0; i < 4; i++) {
        setenv("TRINE_CPU_ISA", unknown[i], 1);
        EXPECT(create(&plain, &props) == TRINE_ERROR_UNSUPPORTED && strstr(trine_error_text(), unknown[i]) &&
               names_word(trine_error_text(), "cpu"));
    }
    const trine_stream_options chosen = {.backend = "cpu", .arch = best.arch}; /* the option wins over the variable */
    EXPECT(create(&chosen, &props) == TRINE_OK && strcmp(props.arch, best.arch) == 0);
    setenv("TRINE_CPU_ISA", "", 1);
    EXPECT(create(&plain, &props) == TRINE_OK && strcmp(props.arch, best.arch) == 0);
}

int main(void)
{
    in_child("TRINE_BACKEND", backend, NULL);
    in_child("TRINE_FALLBACK", fallback, NULL);
    in_child("TRINE_VARIANT", variant, NULL);
    in_child("TRINE_CPU_ISA", isa, NULL);
    return finish();
}
