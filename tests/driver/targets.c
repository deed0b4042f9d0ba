#include "tests/driver/targets.h"

#include <string.h>

static const char *const cpu_levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", "generic"};

static int open_one(target *t, const char *backend, const char *arch, FILE *report)
{
    memset(t, 0, sizeof *t);
    snprintf(t->backend, sizeof t->backend, "%s", backend);
    snprintf(t->arch, sizeof t->arch, "%s", arch ? arch : "");
    trine_stream_options options = {.backend = t->backend, .arch = arch, .variant = "", .flags = TRINE_STREAM_NO_FALLBACK};
    if (trine_stream_create(&options, &t->stream) == TRINE_OK) {
        trine_stream_get_props(t->stream, &t->props);
        return 1;
    }
    if (report) fprintf(report, "skipped %s%s%s: %s\n", backend, arch ? " " : "", arch ? arch : "", trine_error_text());
    return 0;
}

static int open_backend(target *targets, int room, const char *name, FILE *report)
{
    int32_t devices = 0;
    int count = 0;
    if (strcmp(name, "cpu") == 0) {
        for (size_t i = 0; i < sizeof cpu_levels / sizeof cpu_levels[0] && count < room; i++)
            count += open_one(&targets[count], name, cpu_levels[i], strcmp(cpu_levels[i], "generic") ? report : NULL);
        return count;
    }
    trine_status status = trine_device_count(name, &devices);
    if (status != TRINE_OK || devices == 0) {
        if (report) fprintf(report, "skipped %s: %s\n", name, status == TRINE_OK ? "it has no device" : trine_error_text());
        return 0;
    }
    for (int32_t i = 0; i < devices && count < room; i++) {
        char word[32];
        snprintf(word, sizeof word, "%s:%d", name, (int)i);
        count += open_one(&targets[count], word, NULL, report);
    }
    return count;
}

int targets_open(target targets[TARGETS_MAX], const char *backend, const char *arch, FILE *report)
{
    int count = 0;
    if (backend && (arch || strchr(backend, ':'))) return open_one(targets, backend, arch, report);
    for (int32_t i = 0; trine_backend_name(i); i++)
        if (!backend || strcmp(backend, trine_backend_name(i)) == 0)
            count += open_backend(targets + count, TARGETS_MAX - count, trine_backend_name(i), report);
    return count;
}

trine_stream *target_stream(target *t, const char *variant)
{
    int i = 0;
    if (!variant || !variant[0]) return t->stream;
    while (i < TARGET_STREAMS - 1 && t->forced[i].stream && strcmp(t->forced[i].variant, variant) != 0) i++;
    if (t->forced[i].stream && strcmp(t->forced[i].variant, variant) != 0) {
        trine_stream_destroy(t->forced[i].stream); /* the last place is used in turn */
        t->forced[i].stream = NULL;
    }
    if (!t->forced[i].stream) {
        snprintf(t->forced[i].variant, sizeof t->forced[i].variant, "%s", variant);
        trine_stream_options options = {
            .backend = t->backend, .arch = t->arch[0] ? t->arch : NULL, .variant = variant, .flags = TRINE_STREAM_NO_FALLBACK};
        if (trine_stream_create(&options, &t->forced[i].stream) != TRINE_OK) return NULL;
    }
    return t->forced[i].stream;
}

void targets_close(target *targets, int count)
{
    for (int k = 0; k < count; k++) {
        for (int i = 0; i < TARGET_STREAMS; i++) trine_stream_destroy(targets[k].forced[i].stream);
        trine_stream_destroy(targets[k].stream);
    }
}
