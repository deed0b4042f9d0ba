/* Expectations of a test program of one file: each one that fails prints a line, finish() prints the count. */
#ifndef TRINE_TESTS_EXPECT_H
#define TRINE_TESTS_EXPECT_H

#include <stdarg.h>
#include <stdio.h>

static long passed, failed;

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    enum { LINES = 100 };
    va_list args;
    if (++failed > LINES) return;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(failed == LINES ? "\n(further failures are only counted)\n" : "\n");
}
#define CHECK(ok, ...) ((ok) ? (void)passed++ : fail(__VA_ARGS__))
#define EXPECT(condition) CHECK(condition, "line %d: %s", __LINE__, #condition)

/* What main returns. A program that checked nothing has failed. */
static int finish(void)
{
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

#endif
