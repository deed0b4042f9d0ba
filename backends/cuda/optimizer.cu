/* Steps of optimizers on NVIDIA: all of it is shared. */
#include "backends/cuda/target.h"

#include "backends/simt/optimizer.h"
