/* Parts of a test that need a process of their own: the environment, a plugin (which is opened once a process), a crash. */
#ifndef TRINE_TESTS_CHILD_H
#define TRINE_TESTS_CHILD_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/expect.h"

/* Runs fn in a forked child and counts what it found; a child that dies is a failure. The parent must not have run an op before:
 * OpenMP's threads don't survive a fork. The child leaves by exit(), so that a leak checker has its say. */
__attribute__((unused)) static void in_child(const char *name, void (*fn)(const void *user), const void *user)
{
    long counts[2] = {0, 0};
    int ends[2], status = 0;
    fflush(stdout);
    if (pipe(ends) != 0) {
        fail("%s: no pipe", name);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        passed = failed = 0;
        fn(user);
        counts[0] = passed;
        counts[1] = failed;
        fflush(stdout);
        exit(write(ends[1], counts, sizeof counts) == sizeof counts ? 0 : 1);
    }
    close(ends[1]);
    bool told = child > 0 && read(ends[0], counts, sizeof counts) == sizeof counts;
    close(ends[0]);
    if (child > 0) waitpid(child, &status, 0);
    passed += counts[0];
    failed += counts[1];
    CHECK(told && WIFEXITED(status) && WEXITSTATUS(status) == 0 && counts[0] + counts[1] > 0,
          "%s: the child ended with status 0x%x", name, (unsigned)status);
}

/* A new folder with a link or a file in it, removed by folder_remove. */
typedef struct folder {
    char path[64];
} folder;

__attribute__((unused)) static folder folder_make(void)
{
    folder f = {"/tmp/trine-test-XXXXXX"};
    if (!mkdtemp(f.path)) fail("no temporary folder");
    return f;
}

__attribute__((unused)) static void folder_remove(const folder *f)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    if (system(command) != 0) fail("can't remove %s", f->path);
}

#endif
