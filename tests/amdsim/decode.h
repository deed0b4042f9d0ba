/* What the decoder's files know of each other. */
#ifndef AMDSIM_DECODE_H
#define AMDSIM_DECODE_H

#include "sim.h"

enum { LINE_PIECES = 12 };

/* An instruction's text, cut. */
typedef struct line {
    char *piece[LINE_PIECES], *option[LINE_PIECES];
    int count, options;
} line;

/* Where the flat address space shows LDS and scratch. Above all addresses of the host. */
#define SHARED_BASE 0x0100000000000000ull
#define PRIVATE_BASE 0x0200000000000000ull

bool decode_one(char *text, char kind, operand *o, const chip *chip);
/* Options of vector instructions. A text if one is not understood. */
const char *decode_options(inst *i, const line *t);
/* How the operands of such an instruction are written: bits 8 on of op_row.argument. */
enum { PARSE_NOTHING, PARSE_TARGET, PARSE_WAIT, PARSE_COUNTER, PARSE_MODE, PARSE_CALL, PARSE_INDEX };
/* s_waitcnt, branches and others whose operands are not registers. */
bool decode_control(inst *i, char *rest);
/* Each is asked in turn; true if the name is one of its own (it sets why_not if it can't go on). */
bool decode_memory(inst *i, const char *name, line *t, const chip *chip);
bool decode_lds(inst *i, const char *name, line *t, const chip *chip);
bool decode_matrix(inst *i, const char *name, line *t, const chip *chip);
/* offset:16, glc and the like: sets what it knows. False for an option that is none of memory. */
bool decode_memory_option(inst *i, const char *text);
/* [0,1,1] as bits. */
uint32_t decode_bits(const char *text);

#endif
