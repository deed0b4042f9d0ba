/* The loss family on AMD: shared but for what a thread holds and the clusters of row.h. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/loss.h"
