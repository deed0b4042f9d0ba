/* The norm family on AMD: shared but for what a thread holds. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/norm.h"
#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm.h"
#include "backends/simt/l2_normalize.h"
#include "backends/simt/norm_gradient_run.h"
