/* A plugin without a device: its memory is the host's, its work is done when somebody waits for it (as late as the contract
 * allows), its functions fail when told to. Tests reach its `fake_control` by dlsym. */
#ifndef TRINE_TESTS_FAKE_H
#define TRINE_TESTS_FAKE_H

#include "core/backend.h"

typedef enum fake_function {
    FAKE_COUNT,
    FAKE_OPEN,
    FAKE_STREAM,
    FAKE_SYNCHRONIZE,
    FAKE_ALLOC,
    FAKE_RELEASE,
    FAKE_COPY,
    FAKE_SET,
    FAKE_EVENT,
    FAKE_RECORD,
    FAKE_ELAPSED,
    FAKE_CAPTURE_BEGIN,
    FAKE_CAPTURE_END,
    FAKE_LAUNCH,
    FAKE_PROBE,
    FAKE_OP,
    FAKE_FUNCTIONS
} fake_function;

typedef struct fake_control {
    int32_t devices;
    struct {
        int64_t at; /* fails at the at-th call from now; 0: never */
        trine_status status;
    } failing[FAKE_FUNCTIONS];
    bool silent; /* failures write no reason */
    bool refuse; /* ops refuse everything; else variant "slow" takes all and "fast" what `fast` says */
    bool fast;
    size_t workspace; /* that ops need */
    /* counted: */
    int64_t live;   /* objects that were made and not destroyed */
    int64_t ran;    /* ops that were run, replays included */
    int64_t waited; /* calls of stream_synchronize */
} fake_control;

/* What the plugin takes for a native stream. NULL is one, too. */
typedef struct fake_stream {
    bool capturing;
    struct fake_task *first, *last;
} fake_stream;

#endif
