/* bitsandbytes' signed dynamic map of 8 bits, for host code of every backend; C11 and C++17. */
#ifndef TRINE_CORE_DYNAMIC_MAP_H
#define TRINE_CORE_DYNAMIC_MAP_H

#include <stdint.h>

/* Values in ascending order, and the middles between neighbours: what is above middle i goes to value i + 1. */
typedef struct trine_dynamic_map {
    float value[256], middle[255];
} trine_dynamic_map;

enum { TRINE_DYNAMIC_MAP_ZERO = 127 }; /* 127 negative values come before 0, 127 positive ones and 1 after it */

static inline void trine_dynamic_map_make(trine_dynamic_map *map)
{
    double power = 1e-6;
    int32_t at = TRINE_DYNAMIC_MAP_ZERO + 1;
    for (int32_t i = 0; i < 7; i++, power *= 10)
        for (int32_t k = 0, parts = 1 << i; k < parts; k++, at++) {
            map->value[at] = (float)(power * (0.1 + 0.9 * (k + 0.5) / parts));
            map->value[2 * TRINE_DYNAMIC_MAP_ZERO - at] = -map->value[at];
        }
    map->value[TRINE_DYNAMIC_MAP_ZERO] = 0;
    map->value[255] = 1;
    for (int32_t i = 0; i < 255; i++) map->middle[i] = (float)(((double)map->value[i] + (double)map->value[i + 1]) / 2);
}

#endif
