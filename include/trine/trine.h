/* Everything. A program needs only this header and -ltrine. */
#ifndef TRINE_H
#define TRINE_H

#include "trine/activation.h"
#include "trine/dtype.h"
#include "trine/dyt.h"
#include "trine/elementwise.h"
#include "trine/gated.h"
#include "trine/image.h"
#include "trine/layout.h"
#include "trine/matmul.h"
#include "trine/norm.h"
#include "trine/op.h"
#include "trine/pool.h"
#include "trine/quantize.h"
#include "trine/random.h"
#include "trine/reduce.h"
#include "trine/rope.h"
#include "trine/softmax.h"
#include "trine/status.h"
#include "trine/stream.h"
#include "trine/tensor.h"
#include "trine/version.h"

#endif
