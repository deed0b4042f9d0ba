/* A process with the good fake plugin as cuda. */
#ifndef TRINE_TESTS_FAKE_RUN_H
#define TRINE_TESTS_FAKE_RUN_H

#include <dlfcn.h>
#include <stdio.h>

#include "tests/api/calls.h"
#include "tests/api/child.h"
#include "tests/api/fake.h"

static const char *fakes; /* the folder of the fake plugins */
static fake_control *control;

/* In a child: makes the fake the plugin of cuda. */
static void use_fake(void)
{
    char path[4096], link[128];
    folder f = folder_make();
    snprintf(path, sizeof path, "%s/fake_good.so", fakes);
    snprintf(link, sizeof link, "%s/libtrine-cuda.so", f.path);
    setenv("TRINE_PLUGIN_DIR", f.path, 1);
    int32_t count = 0;
    void *handle = symlink(path, link) == 0 ? dlopen(link, RTLD_NOW | RTLD_LOCAL) : NULL;
    control = handle ? dlsym(handle, "fake_control_block") : NULL;
    if (!control || trine_device_count("cuda", &count) != TRINE_OK || count != 2) {
        printf("the fake plugin does not work: %s\n", handle ? trine_error_text() : dlerror());
        exit(1);
    }
    folder_remove(&f);
}

__attribute__((unused)) static trine_stream *fake_stream_create(const trine_stream_options *options)
{
    trine_stream *stream = NULL;
    const trine_stream_options plain = {.backend = "cuda"};
    EXPECT(trine_stream_create(options ? options : &plain, &stream) == TRINE_OK);
    return stream;
}

/* The n-th call of a function from now fails. */
__attribute__((unused)) static void fail_at(fake_function function, int64_t n, trine_status status)
{
    control->failing[function].at = n;
    control->failing[function].status = status;
}

/* An error text names the backend, the function or op, and the fake's reason. */
#define EXPECT_TEXT(word, reason) \
    CHECK(names_word(trine_error_text(), "cuda") && names_word(trine_error_text(), word) && strstr(trine_error_text(), reason), \
          "line %d: the text lacks cuda, %s or '%s': %s", __LINE__, word, reason, trine_error_text())

#endif
