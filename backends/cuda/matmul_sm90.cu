/* Hopper's matmul: a file of its own, because its instructions need code for sm_90a, which nothing else does. */
#include "backends/cuda/target.h"

#include "backends/cuda/matmul_sm90.h"
