/* The reduce family on NVIDIA: all of it is shared. */
#include "backends/cuda/target.h"

#include "backends/cuda/row.h"
#include "backends/simt/reduce.h"
