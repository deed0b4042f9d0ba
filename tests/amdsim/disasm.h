/* The disassembler: LLVM's, through its C interface, opened when first used. */
#ifndef AMDSIM_DISASM_H
#define AMDSIM_DISASM_H

#include <stddef.h>
#include <stdint.h>

/* Text of the instruction at `bytes`, of which `left` may be read. Gives its length in bytes, 0 for none. Exits if there is no
 * LLVM. */
size_t disassemble(const void *bytes, uint64_t left, char *text, size_t room);

#endif
