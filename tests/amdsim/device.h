/* The one simulated device, its lock and the calls that streams record or run. */
#ifndef AMDSIM_DEVICE_H
#define AMDSIM_DEVICE_H

#include <hip/hip_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>

int device_compute_units(void); /* AMDSIM_CUS, default 8 */

/* Everything is done under one lock: a launch runs alone. */
void device_lock(void);
void device_unlock(void);

/* Remembers the thread's last error, as HIP does, and the text of a kernel's fault. */
hipError_t device_error(hipError_t error);
void device_fault_text(const char *text);

/* A command: done at once, or recorded if the stream is being captured. */
typedef struct command {
    enum { COMMAND_LAUNCH, COMMAND_COPY, COMMAND_SET } what;
    struct kernel *kernel;
    unsigned grid[3], block[3], lds;
    void *packed; /* the kernel's explicit arguments */
    void *to;
    const void *from;
    size_t bytes;
    int value;
    struct command *next;
} command;

hipError_t stream_submit(hipStream_t stream, const command *c);
hipError_t command_copy(const command *c);
hipError_t command_set(const command *c);
hipError_t command_launch(const command *c);

#endif
