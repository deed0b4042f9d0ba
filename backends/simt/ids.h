/* Lists of ids, i32 or i64, on the device. */
#ifndef TRINE_SIMT_IDS_H
#define TRINE_SIMT_IDS_H

#include "backends/simt/types.h"

namespace simt {

struct id_list {
    const void *data;
    bool wide; /* i64 */
    explicit id_list(const trine_tensor &t) : data(t.data), wide(t.dtype == TRINE_I64) {}
    TRINE_DEVICE_METHOD int64_t at(int64_t i) const
    {
        return wide ? static_cast<const int64_t *>(data)[i] : static_cast<const int32_t *>(data)[i];
    }
};

} // namespace simt

#endif
