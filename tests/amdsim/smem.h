/* Scalar memory. */
#ifndef AMDSIM_SMEM_H
#define AMDSIM_SMEM_H

#include "decode.h"

bool decode_smem(inst *i, const char *name, line *t, const chip *chip);

#endif
