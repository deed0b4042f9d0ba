/* Quantisation on AMD: shared but for what a thread holds. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/quantize.h"
