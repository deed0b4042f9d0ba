/* The probes of backends/simt/probe.h on NVIDIA. */
#include "backends/cuda/target.h"
#include "backends/simt/probe.h"
