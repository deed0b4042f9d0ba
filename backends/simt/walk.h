/* Walking several strided operands together on the device: a trine_iter (core/shape.h) with divisions by multiplication where
 * indices fit 31 bits. */
#ifndef TRINE_SIMT_WALK_H
#define TRINE_SIMT_WALK_H

#include "core/shape.h"

namespace simt {

/* n / d for 0 <= n < 2^31 and 1 <= d < 2^31: Granlund & Montgomery 1994, "Division by invariant integers using multiplication".
 */
struct divider32 {
    uint32_t d, multiplier, shift;
    divider32() = default;
    explicit divider32(int64_t divisor) : d(uint32_t(divisor)), shift(0)
    {
        while ((uint64_t(1) << shift) < d) shift++;
        multiplier = uint32_t(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - d)) / d + 1);
    }
    TRINE_METHOD int64_t divide(int64_t n) const
    {
        uint32_t low = uint32_t(n);
        uint32_t high = uint32_t((uint64_t(low) * multiplier) >> 32);
        return int64_t((high + low) >> shift); /* high + low < 2^32, as low < 2^31 */
    }
};

struct divider64 {
    int64_t d;
    divider64() = default;
    explicit divider64(int64_t divisor) : d(divisor) {}
    TRINE_METHOD int64_t divide(int64_t n) const { return target::divide_long(n, d); }
};

/* `Divider` is divider32 if all indices are below 2^31, else divider64. What walks of one axis ask for lies together, at the
 * beginning: each line of a kernel's arguments costs a block 90 ns when it first reads there (H100). */
template <int N, class Divider> struct walk {
    int32_t ndim;
    int64_t step[TRINE_MAX_DIMS][N]; /* of the operands, axis by axis: a trine_iter has stride[operand][axis] */
    Divider size[TRINE_MAX_DIMS];

    explicit walk(const trine_iter &it) : ndim(it.ndim)
    {
        for (int d = 0; d < it.ndim; d++) {
            size[d] = Divider(it.size[d] ? it.size[d] : 1);
            for (int k = 0; k < N; k++) step[d][k] = it.stride[k][d];
        }
    }
    /* Offsets in elements at position `index` of the walk. The outermost axis takes what is left. A loop, since most walks have
     * one axis or two: unrolled it would be most of a kernel's code, and a block that lives for a row waits for instructions. */
    TRINE_DEVICE_METHOD void offsets(int64_t index, int64_t (&offset)[N]) const
    {
        for (int k = 0; k < N; k++) offset[k] = 0;
#pragma unroll 1
        for (int d = ndim - 1; d > 0; d--) {
            int64_t outer = size[d].divide(index), i = index - outer * int64_t(size[d].d);
            index = outer;
            for (int k = 0; k < N; k++) offset[k] += i * step[d][k];
        }
        for (int k = 0; k < N; k++) offset[k] += index * step[0][k];
    }
};

/* Whether all operands of a walk lie alike: asked where there are so many that their steps are worth leaving out, if they ever do. */
template <bool asked> struct steps_alike {
    static constexpr bool alike = false;
    void set_alike(bool) {}
};
template <> struct steps_alike<true> {
    bool alike;
    void set_alike(bool is) { alike = is; }
};

/* The same of at most A axes, in a quarter of the bytes: launches of kernels with arguments of more than 200 take 0.4 us longer in
 * the mean, on streams where it happens (docs/small-tensors.md). */
template <int N, int A = 2, bool asks = (A == 2 && N > 2)> struct short_walk : steps_alike<asks> {
    divider32 inner[A - 1]; /* of axes 1 on; d 0: there is none */
    int64_t step[A][N];

    static bool fits(const trine_iter &it)
    {
        return it.ndim <= A && it.numel < 0x7fff0000; /* so that blocks' rows fit 31 bits */
    }
    explicit short_walk(const trine_iter &it)
    {
        for (int d = 0; d < A; d++) {
            const bool is = d < it.ndim;
            if (d > 0) inner[d - 1] = divider32(is && it.size[d] > 0 ? it.size[d] : 1);
            if (d > 0 && !is) inner[d - 1].d = 0;
            for (int k = 0; k < N; k++) step[d][k] = is ? it.stride[k][d] : 0;
        }
        bool alike = it.ndim <= 1;
        for (int k = 1; k < N; k++) alike = alike && step[0][k] == step[0][0];
        this->set_alike(alike);
    }
    TRINE_DEVICE_METHOD void offsets(int64_t index, int64_t (&offset)[N]) const
    {
        uint32_t at = uint32_t(index), along[A] = {};
        if (this->alike) {
            for (int k = 0; k < N; k++) offset[k] = int64_t(at) * step[0][0];
            return;
        }
#pragma unroll
        for (int d = A - 1; d > 0; d--) {
            if (inner[d - 1].d == 0) continue;
            const uint32_t outer = uint32_t(inner[d - 1].divide(at));
            along[d] = at - outer * inner[d - 1].d;
            at = outer;
        }
        for (int k = 0; k < N; k++) offset[k] = int64_t(at) * step[0][k];
#pragma unroll
        for (int d = 1; d < A; d++)
            if (inner[d - 1].d != 0)
                for (int k = 0; k < N; k++) offset[k] += int64_t(along[d]) * step[d][k];
    }
};

} // namespace simt

#endif
