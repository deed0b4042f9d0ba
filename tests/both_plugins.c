/* Both vendors' plugins in one process, as built: no GPU need be here. Their devices are counted or there is a reason; queries
 * for several archs answer for every case of every op. argv: the plugins that were built. */
#include <stdio.h>

#include "tests/api/calls.h"
#include "tests/api/child.h"

static const struct {
    const char *backend, *arch;
} archs[] = {{"cuda", "sm_80"}, {"cuda", "sm_90"}, {"hip", "gfx90a"}, {"hip", "gfx942"}, {"hip", "gfx1100"}};

/* One folder with links to all of them, as an installation has. */
static folder plug_in(int count, char **plugins)
{
    folder f = folder_make();
    for (int i = 0; i < count; i++) {
        char link[256];
        const char *name = strrchr(plugins[i], '/');
        char *real = realpath(plugins[i], NULL);
        snprintf(link, sizeof link, "%s/%s", f.path, name ? name + 1 : plugins[i]);
        CHECK(real && symlink(real, link) == 0, "no plugin %s", plugins[i]);
        free(real);
    }
    setenv("TRINE_PLUGIN_DIR", f.path, 1);
    return f;
}

static bool was_built(const folder *f, const char *backend)
{
    char path[256];
    snprintf(path, sizeof path, "%s/libtrine-%s.so", f->path, backend);
    return access(path, R_OK) == 0;
}

static void test_devices(const char *backend)
{
    int32_t count = -1;
    trine_device_props props;
    trine_status status = trine_device_count(backend, &count);
    CHECK(status == TRINE_OK || (status == TRINE_ERROR_UNAVAILABLE && names_word(trine_error_text(), backend)), "%s: %s: %s",
          backend, trine_status_name(status), trine_error_text());
    CHECK(count >= 0 && (status == TRINE_OK || count == 0), "%s: %d devices", backend, (int)count);
    printf("%s: %d devices%s%s\n", backend, (int)count, status == TRINE_OK ? "" : ": ",
           status == TRINE_OK ? "" : trine_error_text());
    for (int32_t i = 0; i < count; i++)
        CHECK(trine_device_get_props(backend, i, &props) == TRINE_OK, "%s:%d: %s", backend, (int)i, trine_error_text());
    EXPECT(trine_device_get_props(backend, count, &props) != TRINE_OK);
}

static void query_case(trine_stream *s, const char *arch, const test_case *c)
{
    trine_query_result answer;
    void *args = place_shape_args(c, NULL);
    trine_status status = trine_query(s, c->op, args, &answer);
    if (status == TRINE_OK)
        CHECK(answer.variant[0] && answer.accepted[0], "%s: %s: no variant", arch, c->name);
    else
        CHECK(status == TRINE_ERROR_UNSUPPORTED && c->may_refuse && answer.why[0], "%s: %s: %s", arch, c->name,
              trine_error_text());
    status = trine_run(s, c->op, args);
    CHECK(status == TRINE_ERROR_UNAVAILABLE, "%s: %s: ran on a device that is not there: %s", arch, c->name,
          trine_status_name(status));
    free(args);
}

static void test_queries(const char *backend, const char *arch)
{
    trine_stream *s = NULL;
    trine_device_props props;
    const trine_stream_options options = {.backend = backend, .arch = arch, .variant = "", .flags = TRINE_STREAM_NO_FALLBACK};
    trine_status status = trine_stream_create(&options, &s);
    CHECK(status == TRINE_OK, "%s %s: %s", backend, arch, trine_error_text());
    if (status != TRINE_OK) return;
    EXPECT(trine_stream_get_props(s, &props) == TRINE_OK && strcmp(props.arch, arch) == 0 && strcmp(props.backend, backend) == 0);
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        case_list list = {0};
        cases_of((trine_op)op, &list, CASES_CHECK);
        for (int64_t i = 0; i < list.count; i++) query_case(s, arch, list.items[i]);
        cases_free(&list);
    }
    trine_stream_destroy(s);
}

int main(int argc, char **argv)
{
    int tested = 0;
    folder f = plug_in(argc - 1, argv + 1);
    for (int32_t i = 0; i < 2; i++) {
        const char *backend = trine_backend_name(i);
        if (was_built(&f, backend)) test_devices(backend);
    }
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (!was_built(&f, archs[i].backend)) continue;
        test_queries(archs[i].backend, archs[i].arch);
        tested++;
    }
    folder_remove(&f);
    if (tested) return finish();
    printf("skipped: neither plugin was built\n");
    return failed ? 1 : 77;
}
