/* Matrix instructions: a shape, the types, and where elements lie in the lanes' registers. */
#ifndef AMDSIM_MATRIX_H
#define AMDSIM_MATRIX_H

#include "sim.h"

typedef enum element { E_F32, E_F64, E_F16, E_BF16, E_FP8, E_BF8, E_I8, E_XF32, E_IU8, E_IU4, E_I32, ELEMENTS } element;

typedef struct matrix_format {
    uint8_t m, n, k, blocks;
    uint8_t a, b, out; /* element */
    bool wmma, sparse; /* sparse: of four steps of A two are held, which ones says an index */
} matrix_format;

/* Bits of an element in a register. */
int matrix_bits(element e);
/* v_mfma_f32_16x16x16f16 and the like; blocks follow from the registers of the result. False: no such. */
bool matrix_parse(const char *name, unsigned result_registers, matrix_format *f);
/* Whether the chip's instruction heeds blgp. */
bool matrix_has_blgp(const matrix_format *f, const chip *c);

/* Where element (row or column x, step k, block) of A or B lies: lane and place in the lane's registers. */
typedef struct element_place {
    int lane, item;
} element_place;
element_place matrix_input(const matrix_format *f, bool is_b, int x, int k, int block);
element_place matrix_output(const matrix_format *f, int i, int j, int block);

int matrix_cycles(const matrix_format *f, const chip *c);

#endif
