/* AMX, the matrix unit of Intel's server processors from Sapphire Rapids on. */
#ifndef TRINE_CPU_AMX_H
#define TRINE_CPU_AMX_H

#include <stdbool.h>

/* Whether this process may multiply tiles of bf16: the processor and the operating system have them, and Linux was asked for
 * their state, which is done once, when a product of bf16 is first asked for or queried. From then on Linux refuses alternate
 * signal stacks too small for that state (some 11 KiB); it refuses us if there are such already. From any thread. */
bool trine_cpu_has_amx_bf16(void);

#endif
