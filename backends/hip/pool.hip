/* Pooling on AMD: all of it is shared. */
#include "backends/hip/target.h"

#include "backends/simt/pool.h"
