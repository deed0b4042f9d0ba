/* The norm family on NVIDIA: shared but for what a thread holds and the clusters of row.h. */
#include "backends/cuda/target.h"

#include "backends/cuda/row.h"
#include "backends/simt/norm.h"
#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm.h"
#include "backends/simt/l2_normalize.h"
#include "backends/simt/norm_gradient_run.h"
