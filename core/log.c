/* The log: off unless TRINE_LOG or trine_set_log ask for it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "core/internal.h"

typedef void (*sink_fn)(trine_log_level level, const char *line, void *user);

static const char *const level_names[] = {"off", "error", "warn", "info", "dispatch", "profile"};
static atomic_int current_level = -1; /* -1: TRINE_LOG not read yet */
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static sink_fn current_sink;
static void *current_user;

static int level_from_environment(void)
{
    const char *value = trine_env("TRINE_LOG");
    for (int i = 0; value && i < (int)(sizeof level_names / sizeof level_names[0]); i++)
        if (strcmp(value, level_names[i]) == 0) return i;
    if (value) fprintf(stderr, "trine: TRINE_LOG=%s is none of error, warn, info, dispatch, profile; taken as warn\n", value);
    return value ? TRINE_LOG_WARN : TRINE_LOG_OFF;
}

bool trine_log_wants(trine_log_level level)
{
    int wanted = atomic_load_explicit(&current_level, memory_order_relaxed);
    if (wanted < 0) {
        int unread = -1;
        wanted = level_from_environment();
        if (!atomic_compare_exchange_strong(&current_level, &unread, wanted)) wanted = unread;
    }
    return (int)level <= wanted;
}

void trine_log(trine_log_level level, const char *format, ...)
{
    if (!trine_log_wants(level)) return;
    char line[1280];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    pthread_mutex_lock(&sink_lock);
    sink_fn sink = current_sink;
    void *user = current_user;
    if (!sink) fprintf(stderr, "trine %s: %s\n", level_names[level], line);
    pthread_mutex_unlock(&sink_lock);
    if (sink) sink(level, line, user);
}

void trine_set_log(trine_log_level level, sink_fn sink, void *user)
{
    pthread_mutex_lock(&sink_lock);
    current_sink = sink;
    current_user = user;
    pthread_mutex_unlock(&sink_lock);
    int asked = (int)level; /* the enum may be unsigned */
    atomic_store(&current_level, asked < TRINE_LOG_OFF ? TRINE_LOG_OFF : asked > TRINE_LOG_PROFILE ? TRINE_LOG_PROFILE : asked);
}
