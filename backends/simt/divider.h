/* A divider for walk.h that chooses at run time, so that a kernel is compiled once. */
#ifndef TRINE_SIMT_DIVIDER_H
#define TRINE_SIMT_DIVIDER_H

#include "backends/simt/walk.h"

namespace simt {

/* Division by multiplication where both numbers have 31 bits. */
struct divider_any {
    int64_t d;
    divider32 narrow;
    divider_any() = default;
    explicit divider_any(int64_t divisor) : d(divisor), narrow(divisor < 0x7fffffff ? divisor : 1) {}
    TRINE_METHOD int64_t divide(int64_t n) const { return (n | d) < 0x7fffffff ? narrow.divide(n) : target::divide_long(n, d); }
};

} // namespace simt

#endif
