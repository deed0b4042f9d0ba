/* fp8 on NVIDIA: shared but for what a thread holds and the clusters of row.h. */
#include "backends/cuda/target.h"

#include "backends/cuda/row.h"
#include "backends/simt/fp8.h"
