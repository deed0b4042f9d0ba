/* The log: levels, sinks, and what TRINE_LOG writes to stderr. */
#include <fcntl.h>

#include "tests/api/calls.h"
#include "tests/api/child.h"

static struct {
    long lines[TRINE_LOG_PROFILE + 1];
    char last[1400];
    void *user;
} heard;

static void listen(trine_log_level level, const char *line, void *user)
{
    heard.lines[level]++;
    snprintf(heard.last, sizeof heard.last, "%s", line);
    heard.user = user;
    if (level == TRINE_LOG_ERROR) heard.lines[0] += trine_error_text()[0] != 0; /* a sink may call Trine */
}

static float memory[12];

static trine_add_args add_args(void)
{
    return (trine_add_args){trine_tensor_2d(memory, TRINE_F32, 2, 2), trine_tensor_1d(memory + 4, TRINE_F32, 2),
                            trine_tensor_2d(memory + 8, TRINE_F32, 2, 2)};
}

/* Runs one op that works and one call that fails. */
static void do_something(trine_stream *s)
{
    int32_t count;
    trine_add_args a = add_args();
    memset(&heard, 0, sizeof heard);
    EXPECT(trine_add(s, &a) == TRINE_OK && trine_device_count("nobody", &count) == TRINE_ERROR_UNKNOWN_BACKEND);
}

static void levels(const void *user)
{
    trine_stream *s = cpu_stream();
    (void)user;
    trine_set_log(TRINE_LOG_OFF, listen, NULL);
    do_something(s);
    EXPECT(!heard.last[0]);
    trine_set_log(TRINE_LOG_ERROR, listen, &heard);
    do_something(s);
    EXPECT(heard.lines[TRINE_LOG_ERROR] == 1 && heard.lines[0] == 1 && heard.user == &heard && strstr(heard.last, "nobody"));
    EXPECT(strstr(heard.last, "TRINE_ERROR_UNKNOWN_BACKEND") && heard.lines[TRINE_LOG_DISPATCH] == 0);
    trine_set_log(TRINE_LOG_INFO, listen, NULL);
    do_something(s);
    EXPECT(heard.lines[TRINE_LOG_ERROR] == 1 && heard.lines[TRINE_LOG_DISPATCH] == 0);
    trine_set_log(TRINE_LOG_DISPATCH, listen, NULL);
    do_something(s);
    EXPECT(heard.lines[TRINE_LOG_ERROR] == 1 && heard.lines[TRINE_LOG_DISPATCH] == 1 && heard.lines[TRINE_LOG_PROFILE] == 0);
    trine_set_log(TRINE_LOG_PROFILE, listen, NULL);
    do_something(s);
    EXPECT(heard.lines[TRINE_LOG_PROFILE] == 1);
    trine_set_log((trine_log_level)-5, listen, NULL);
    do_something(s);
    EXPECT(!heard.last[0]);
    trine_set_log((trine_log_level)99, listen, NULL);
    do_something(s);
    EXPECT(heard.lines[TRINE_LOG_PROFILE] == 1);
    trine_set_log(TRINE_LOG_OFF, NULL, NULL);
    do_something(s);
    EXPECT(!heard.last[0]);
    trine_stream_destroy(s);
}

/* A success is no error, even if it passed over other backends. */
static void quiet_success(const void *user)
{
    trine_stream *s = NULL;
    (void)user;
    setenv("TRINE_PLUGIN_DIR", "/nonexistent", 1);
    trine_set_log(TRINE_LOG_WARN, listen, NULL);
    memset(&heard, 0, sizeof heard);
    EXPECT(trine_stream_create(NULL, &s) == TRINE_OK);
    CHECK(!heard.last[0], "a success wrote: %s", heard.last);
    trine_stream_destroy(s);
    trine_set_log(TRINE_LOG_INFO, listen, NULL);
    EXPECT(trine_stream_create(NULL, &s) == TRINE_OK && heard.lines[TRINE_LOG_INFO] >= 2 && heard.lines[TRINE_LOG_ERROR] == 0);
    trine_stream_destroy(s);
}

static void line_of_dispatch(const void *user)
{
    trine_stream *s = cpu_stream();
    trine_add_args a = add_args();
    trine_query_result answer;
    (void)user;
    EXPECT(trine_query(s, TRINE_OP_add, &a, &answer) == TRINE_OK);
    trine_set_log(TRINE_LOG_DISPATCH, listen, NULL);
    EXPECT(trine_add(s, &a) == TRINE_OK);
    CHECK(strstr(heard.last, "cpu add a f32[2,2] b f32[2] y f32[2,2]"), "dispatch: %s", heard.last);
    CHECK(answer.variant[0] && names_word(heard.last, answer.variant) && !strstr(heard.last, " us"), "dispatch: %s (variant %s)",
          heard.last, answer.variant);
    trine_set_log(TRINE_LOG_PROFILE, listen, NULL);
    EXPECT(trine_add(s, &a) == TRINE_OK);
    CHECK(names_word(heard.last, answer.variant) && strstr(heard.last, " us"), "profile: %s", heard.last);
    const int64_t big[TRINE_MAX_DIMS] = {1, 1, 1, 1, 1, 1, 1, 4}; /* a long line is cut, not overrun */
    a.a = trine_tensor_make(memory, TRINE_F32, 8, big);
    a.b = trine_tensor_make(memory + 4, TRINE_F32, 8, big);
    a.y = trine_tensor_make(memory + 8, TRINE_F32, 8, big);
    EXPECT(trine_add(s, &a) == TRINE_OK && strstr(heard.last, "[1,1,1,1,1,1,1,4]"));
    trine_stream_destroy(s);
}

/* What a process with TRINE_LOG=value writes to stderr. */
static const char *written(const char *value)
{
    static char text[4096];
    int ends[2], old = dup(2);
    if (value) setenv("TRINE_LOG", value, 1);
    EXPECT(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
    trine_stream *s = cpu_stream();
    do_something(s);
    trine_stream_destroy(s);
    fflush(stderr);
    dup2(old, 2);
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static void variable(const void *user)
{
    static const struct {
        const char *value;
        bool error, dispatch, time, complaint;
    } rows[] = {{NULL, 0, 0, 0, 0},   {"", 0, 0, 0, 0},         {"error", 1, 0, 0, 0},   {"warn", 1, 0, 0, 0},
                {"info", 1, 0, 0, 0}, {"dispatch", 1, 1, 0, 0}, {"profile", 1, 1, 1, 0}, {"loud", 1, 0, 0, 1}};
    const size_t i = *(const size_t *)user;
    const char *text = written(rows[i].value);
    CHECK(!strstr(text, "nobody") == !rows[i].error, "TRINE_LOG=%s: %s", rows[i].value, text);
    CHECK(!strstr(text, "cpu add a f32[2,2]") == !rows[i].dispatch, "TRINE_LOG=%s: %s", rows[i].value, text);
    CHECK(!strstr(text, " us") == !rows[i].time, "TRINE_LOG=%s: %s", rows[i].value, text);
    CHECK(!strstr(text, "TRINE_LOG=loud") == !rows[i].complaint, "TRINE_LOG=%s: %s", rows[i].value, text);
    CHECK(rows[i].error || !text[0], "TRINE_LOG=%s: not silent: %s", rows[i].value ? rows[i].value : "(unset)", text);
}

int main(void)
{
    in_child("levels", levels, NULL);
    in_child("quiet success", quiet_success, NULL);
    in_child("line of dispatch", line_of_dispatch, NULL);
    for (size_t i = 0; i < 8; i++) in_child("TRINE_LOG", variable, &i);
    return finish();
}
