/* Philox4x32-10 (Salmon et al. 2011), written down as the paper has it: the oracle of the random ops. tests/unit/philox.c checks
 * it against the known answers of the authors' library. */
#ifndef TRINE_TESTS_PHILOX_H
#define TRINE_TESTS_PHILOX_H

#include <stdint.h>
#include <string.h>

static inline void philox_4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x[4], k[2] = {key[0], key[1]};
    memcpy(x, counter, sizeof x);
    for (int round = 0; round < 10; round++) {
        uint64_t left = 0xd2511f53u * (uint64_t)x[0], right = 0xcd9e8d57u * (uint64_t)x[2];
        uint32_t next[4] = {(uint32_t)(right >> 32) ^ x[1] ^ k[0], (uint32_t)right, (uint32_t)(left >> 32) ^ x[3] ^ k[1],
                            (uint32_t)left};
        memcpy(x, next, sizeof x);
        k[0] += 0x9e3779b9u; /* the golden ratio */
        k[1] += 0xbb67ae85u; /* sqrt(3) - 1 */
    }
    memcpy(out, x, sizeof x);
}

/* The word of element `index`, as trine/random.h counts. */
static inline uint32_t philox_word(uint64_t seed, uint64_t offset, uint64_t index)
{
    uint64_t count = offset + index / 4;
    uint32_t out[4];
    philox_4x32_10((uint32_t[]){(uint32_t)count, (uint32_t)(count >> 32), 0, 0},
                   (uint32_t[]){(uint32_t)seed, (uint32_t)(seed >> 32)}, out);
    return out[index % 4];
}

#endif
