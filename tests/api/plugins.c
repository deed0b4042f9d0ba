/* Plugins that can't be used, each in a process of its own: a status and a text that says why, never a crash, and never another
 * backend in its place. argv[1]: the folder of the fake plugins. */
#include <stdio.h>
#include <sys/stat.h>

#include "tests/api/calls.h"
#include "tests/api/child.h"

static const char *fakes;

/* A folder with one of the fakes as the plugin of `backend`; TRINE_PLUGIN_DIR names it. */
static folder plug_in(const char *file, const char *backend)
{
    folder f = folder_make();
    char from[4096], to[128];
    snprintf(from, sizeof from, "%s/%s", fakes, file);
    snprintf(to, sizeof to, "%s/libtrine-%s.so", f.path, backend);
    EXPECT(symlink(from, to) == 0 && access(to, R_OK) == 0);
    setenv("TRINE_PLUGIN_DIR", f.path, 1);
    return f;
}

static trine_stream *create(const char *backend, trine_status expected, const char *says)
{
    trine_stream *stream = (trine_stream *)(void *)&fakes;
    const trine_stream_options options = {.backend = backend};
    trine_status status = trine_stream_create(&options, &stream);
    CHECK(status == expected, "stream on %s: status %s, not %s (%s)", backend, trine_status_name(status),
          trine_status_name(expected), trine_error_text());
    CHECK(status == TRINE_OK || stream == NULL, "stream on %s: failed, and the stream is not NULL", backend);
    CHECK(!says || strstr(trine_error_text(), says), "stream on %s: the text does not say '%s': %s", backend, says,
          trine_error_text());
    return status == TRINE_OK ? stream : NULL;
}

/* The same answer from all that open a backend, and again at the second time. */
static void expect_unusable(const char *backend, trine_status expected, const char *says)
{
    trine_device_props props;
    for (int i = 0; i < 2; i++) {
        int32_t count = 77;
        trine_status status = trine_device_count(backend, &count);
        CHECK(status == expected && count == 0, "%s: device_count gives %s and %d", backend, trine_status_name(status),
              (int)count);
        CHECK(strstr(trine_error_text(), says) && names_word(trine_error_text(), backend), "%s: the text does not say '%s': %s",
              backend, says, trine_error_text());
        EXPECT(trine_device_get_props(backend, 0, &props) == expected);
        create(backend, expected, says);
    }
    create("cuda,hip", TRINE_ERROR_UNAVAILABLE, says); /* hip has no plugin; both reasons are given */
    EXPECT(strstr(trine_error_text(), "libtrine-hip.so") != NULL);
    trine_stream *stream = create("cuda,cpu", TRINE_OK, "libtrine-hip.so"); /* a success leaves the text alone */
    trine_device_props on = {0};
    EXPECT(trine_stream_get_props(stream, &on) == TRINE_OK && strcmp(on.backend, "cpu") == 0);
    trine_stream_destroy(stream);
}

typedef struct fault {
    const char *file;
    trine_status status;
    const char *says;
} fault;

static void with_fault(const void *user)
{
    const fault *f = user;
    folder at = plug_in(f->file, "cuda");
    expect_unusable("cuda", f->status, f->says);
    folder_remove(&at);
}

static void without_plugin(const void *user)
{
    folder at = folder_make();
    (void)user;
    setenv("TRINE_PLUGIN_DIR", at.path, 1);
    expect_unusable("cuda", TRINE_ERROR_UNAVAILABLE, "there is no plugin");
    int32_t count;
    EXPECT(trine_device_count("cuda", &count) == TRINE_ERROR_UNAVAILABLE && strstr(trine_error_text(), at.path));
    folder_remove(&at);
}

static void write_file(const char *folder_path, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/libtrine-cuda.so", folder_path);
    FILE *file = fopen(path, "w");
    EXPECT(file && fputs(text, file) >= 0);
    if (file) fclose(file);
}

