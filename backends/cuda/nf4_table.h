/* From packed nf4 codes to pairs of 16-bit floats: a table of the 256 bytes in shared memory, which every bank has. */
#ifndef TRINE_CUDA_NF4_TABLE_H
#define TRINE_CUDA_NF4_TABLE_H

#include "backends/simt/nf4_matmul.h"

namespace nf4_table {

/* The table: entry [byte] has its pair once for every bank, and as many bytes unused, so that one byte permutation makes of a byte
 * and the lane's bank an address: shifts and masks take the same unit, and would be the bound. */
enum { entry_bytes = 256, table_bytes = 256 * entry_bytes };

/* The first element of a byte in the lower half of its pair. Eight threads have a byte, 16 bytes each. */
template <class T, int THREADS> TRINE_DEVICE void fill_table(unsigned char *table, const simt::nf4_book &values)
{
#pragma unroll 4
    for (int i = int(threadIdx.x); i < 256 * 8; i += THREADS) {
        const int byte = i / 8;
        const uint32_t pair =
            uint32_t(simt::from_f32<T>(values.at[byte >> 4]).bits) | uint32_t(simt::from_f32<T>(values.at[byte & 15]).bits) << 16;
        *reinterpret_cast<uint4 *>(table + byte * entry_bytes + i % 8 * 16) = uint4{pair, pair, pair, pair};
    }
}

/* Byte b of a word, looked up. `bank`: four times the lane. */
template <int b> TRINE_DEVICE uint32_t look_up(const unsigned char *table, uint32_t bank, uint32_t word)
{
    return *reinterpret_cast<const uint32_t *>(table + target::byte_permute<0x5504 + 16 * b>(word, bank));
}

} // namespace nf4_table

#endif
