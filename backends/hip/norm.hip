/* The norm family on AMD: shared but for what a thread holds. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/norm.h"
#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm.h"
#include "backends/simt/l2_normalize.h"
#include "backends/simt/norm_gradient_run.h"

#define TRINE_SHARED_OP(op) \
    extern "C" trine_status TRINE_BACKEND_FN(op)(trine_call * call, const trine_##op##_args *args) \
    { \
        return simt::op(call, args); \
    }
TRINE_SHARED_OP(batchnorm)
TRINE_SHARED_OP(batchnorm_backward)
TRINE_SHARED_OP(groupnorm)
TRINE_SHARED_OP(groupnorm_backward)
TRINE_SHARED_OP(l2_normalize)
TRINE_SHARED_OP(l2_normalize_backward)
