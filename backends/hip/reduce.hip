/* The reduce family on AMD: all of it is shared. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/reduce.h"
