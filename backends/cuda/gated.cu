/* Gated activations on NVIDIA: all of it is shared. */
#include "backends/cuda/target.h"

#include "backends/simt/gated.h"
