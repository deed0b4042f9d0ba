/* Memory that the CPU backend takes from the C library: each allocation of libtrine's own code fails in turn, and ops must not
 * allocate at all. The C library's functions are replaced for this program (glibc; not together with a sanitizer, which replaces
 * them too). */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static void *libtrine; /* where it is loaded; NULL: nothing is counted */
static _Atomic long count, fails_at;

/* Is the caller part of libtrine, and is it the allocation that fails? */
static bool denied(const void *caller)
{
    Dl_info info;
    if (!libtrine || !dladdr(caller, &info) || info.dli_fbase != libtrine) return false;
    return ++count == fails_at;
}

void *malloc(size_t bytes) { return denied(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes); }

void *calloc(size_t n, size_t bytes) { return denied(__builtin_return_address(0)) ? NULL : __libc_calloc(n, bytes); }

int posix_memalign(void **ptr, size_t alignment, size_t bytes)
{
    *ptr = denied(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, bytes);
    return *ptr ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return denied(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, bytes);
}

static void watch(long at)
{
    Dl_info info;
    count = 0;
    fails_at = at;
    libtrine = dladdr((void *)(uintptr_t)trine_version, &info) ? info.dli_fbase : NULL;
}

static long stop_watching(void)
{
    libtrine = NULL;
    return count;
}

static trine_status play(void)
{
    trine_stream *s = NULL;
    trine_event *event = NULL;
    void *ptr = NULL;
    trine_device_props props;
    const trine_stream_options options = {.backend = "cpu", .workspace_size = 1000};
    trine_status status = trine_stream_create(&options, &s);
    if (status == TRINE_OK) status = trine_event_create(s, &event);
    if (status == TRINE_OK) status = trine_malloc(s, 100, &ptr);
    if (status == TRINE_OK) status = trine_stream_reserve(s, 2000);
    if (status == TRINE_OK) status = trine_device_get_props("cpu", 0, &props);
    if (s) trine_free(s, ptr);
    trine_event_destroy(event);
    trine_stream_destroy(s);
    return status;
}

static void test_failures(void)
{
    trine_status status = TRINE_ERROR_DEVICE;
    long k = 1;
    for (; status != TRINE_OK && k < 100; k++) {
        trine_device_count("no backend", &(int32_t){0});
        watch(k);
        status = play();
        bool reached = stop_watching() >= k;
        CHECK(status == (reached ? TRINE_ERROR_OUT_OF_MEMORY : TRINE_OK), "allocation %ld fails: %s", k,
              trine_status_name(status));
        const char *text = trine_error_text();
        CHECK(!reached || (!strstr(text, "no backend") && text[0] && text[strlen(text) - 1] != ' '),
              "allocation %ld fails: no reason: '%s'", k, text);
    }
    EXPECT(k > 6 && k < 100);
}

/* Once the workspace is large enough. */
static void test_ops_allocate_nothing(void)
{
    trine_stream *s = cpu_stream();
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        valid_call v;
        if (!valid_call_open(&v, s, (trine_op)op)) continue;
        trine_status first = trine_run(s, (trine_op)op, v.place.args);
        watch(0);
        trine_status second = trine_run(s, (trine_op)op, v.place.args);
        long taken = stop_watching();
        CHECK(first == TRINE_OK && second == TRINE_OK && taken == 0, "%s takes memory %ld times",
              trine_op_get_info((trine_op)op)->name, taken);
        valid_call_close(&v);
    }
    trine_stream_destroy(s);
}

int main(void)
{
    test_failures();
    test_ops_allocate_nothing();
    return finish();
}

#else

int main(void)
{
    printf("skipped: the C library's allocator can't be replaced here\n");
    return 77;
}

#endif
