/* What every JSON file of the tool says of the build and of devices, under the same names. */
#ifndef TRINE_TOOLS_DESCRIBE_H
#define TRINE_TOOLS_DESCRIBE_H

#include <cjson/cJSON.h>

#include "trine/trine.h"

/* version, commit, date (UTC), compiler */
void describe_build(cJSON *object);
/* name, arch, driver, and what is counted: compute_units, wave_size, clock_khz, memory_bytes, l2_bytes, shared_bytes */
void describe_device(cJSON *object, const trine_device_props *props);

#endif
