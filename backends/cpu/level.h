/* Names of the functions that are compiled once a level of the instruction set.
 *
 * The build compiles every kernel file of the CPU backend several times, each time with another -march and with
 * -DTRINE_CPU_LEVEL=generic, v2, v3 or v4. Whatever such a file exports is named TRINE_CPU(name), which is trine_cpu_v3_name
 * at level v3: else the linker would keep one of the copies, and a v2 processor might run the one for v4. For the same
 * reason their headers hold static functions only. */
#ifndef TRINE_CPU_LEVEL_H
#define TRINE_CPU_LEVEL_H

#ifndef TRINE_CPU_LEVEL
#define TRINE_CPU_LEVEL generic
#endif

#define TRINE_CPU_PASTE_(level, name) trine_cpu_##level##_##name
#define TRINE_CPU_PASTE(level, name) TRINE_CPU_PASTE_(level, name)
#define TRINE_CPU(name) TRINE_CPU_PASTE(TRINE_CPU_LEVEL, name)

/* The level as a string, "v3": what an op without further variants answers. */
#define TRINE_CPU_TEXT_(text) #text
#define TRINE_CPU_TEXT(text) TRINE_CPU_TEXT_(text)
#define TRINE_CPU_VARIANT TRINE_CPU_TEXT(TRINE_CPU_LEVEL)

#endif