static void not_elf(const void *user)
{
    folder at = folder_make();
    (void)user;
    setenv("TRINE_PLUGIN_DIR", at.path, 1);
    write_file(at.path, "this is no shared object\n");
    expect_unusable("cuda", TRINE_ERROR_UNAVAILABLE, "libtrine-cuda.so");
    write_file(at.path, "");
    expect_unusable("cuda", TRINE_ERROR_UNAVAILABLE, "libtrine-cuda.so");
    folder_remove(&at);
}

static void a_folder_as_plugin(const void *user)
{
    folder at = folder_make();
    char path[128];
    (void)user;
    snprintf(path, sizeof path, "%s/libtrine-cuda.so", at.path);
    EXPECT(mkdir(path, 0700) == 0);
    setenv("TRINE_PLUGIN_DIR", at.path, 1);
    expect_unusable("cuda", TRINE_ERROR_UNAVAILABLE, "libtrine-cuda.so");
    folder_remove(&at);
}

static void path_too_long(const void *user)
{
    static char path[5000];
    int32_t count;
    (void)user;
    memset(path, 'x', sizeof path - 1);
    setenv("TRINE_PLUGIN_DIR", path, 1);
    EXPECT(trine_device_count("cuda", &count) == TRINE_ERROR_UNAVAILABLE && strstr(trine_error_text(), "too long"));
}

/* A plugin that appears later is found then: a failure is not remembered. */
static void mended(const void *user)
{
    folder empty = folder_make();
    int32_t count = 0;
    (void)user;
    setenv("TRINE_PLUGIN_DIR", empty.path, 1);
    EXPECT(trine_device_count("cuda", &count) == TRINE_ERROR_UNAVAILABLE);
    folder at = plug_in("fake_good.so", "cuda");
    EXPECT(trine_device_count("cuda", &count) == TRINE_OK && count == 2);
    setenv("TRINE_PLUGIN_DIR", empty.path, 1);
    EXPECT(trine_device_count("cuda", &count) == TRINE_OK && count == 2); /* and stays open */
    folder_remove(&empty);
    folder_remove(&at);
}

/* TRINE_PLUGIN_DIR empty: the library's own folder, which is named in the text. */
static void own_folder(const void *user)
{
    int32_t count;
    (void)user;
    setenv("TRINE_PLUGIN_DIR", "", 1);
    trine_status status = trine_device_count("hip", &count);
    EXPECT(status == TRINE_OK || status == TRINE_ERROR_UNAVAILABLE);
    if (status == TRINE_ERROR_UNAVAILABLE)
        EXPECT(strstr(trine_error_text(), "/libtrine-hip.so") || names_word(trine_error_text(), "hip"));
}

int main(int argc, char **argv)
{
    static const fault faults[] = {
        {"fake_abi.so", TRINE_ERROR_ABI_MISMATCH, "ABI"},
        {"fake_size.so", TRINE_ERROR_ABI_MISMATCH, "size"},
        {"fake_version.so", TRINE_ERROR_ABI_MISMATCH, "9.9.9"},
        {"fake_name.so", TRINE_ERROR_ABI_MISMATCH, "hip"},
        {"fake_without_symbol.so", TRINE_ERROR_ABI_MISMATCH, "trine_plugin"},
        {"fake_incomplete.so", TRINE_ERROR_ABI_MISMATCH, "lacks functions"},
        {"fake_half_capture.so", TRINE_ERROR_ABI_MISMATCH, "lacks functions"},
        {"fake_undefined.so", TRINE_ERROR_UNAVAILABLE, "fake_function_that_nobody_has"},
    };
    if (argc < 2) return 2;
    fakes = argv[1];
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) in_child(faults[i].file, with_fault, &faults[i]);
    in_child("no plugin", without_plugin, NULL);
    in_child("not ELF", not_elf, NULL);
    in_child("a folder", a_folder_as_plugin, NULL);
    in_child("a long path", path_too_long, NULL);
    in_child("mended", mended, NULL);
    in_child("own folder", own_folder, NULL);
    return finish();
}
