/* The vtable of one level: this file, like all kernels, is compiled once a level. */
#include "backends/cpu/level.h"
#include "core/backend.h"

#define OP(family, name) trine_status TRINE_CPU(name)(trine_call * call, const trine_##name##_args *args);
#include "trine/ops.def"
#undef OP

const trine_vtable TRINE_CPU(vtable) = {
#define OP(family, name) .name = TRINE_CPU(name),
#include "trine/ops.def"
#undef OP
};
