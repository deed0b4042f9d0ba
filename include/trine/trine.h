/* Everything. A program needs only this header and -ltrine.
 *
 * What holds for every op, trine_<op>(stream, &args):
 *   arguments    one struct, read during the call alone; members that are left out are 0, which an op's comment gives a meaning
 *                or refuses. Tensors are views of memory of the stream's device, data aligned to the dtype; they and what they
 *                view stay as they are until the stream is past the call.
 *   shapes       as stated with the op, [...] being any number of leading axes. A size of 0 is fine wherever nothing is said:
 *                nothing is written then. Sizes and indices are 64 bits.
 *   strides      inputs take any strides, 0 included (broadcasting), outputs any that don't make them overlap themselves, unless
 *                the op says "contiguous" or "stride 1".
 *   lists        a trine_tensor_list is several such tensors; what an op says of its x holds for every x.at[i], beside the i-th
 *                tensors of its other lists. All lists of a call that are given have one length; 0 is fine.
 *   aliasing     an output overlaps no other argument. "In place allowed": it may be the very same view (data, dtype, shape and
 *                strides) as an input of the op; matmul's only as its comment says. Inputs may overlap each other.
 *   asynchrony   the call returns when the work is in the stream: done on cpu, still to be run on cuda and hip. Faults of kernels
 *                come with the next call that waits. While a graph is captured the call is recorded and not run.
 *   results      the same bits for the same call on the same device. f16 and bf16 are computed in f32 and rounded once, to
 *                nearest even, where nothing else is said.
 *   errors       INVALID_ARGUMENT (the call breaks what is stated, wherever it runs), UNSUPPORTED (this backend, device or
 *                forced variant refuses it), WORKSPACE_TOO_SMALL (the caller's workspace, or the stream's while a graph is
 *                captured), OUT_OF_MEMORY (the workspace can't grow), CAPTURE (a fallback while a graph is captured),
 *                UNAVAILABLE (a stream that only answers queries), DEVICE. trine_error_text() names the argument and the
 *                reason. After all but DEVICE the outputs are untouched.
 *   source       the paper or standard that defines the op is named with it. */
#ifndef TRINE_H
#define TRINE_H

#include "trine/activation.h"
#include "trine/conv.h"
#include "trine/dtype.h"
#include "trine/dyt.h"
#include "trine/elementwise.h"
#include "trine/fp8.h"
#include "trine/gated.h"
#include "trine/grouped.h"
#include "trine/image.h"
#include "trine/layout.h"
#include "trine/loss.h"
#include "trine/matmul.h"
#include "trine/norm.h"
#include "trine/op.h"
#include "trine/optimizer.h"
#include "trine/pool.h"
#include "trine/quantize.h"
#include "trine/random.h"
#include "trine/reduce.h"
#include "trine/rope.h"
#include "trine/scan.h"
#include "trine/softmax.h"
#include "trine/status.h"
#include "trine/stream.h"
#include "trine/tensor.h"
#include "trine/version.h"

#endif
