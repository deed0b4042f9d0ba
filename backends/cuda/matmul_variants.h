/* What the matmul family's objects have of each other. */
#ifndef TRINE_CUDA_MATMUL_VARIANTS_H
#define TRINE_CUDA_MATMUL_VARIANTS_H

#include "core/backend.h"
#include "core/matmul_shape.h"

namespace sm80 {
/* matmul_sm80.cu */
trine_status matmul(trine_call *call, const void *args);
} // namespace sm80

/* matmul.cu: register_tiled's large tile, which takes any addresses and no workspace. A variant whose query accepted the strides
 * goes there with addresses that it can't take. */
trine_status matmul_portable_tile(trine_call *call, const trine_product &p);

#endif
