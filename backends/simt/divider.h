/* A divider for walk.h that chooses at run time, so that a kernel is compiled once; and the walks over rows. */
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

/* Over rows of N operands: short where `simple` kernels take them, of as many axes as there are for the others. `asks`: whether they
 * may lie alike. */
template <int N, bool simple, bool asks> struct rows_walk_type {
    using type = walk<N, divider_any>;
};
template <int N, bool asks> struct rows_walk_type<N, true, asks> {
    using type = short_walk<N, 2, asks>;
};
template <int N, bool simple, bool asks = (N > 2)> using rows_walk = typename rows_walk_type<N, simple, asks>::type;

} // namespace simt

#endif
