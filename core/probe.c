/* Probes: what the roofline of a device is measured with. */
#include "core/internal.h"

trine_status trine_probe(trine_stream *stream, trine_probe_kind kind, double *flops)
{
    char why[TRINE_WHY] = "";
    double done = 0;
    if (flops) *flops = 0;
    trine_status status = trine_stream_usable(stream, "trine_probe");
    if (status != TRINE_OK) return status;
    if (trine_stream_captured(stream))
        return trine_fail(TRINE_ERROR_CAPTURE, "%s: trine_probe while a graph is captured", stream->backend->name);
    status = stream->backend->probe(stream->device, stream->native, kind, &done, why);
    if (status != TRINE_OK) return trine_backend_failed(stream, "trine_probe", status, why);
    if (flops) *flops = done;
    return TRINE_OK;
}
