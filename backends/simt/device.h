/* What a vendor's backend.c (C) and its kernels (C++) know of each other: the device and the functions they call across.
 * Included after TRINE_BACKEND_FN is defined. */
#ifndef TRINE_SIMT_DEVICE_H
#define TRINE_SIMT_DEVICE_H

#include "core/backend.h"

struct trine_device {
    trine_device_props props;
    bool assumed; /* for queries about a device that is not here */
    bool ranges;  /* ops are marked for the vendor's profiler: TRINE_RANGES */
};

#ifdef __cplusplus
extern "C" {
#endif

/* The ops, one function each, in <family>.cu or <family>.hip. */
#define OP(family, name) trine_status TRINE_BACKEND_FN(name)(trine_call * call, const trine_##name##_args *args);
#include "trine/ops.def"
#undef OP

/* Starts a probe on the call's stream; in probe.cu or probe.hip. */
trine_status TRINE_BACKEND_FN(run_probe)(trine_call *call, trine_probe_kind probe, double *flops);

#ifdef __cplusplus
}
#endif
#endif
