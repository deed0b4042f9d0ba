/* What scaled.h has in registers; compiled in a file of its own, once a level. */
#ifndef TRINE_CPU_SCALED_LANES_H
#define TRINE_CPU_SCALED_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/cpu/level.h"
#include "trine/dtype.h"

#define scaled_most_of_dense TRINE_CPU(scaled_most_of_dense)
#define scaled_most_of_blocks TRINE_CPU(scaled_most_of_blocks)
#define scaled_fp8_put TRINE_CPU(scaled_fp8_put)
#define scaled_int8_put TRINE_CPU(scaled_int8_put)

/* Elements that are put together: a line of codes. */
enum { SCALED_PUT = 64 };

/* n dense elements, a multiple of SCALED_PUT, in blocks of one scale. What is written begins a line if it goes
 * past the caches. */
typedef struct scaled_lines {
    char *codes, *reals;
    int64_t n;
    const float *scale;  /* of the first block */
    int64_t step, block; /* from one scale to the next; a multiple of SCALED_PUT */
    int64_t ahead;       /* bytes from what is read to what is asked for meanwhile; 0: nothing */
    bool stream;
} scaled_lines;
typedef void (*scaled_put_fn)(const scaled_lines *l);

/* The largest magnitude of n reals, f32, f16 or bf16; NaN does not count. */
float scaled_most_of_dense(const char *x, trine_dtype dtype, int64_t n);

/* The same of each block of them, where it is more than what is there. */
void scaled_most_of_blocks(float *most, int64_t step, const char *x, trine_dtype dtype, int64_t n, int64_t block);

/* From reals to fp8 codes, times 1 / scale, or back; NULL where this level has nothing faster than spans. */
scaled_put_fn scaled_fp8_put(trine_dtype code, trine_dtype real, bool back);

/* From reals to int8 codes; NULL as above. */
scaled_put_fn scaled_int8_put(trine_dtype real);

#endif
