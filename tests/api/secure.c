/* TRINE_PLUGIN_DIR and TRINE_CPU_ISA are ignored in a program that runs setuid: another user's environment must not choose the
 * code that it loads. Needs root, to make a setuid program. argv: the child program, the library, the folder of the fake plugins.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "tests/api/child.h"

enum { SKIPPED = 77, NOBODY = 65534 };

static bool copy_file(const char *from, const char *to_folder, const char *name)
{
    char command[9000];
    snprintf(command, sizeof command, "cp -L '%s' '%s/%s' && chmod 755 '%s/%s'", from, to_folder, name, to_folder, name);
    return system(command) == 0;
}

/* The line that the child prints. */
static const char *run_child(const char *folder_path)
{
    static char line[512];
    char command[512];
    snprintf(command, sizeof command, "'%s/child' '%s/libtrine.so'", folder_path, folder_path);
    FILE *output = popen(command, "r");
    line[0] = '\0';
    if (!output) return line;
    if (!fgets(line, sizeof line, output)) line[0] = '\0';
    pclose(output);
    return line;
}

/* Both are in one folder of their own: the child, the library, and beside it a plugin that is no good. The environment names a
 * good one, elsewhere. */
static bool prepare(const folder *at, const folder *elsewhere, char **argv)
{
    char fake[4096];
    bool ready = chmod(at->path, 0755) == 0 && chmod(elsewhere->path, 0755) == 0 && copy_file(argv[1], at->path, "child") &&
                 copy_file(argv[2], at->path, "libtrine.so");
    snprintf(fake, sizeof fake, "%s/fake_abi.so", argv[3]);
    ready = ready && copy_file(fake, at->path, "libtrine-cuda.so");
    snprintf(fake, sizeof fake, "%s/fake_good.so", argv[3]);
    ready = ready && copy_file(fake, elsewhere->path, "libtrine-cuda.so");
    setenv("TRINE_PLUGIN_DIR", elsewhere->path, 1);
    setenv("TRINE_CPU_ISA", "no-such-level", 1);
    return ready;
}

static int test(const folder *at, const folder *elsewhere, char **argv)
{
    char child[128];
    snprintf(child, sizeof child, "%s/child", at->path);
    if (!prepare(at, elsewhere, argv)) {
        fail("the files could not be copied");
        return finish();
    }
    const char *line = run_child(at->path);
    CHECK(strcmp(line, "secure 0 cuda 2 cpu refused\n") == 0, "an ordinary program obeys the environment: %s", line);
    if (chown(child, NOBODY, NOBODY) != 0 || chmod(child, 04755) != 0) {
        printf("skipped: no setuid program can be made here\n");
        return SKIPPED;
    }
    line = run_child(at->path);
    if (strncmp(line, "secure 1 ", 9) != 0) {
        printf("skipped: setuid has no effect here (%s)\n", line);
        return SKIPPED;
    }
    CHECK(strncmp(line, "secure 1 cuda 0 cpu ", 20) == 0 && !strstr(line, "refused"),
          "a setuid program ignores the environment: %s", line);
    return finish();
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
#if defined __SANITIZE_ADDRESS__
    printf("skipped: a sanitizer does not work in a setuid program\n");
    return SKIPPED;
#endif
    if (geteuid() != 0) {
        printf("skipped: only root can make a setuid program for another user\n");
        return SKIPPED;
    }
    folder at = folder_make(), elsewhere = folder_make();
    int result = test(&at, &elsewhere, argv);
    folder_remove(&at);
    folder_remove(&elsewhere);
    return result;
}
