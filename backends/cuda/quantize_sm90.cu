/* Hopper's nf4_matmul: a file of its own, because its instructions need code for sm_90a. */
#include "backends/cuda/target.h"

#include "backends/cuda/nf4_few_sm90.h"
