/* Device memory, copies and events on the CPU. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

static void test_malloc(trine_stream *s)
{
    void *ptr = s;
    EXPECT(trine_malloc(s, 0, &ptr) == TRINE_OK && ptr == NULL && trine_free(s, NULL) == TRINE_OK);
    for (size_t bytes = 1; bytes < 100000; bytes = bytes * 3 + 1) {
        EXPECT(trine_malloc(s, bytes, &ptr) == TRINE_OK && ptr && (uintptr_t)ptr % 256 == 0);
        memset(ptr, 1, bytes);
        EXPECT(trine_free(s, ptr) == TRINE_OK);
    }
    ptr = s;
    EXPECT(trine_malloc(s, SIZE_MAX / 2, &ptr) == TRINE_ERROR_OUT_OF_MEMORY && ptr == NULL);
    EXPECT(names_word(trine_error_text(), "cpu") && names_word(trine_error_text(), "trine_malloc"));
    EXPECT(trine_stream_reserve(s, SIZE_MAX / 2) == TRINE_ERROR_OUT_OF_MEMORY &&
           names_word(trine_error_text(), "trine_stream_reserve"));
    EXPECT(trine_stream_reserve(s, 1000) == TRINE_OK && trine_stream_reserve(s, 10) == TRINE_OK);
}

static void test_copy_kinds(trine_stream *s)
{
    unsigned char host[64], back[64] = {0};
    void *a = NULL, *b = NULL;
    for (int i = 0; i < 64; i++) host[i] = (unsigned char)i;
    EXPECT(trine_malloc(s, 64, &a) == TRINE_OK && trine_malloc(s, 64, &b) == TRINE_OK);
    EXPECT(trine_memcpy(s, a, host, 64, TRINE_HOST_TO_DEVICE) == TRINE_OK &&
           trine_memcpy(s, b, a, 64, TRINE_DEVICE_TO_DEVICE) == TRINE_OK);
    EXPECT(trine_memset(s, (char *)b + 10, 0xab, 5) == TRINE_OK && trine_memset(s, b, -1, 1) == TRINE_OK);
    EXPECT(trine_memcpy(s, back, b, 64, TRINE_DEVICE_TO_HOST) == TRINE_OK && trine_stream_synchronize(s) == TRINE_OK);
    EXPECT(back[0] == 255 && back[9] == 9 && back[10] == 0xab && back[14] == 0xab && back[15] == 15 && back[63] == 63);
    EXPECT(trine_memcpy(s, NULL, NULL, 0, TRINE_HOST_TO_DEVICE) == TRINE_OK && trine_memset(s, NULL, 0, 0) == TRINE_OK);
    EXPECT(trine_memcpy(s, back, NULL, 1, TRINE_DEVICE_TO_HOST) == TRINE_ERROR_INVALID_ARGUMENT &&
           strstr(trine_error_text(), "NULL"));
    EXPECT(trine_memcpy(s, NULL, back, 1, TRINE_HOST_TO_DEVICE) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_memset(s, NULL, 0, 1) == TRINE_ERROR_INVALID_ARGUMENT && names_word(trine_error_text(), "trine_memset"));
    static const int kinds[] = {0, 4, -1, 99};
    for (int i = 0; i < 4; i++)
        EXPECT(trine_memcpy(s, back, host, 4, (trine_copy_kind)kinds[i]) == TRINE_ERROR_INVALID_ARGUMENT &&
               strstr(trine_error_text(), "kind"));
    EXPECT(trine_memcpy(s, back, host, 0, (trine_copy_kind)0) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(back[0] == 255 && trine_free(s, a) == TRINE_OK && trine_free(s, b) == TRINE_OK);
}

static void test_events(trine_stream *s)
{
    trine_event *begin = NULL, *end = NULL;
    double seconds = -1;
    EXPECT(trine_event_create(s, &begin) == TRINE_OK && trine_event_create(s, &end) == TRINE_OK);
    EXPECT(trine_event_record(begin, s) == TRINE_OK);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    EXPECT(trine_event_record(end, s) == TRINE_OK && trine_event_elapsed(begin, end, &seconds) == TRINE_OK);
    CHECK(seconds >= 0.02 && seconds < 60, "20 ms took %g s", seconds);
    EXPECT(trine_event_elapsed(end, begin, &seconds) == TRINE_OK && seconds <= -0.02);
    EXPECT(trine_event_record(begin, s) == TRINE_OK); /* again */
    EXPECT(trine_event_elapsed(end, begin, &seconds) == TRINE_OK && seconds >= 0);
    trine_event_destroy(begin);
    trine_event_destroy(end);
}

static void test_probe(trine_stream *s)
{
    double flops = 0;
    EXPECT(trine_probe(s, TRINE_PROBE_FMA_F32, &flops) == TRINE_OK && flops > 0 &&
           trine_probe(s, TRINE_PROBE_FMA_F32, NULL) == TRINE_OK);
}

/* ---- The host allocator ---- */

static long taken, given;

static void *count_alloc(size_t bytes, void *user)
{
    EXPECT(user == &taken && bytes > 0);
    taken++;
    return malloc(bytes);
}

static void count_release(void *ptr, void *user)
{
    EXPECT(user == &taken && ptr);
    given++;
    free(ptr);
}

static void test_host_allocator(void)
{
    EXPECT(trine_set_host_allocator(count_alloc, NULL, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_set_host_allocator(count_alloc, count_release, &taken) == TRINE_OK);
    trine_stream *s = cpu_stream();
    trine_event *event = NULL;
    EXPECT(taken == 1 && trine_event_create(s, &event) == TRINE_OK && taken == 2);
    trine_event_destroy(event);
    trine_stream_destroy(s);
    EXPECT(taken == given);
    EXPECT(trine_set_host_allocator(NULL, NULL, NULL) == TRINE_OK);
    long before = taken;
    trine_stream_destroy(cpu_stream());
    EXPECT(taken == before);
}

int main(void)
{
    trine_stream *s = cpu_stream();
    test_malloc(s);
    test_copy_kinds(s);
    test_events(s);
    test_probe(s);
    trine_stream_destroy(s);
    test_host_allocator();
    return finish();
}
