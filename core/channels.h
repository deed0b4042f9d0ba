/* [N, C, ...] or [N, ..., C] by channel, as host code of every backend sees it; C11 and C++17.
 *
 * A unit is the part of the tensor that has one weight and whose elements are summed up together first: a channel, or a channel of
 * one sample. Statistics belong to sets of `members` neighbouring units: batchnorm has one set a channel, of one unit, groupnorm one
 * a group and sample, of its channels. Unit r has channel r % channels. */
#ifndef TRINE_CORE_CHANNELS_H
#define TRINE_CORE_CHANNELS_H

#include "core/taken.h"

typedef struct trine_units {
    trine_iter outer;  /* over the units, in their order */
    trine_iter inside; /* over the elements of one, as they lie */
    int64_t units, channels, members, sets;
    int64_t n; /* elements of a unit */
} trine_units;

static inline int32_t trine_channel_axis(const trine_tensor *x, int32_t channels_last) { return channels_last ? x->ndim - 1 : 1; }

/* groups: 0 for units of whole channels, else how many groups there are in a sample. */
static inline trine_units trine_units_make(const trine_tensor *const *tensors, int32_t operands, int32_t channels_last,
                                           int64_t groups)
{
    trine_units u;
    trine_tensor outer[TRINE_ITER_OPERANDS], inside[TRINE_ITER_OPERANDS];
    const trine_tensor *outers[TRINE_ITER_OPERANDS], *insides[TRINE_ITER_OPERANDS];
    const int32_t axis = trine_channel_axis(tensors[0], channels_last);
    for (int32_t k = 0; k < operands; k++) {
        outers[k] = &outer[k];
        insides[k] = &inside[k];
        outer[k] = trine_keep_axes(tensors[k], axis, 1);
        inside[k] = trine_drop_axes(tensors[k], axis, 1);
        if (groups == 0) continue;
        outer[k] = trine_keep_axes(tensors[k], 0, 2);
        outer[k].shape[1] = tensors[k]->shape[axis];
        outer[k].stride[1] = tensors[k]->stride[axis];
        inside[k] = trine_drop_axes(&inside[k], 0, 1);
    }
    u.outer = trine_iter_make(outers, operands, 1);
    u.inside = trine_iter_make(insides, operands, 0);
    u.channels = tensors[0]->shape[axis];
    u.members = groups ? u.channels / groups : 1;
    u.sets = groups ? tensors[0]->shape[0] * groups : u.channels;
    u.units = u.outer.numel;
    u.n = u.inside.numel;
    return u;
}

#endif
