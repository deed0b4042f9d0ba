/* The trine tool: info, check, bench, compare. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tools/commands.h"
#include "trine/version.h"

static const struct {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"info", "devices, backends, and what would run for every op and dtype", command_info},
    {"check", "every op against its oracle, on every backend and variant", command_check},
    {"bench", "times ops that check, against the measured roofline and peers", command_bench},
    {"compare", "results of several benches side by side", command_compare},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *to)
{
    fprintf(to, "trine %s\nusage: trine COMMAND [options]; --help after a command lists its options\n", trine_version());
    for (int i = 0; i < COMMANDS; i++) fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].what);
}

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) return printf("trine %s\n", trine_version()) < 0;
    const bool asked = argc > 1 && strcmp(argv[1], "--help") == 0;
    if (argc > 1 && !asked) fprintf(stderr, "trine: there is no command '%s'\n", argv[1]);
    print_usage(asked ? stdout : stderr);
    return asked ? 0 : 2;
}
