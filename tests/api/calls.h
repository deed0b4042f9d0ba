/* A valid call of any op, taken from its cases, in memory that shows every byte that was written. On the CPU: device memory is
 * read directly. */
#ifndef TRINE_TESTS_CALLS_H
#define TRINE_TESTS_CALLS_H

#include "tests/cases/cases.h"
#include "tests/driver/place.h"

typedef struct valid_call {
    trine_stream *stream;
    trine_op op;
    const trine_op_info *info;
    case_list list;
    test_case *c;    /* of the list */
    placement place; /* its memory, and the arguments as they should be */
    void *args;      /* a copy of those, to be changed */
} valid_call;

/* The case with the most tensors among the op's dense, non-empty ones, uploaded. false: there is none, or no memory. */
bool valid_call_open(valid_call *v, trine_stream *stream, trine_op op);
/* Of those that give this tensor. */
bool valid_call_open_with(valid_call *v, trine_stream *stream, trine_op op, const char *field);
void valid_call_close(valid_call *v);
/* True while all of its memory is as it was uploaded. */
bool valid_call_untouched(const valid_call *v);
/* Puts it back to that. */
void valid_call_restore(valid_call *v);
/* Copies the arguments anew; returns the tensor of the copy's i-th field, of a list the first. */
trine_tensor *valid_call_reset(valid_call *v, int32_t i);

/* The tensor of the i-th field of an op's arguments, of a list the first. */
trine_tensor *call_tensor(void *args, trine_op op, int32_t i);
/* The op's own function, trine_<name>. */
trine_status call_by_name(trine_stream *stream, trine_op op, const void *args);
/* Does the text contain this word by itself? */
bool names_word(const char *text, const char *word);
/* A stream of the CPU without a forced variant or a fallback, whatever the environment says; exits when there is none. */
trine_stream *cpu_stream(void);

#endif
