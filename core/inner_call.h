/* Ops that are made of the backend's other ops: the call as one of them sees it. C11 and C++17. */
#ifndef TRINE_CORE_INNER_CALL_H
#define TRINE_CORE_INNER_CALL_H

#include "core/backend.h"

/* The first `own` bytes of the workspace are the outer op's. planning: the inner op is only asked what it needs. */
static inline trine_call trine_inner_call(const trine_call *call, size_t own, bool planning)
{
    trine_call inner = *call;
    const bool enough = inner.workspace && inner.workspace_size >= own;
    inner.workspace = enough ? (char *)inner.workspace + own : NULL;
    inner.workspace_size = enough ? inner.workspace_size - own : 0;
    inner.query = planning;
    inner.any_variant = false;
    inner.forced = NULL;
    inner.workspace_needed = 0;
    inner.accepted[0] = inner.why[0] = '\0';
    return inner;
}

/* *most: the most bytes that an inner op needed. Returns status; the outer call gets the reason of an error. */
static inline trine_status trine_inner_done(trine_call *call, size_t *most, const trine_call *inner, trine_status status)
{
    if (inner->workspace_needed > *most) *most = inner->workspace_needed;
    if (status != TRINE_OK) memcpy(call->why, inner->why, sizeof inner->why);
    return status;
}

#endif
