/* Steps of optimizers on AMD: all of it is shared. */
#include "backends/hip/target.h"

#include "backends/simt/optimizer.h"
