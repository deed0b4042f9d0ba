/* The norm family on AMD: shared but for what a thread holds. */
#include "backends/hip/target.h"

#include "backends/hip/row.h"
#include "backends/simt/norm.h"
#include "backends/simt/batchnorm.h"
#include "backends/simt/groupnorm.h"
#include "backends/simt/l2_normalize.h"
#include "backends/simt/norm_gradient_run.h"

extern "C" trine_status TRINE_BACKEND_FN(batchnorm)(trine_call *call, const trine_batchnorm_args *args)
{
    return simt::batchnorm(call, args);
}
extern "C" trine_status TRINE_BACKEND_FN(batchnorm_backward)(trine_call *call, const trine_batchnorm_backward_args *args)
{
    return simt::batchnorm_backward(call, args);
}
extern "C" trine_status TRINE_BACKEND_FN(l2_normalize)(trine_call *call, const trine_l2_normalize_args *args)
{
    return simt::l2_normalize(call, args);
}
extern "C" trine_status TRINE_BACKEND_FN(l2_normalize_backward)(trine_call *call, const trine_l2_normalize_backward_args *args)
{
    return simt::l2_normalize_backward(call, args);
}
