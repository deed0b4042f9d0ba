/* Which sums a thread of a warpgroup has, of 64 rows, and how it writes them to shared memory for what stores them: wgmma's
 * fragments, or (lane_sums) those of true f32. Boxes hold as many columns as a line of 128 bytes has elements of d:
 *
 *   fill        a line a row, swizzled, as TMA wants it
 *   fill_plane  a line a column, of 64 pixels (f32: 32 in each half of the box, or in lines of 256 bytes); swizzled, or one after the
 *               other, for boxes of a window's pixels are no such lines
 *   stage       32 columns as f32, a row after the other
 */
#ifndef TRINE_CUDA_CONV_SM90_SUMS_H
#define TRINE_CUDA_CONV_SM90_SUMS_H

#include "backends/cuda/conv_sm90_geometry.h"
#include "backends/cuda/matmul_sm90_epilogue.h"

namespace sm90 {

template <class T> TRINE_DEVICE float read_bias(const conv_finish &f, T, int i)
{
    return f.bias_wide ? static_cast<const float *>(f.bias)[i] : simt::to_f32(static_cast<const T *>(f.bias)[i]);
}

TRINE_DEVICE float load_one(uint32_t address)
{
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
    return v;
}
TRINE_DEVICE void store_one(uint32_t address, float v)
{
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(v) : "memory");
}

/* Of a box of planes of f32: where pixel `at` of a channel's line lies. */
TRINE_DEVICE uint32_t plane_place(bool swizzled, int line, int at)
{
    if (!swizzled) return uint32_t(line * 2 * wgmma::line_bytes + at * 4);
    return uint32_t(at / 32 * (wgmma::block_bytes / 2) + line * wgmma::line_bytes + ((at % 32 / 4 ^ line % 8) << 4) + at % 4 * 4);
}

struct fragment_sums {
    template <int n, class T> static TRINE_DEVICE_METHOD void
    add_bias(float (&sum)[n], const conv_geometry &g, const conv_finish &f, int column, const lane_place &me, T type)
    {
#pragma unroll
        for (int j = 0; j < n / 4; j++) {
            const int c = column + 8 * j + me.column();
            const float low = c < g.n ? read_bias(f, type, c) : 0.0f, high = c + 1 < g.n ? read_bias(f, type, c + 1) : 0.0f;
            sum[4 * j] += low;
            sum[4 * j + 1] += high;
            sum[4 * j + 2] += low;
            sum[4 * j + 3] += high;
        }
    }
    template <int n>
    static TRINE_DEVICE_METHOD void stage(const float (&sum)[n], int i, uint32_t to, int pitch, const lane_place &me)
    {
        stage_sums(sum, i, to, pitch, me);
    }
    template <class D> static TRINE_DEVICE_METHOD void fill(const float *d, uint32_t box, const lane_place &me, D type)
    {
        fill_box(d, box, me, type);
    }
    template <class T>
    static TRINE_DEVICE_METHOD void fill_plane(const float *d, uint32_t box, bool swizzled, const lane_place &me, T)
    {
        const int piece = 2 * me.warp() + me.lane() / 8 % 2;
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            const int line = 8 * (j + me.lane() / 16) + me.lane() % 8;
            const float *own = d + 4 * j;
            ptx::store_matrices_turned(box + line * wgmma::line_bytes + ((swizzled ? piece ^ (line % 8) : piece) << 4),
                                       pack_pair(T{}, own[0], own[1]), pack_pair(T{}, own[2], own[3]),
                                       pack_pair(T{}, own[4], own[5]), pack_pair(T{}, own[6], own[7]));
        }
    }
    static TRINE_DEVICE_METHOD void fill_plane(const float *d, uint32_t box, bool swizzled, const lane_place &me, float)
    {
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                store_one(box + plane_place(swizzled, 8 * j + me.column() + i % 2, me.row() + i / 2 * 8), d[4 * j + i]);
    }
};

/* True f32. The lanes of a warp are G groups with as many rows each of the warp's 16; the others of a group have neighbouring columns.
 * sum[rows j + r]: row 16 warp + rows group + r, column across j + lane of the group. */
template <int G> struct lane_sums {
    enum { rows = 16 / G, across = 32 / G };
    static TRINE_DEVICE_METHOD int first_row(const lane_place &me) { return me.warp() * 16 + me.lane() / across * rows; }
    static TRINE_DEVICE_METHOD int first_column(const lane_place &me) { return me.lane() % across; }

    template <int n, class T> static TRINE_DEVICE_METHOD void
    add_bias(float (&sum)[n], const conv_geometry &g, const conv_finish &f, int column, const lane_place &me, T type)
    {
#pragma unroll
        for (int j = 0; j < n / rows; j++) {
            const int c = column + across * j + first_column(me);
            const float bias = c < g.n ? read_bias(f, type, c) : 0.0f;
#pragma unroll
            for (int r = 0; r < rows; r++) sum[rows * j + r] += bias;
        }
    }
    template <int n>
    static TRINE_DEVICE_METHOD void stage(const float (&sum)[n], int i, uint32_t to, int pitch, const lane_place &me)
    {
        const uint32_t own = to + uint32_t(first_row(me) * pitch + first_column(me)) * 4;
#pragma unroll
        for (int j = 0; j < G; j++)
#pragma unroll
            for (int r = 0; r < rows; r++) store_one(own + (r * pitch + across * j) * 4, sum[16 * i + rows * j + r]);
    }
    static TRINE_DEVICE_METHOD void fill(const float *d, uint32_t box, const lane_place &me, float)
    {
#pragma unroll
        for (int j = 0; j < G; j++)
#pragma unroll
            for (int r = 0; r < rows; r++) {
                const int line = first_row(me) + r, c = across * j + first_column(me);
                store_one(box + line * wgmma::line_bytes + ((c / 4 ^ line % 8) << 4) + c % 4 * 4, d[rows * j + r]);
            }
    }
    static TRINE_DEVICE_METHOD void fill_plane(const float *d, uint32_t box, bool swizzled, const lane_place &me, float)
    {
#pragma unroll
        for (int j = 0; j < G; j++)
#pragma unroll
            for (int r = 0; r < rows; r += 4) {
                const float *own = d + rows * j + r;
                ptx::store_shared(box + plane_place(swizzled, across * j + first_column(me), first_row(me) + r),
                                  float4{own[0], own[1], own[2], own[3]});
            }
    }
};

} // namespace sm90

#endif
