/* Quantisation on AMD: all of it is shared. */
#include "backends/hip/target.h"

#include "backends/simt/quantize.h"
