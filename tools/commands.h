/* The subcommands of the trine tool: each parses its own arguments (argv[0] is its name) and returns the exit status. */
#ifndef TRINE_TOOLS_COMMANDS_H
#define TRINE_TOOLS_COMMANDS_H

int command_info(int argc, char **argv);
int command_check(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_compare(int argc, char **argv);

#endif
