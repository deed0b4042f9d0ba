/* The probes of backends/simt/probe.h on AMD. */
#include "backends/hip/target.h"
#include "backends/simt/probe.h"
