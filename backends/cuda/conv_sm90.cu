/* Hopper's convolutions: a file of its own, because its instructions need code for sm_90a. */
#include "backends/cuda/target.h"

#include "backends/cuda/conv_variants.h"

#include "backends/cuda/conv_sm90_data.h"
#include "backends/cuda/conv_sm90_rows_run.h"
#include "backends/cuda/conv_sm90_weight_run.h"

namespace sm90 {

template trine_status conv_forward<-1>(trine_call *, const void *);
template trine_status conv_forward<0>(trine_call *, const void *);
template trine_status conv_forward<1>(trine_call *, const void *);
template trine_status conv_forward<2>(trine_call *, const void *);
template trine_status conv_data<-1>(trine_call *, const void *);

} // namespace sm90
