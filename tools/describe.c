#include "tools/describe.h"

#include <time.h>

#ifndef TRINE_COMMIT
#define TRINE_COMMIT "unknown"
#endif

void describe_build(cJSON *object)
{
    char date[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    cJSON_AddStringToObject(object, "version", trine_version());
    cJSON_AddStringToObject(object, "commit", TRINE_COMMIT);
    cJSON_AddStringToObject(object, "date", date);
    cJSON_AddStringToObject(object, "compiler", __VERSION__);
}

void describe_device(cJSON *object, const trine_device_props *props)
{
    cJSON_AddStringToObject(object, "name", props->name);
    cJSON_AddStringToObject(object, "arch", props->arch);
    cJSON_AddStringToObject(object, "driver", props->driver);
    cJSON_AddNumberToObject(object, "compute_units", props->compute_units);
    cJSON_AddNumberToObject(object, "wave_size", props->wave_size);
    cJSON_AddNumberToObject(object, "clock_khz", props->clock_khz);
    cJSON_AddNumberToObject(object, "memory_bytes", (double)props->memory_bytes);
    cJSON_AddNumberToObject(object, "l2_bytes", (double)props->l2_bytes);
    cJSON_AddNumberToObject(object, "shared_bytes", (double)props->shared_bytes);
}
