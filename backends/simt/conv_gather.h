/* Gathered operands (core/conv_plan.h) on the device: where an index leads, and tiles of such operands in shared memory. */
#ifndef TRINE_SIMT_CONV_GATHER_H
#define TRINE_SIMT_CONV_GATHER_H

#include "backends/simt/activation_math.h"
#include "backends/simt/launch.h"
#include "backends/simt/matmul_tile.h"
#include "core/conv_plan.h"

namespace simt {

/* Where something lies: element in memory, row and column in its plane. */
struct conv_place {
    int64_t at;
    int32_t h, w;
};

/* A trine_conv_side of less than 2^31 indices. */
struct conv_side {
    divider32 middle, inner;
    int64_t stride[3];
    int32_t h[3], w[3];

    explicit conv_side(const trine_conv_side &s) : middle(s.size[1] ? s.size[1] : 1), inner(s.size[2] ? s.size[2] : 1)
    {
        for (int i = 0; i < 3; i++) {
            stride[i] = s.stride[i];
            h[i] = int32_t(s.h[i]);
            w[i] = int32_t(s.w[i]);
        }
    }
    TRINE_DEVICE_METHOD conv_place place(int32_t index) const
    {
        const int32_t rest = int32_t(inner.divide(index)), i2 = index - rest * int32_t(inner.d);
        const int32_t i0 = int32_t(middle.divide(rest)), i1 = rest - i0 * int32_t(middle.d);
        return conv_place{i0 * stride[0] + i1 * stride[1] + i2 * stride[2], i0 * h[0] + i1 * h[1] + i2 * h[2],
                          i0 * w[0] + i1 * w[1] + i2 * w[2]};
    }
};

template <class T> struct conv_operand {
    const T *data;
    int64_t group;
    int32_t h, w, height, width;
    bool along_k; /* neighbouring threads read along the terms */
    conv_side rows, terms;

    explicit conv_operand(const trine_conv_operand &o)
        : data(static_cast<const T *>(o.data) + o.first), group(o.group), h(int32_t(o.h)), w(int32_t(o.w)),
          height(int32_t(o.height)), width(int32_t(o.width)), along_k(o.terms.stride[2] == 1 && o.terms.size[2] > 1),
          rows(o.rows), terms(o.terms)
    {
    }
    TRINE_DEVICE_METHOD bool meets(int32_t row, int32_t column) const
    {
        return uint32_t(row) < uint32_t(height) && uint32_t(column) < uint32_t(width);
    }
};

/* As tile_loader (matmul_tile.h): a thread's part of a tile, packs of V along the operand's dense axis, from memory to registers
 * and from there to shared memory, tile[k][row]. */
template <class T, int ROWS, int TERMS, int THREADS, int V> struct conv_loader {
    enum { packs = ROWS * TERMS / V / THREADS, pitch = tile_pitch<ROWS>, packs_k = TERMS / V, packs_rows = ROWS / V };
    static_assert(packs * V * THREADS == ROWS * TERMS && THREADS % packs_k == 0 && THREADS % packs_rows == 0,
                  "every thread has the same part");

    /* A row's first element; row and column of its plane. */
    struct line {
        const T *from;
        int32_t h, w;
    };
    bool along_k;
    line row[packs];
    int inside; /* packs in rows that the operand has */
    int k, to, k_step, to_step;
    pack<T, V> held[packs];

    TRINE_DEVICE_METHOD conv_loader(const conv_operand<T> &o, int32_t first_row, int32_t rows, int64_t group)
        : along_k(o.along_k), inside(0)
    {
        const int t = target::thread_x();
        const int own = o.along_k ? t / packs_k : t % packs_rows * V, row_step = o.along_k ? THREADS / packs_k : 0;
        k = o.along_k ? t % packs_k * V : t / packs_rows;
        k_step = o.along_k ? 0 : THREADS / packs_rows;
        to = k * pitch + own;
        to_step = k_step * pitch + row_step;
#pragma unroll
        for (int i = 0; i < packs; i++) {
            const int32_t index = first_row + own + i * row_step;
            inside += index < rows;
            const conv_place at = o.rows.place(index < rows ? index : 0);
            row[i] = line{o.data + group * o.group + at.at, at.h + o.h, at.w + o.w};
        }
    }
    /* The operand's tile from term `first` on; zeros from `end` on. */
    TRINE_DEVICE_METHOD void load(const conv_operand<T> &o, int32_t first, int32_t end)
    {
        conv_place term = o.terms.place(first + k);
#pragma unroll
        for (int i = 0; i < packs; i++) {
            if (i > 0 && !o.along_k) term = o.terms.place(first + k + i * k_step);
            held[i] = {};
            if (i < inside && first + k + i * k_step < end && o.meets(row[i].h + term.h, row[i].w + term.w))
                held[i] = load_pack<T, V>(row[i].from + term.at);
        }
    }
    TRINE_DEVICE_METHOD void store(float *tile) const
    {
#pragma unroll
        for (int i = 0; i < packs; i++) {
            pack<float, V> wide;
#pragma unroll
            for (int j = 0; j < V; j++) wide.at[j] = to_f32(held[i].at[j]);
            float *at = tile + to + i * to_step;
            if (V == 1 || !along_k) {
                *reinterpret_cast<pack<float, V> *>(at) = wide;
            } else {
#pragma unroll
                for (int j = 0; j < V; j++) at[j * pitch] = wide.at[j];
            }
        }
    }
};

/* ---- What becomes of a sum ---- */

template <class T> struct conv_output {
    void *d;
    const void *bias;
    int64_t group;
    int64_t bias_group, bias_m, bias_n;
    conv_side rows, columns;
    trine_activation_kind activation;
    float activation_alpha;
    bool wide, bias_wide, packs; /* packs: four neighbouring columns may be stored together */

    explicit conv_output(const trine_conv_product &p)
        : d(p.d), bias(p.bias), group(p.d_group), bias_group(p.bias_of_rows ? p.m : p.n), bias_m(p.bias_of_rows),
          bias_n(!p.bias_of_rows), rows(p.d_rows), columns(p.d_columns), activation(p.activation),
          activation_alpha(p.activation_alpha), wide(p.d_dtype == TRINE_F32), bias_wide(p.bias_dtype == TRINE_F32), packs(false)
    {
        if (d) d = static_cast<char *>(d) + p.d_first * (wide ? 4 : int64_t(sizeof(T)));
        packs = p.d_columns.size[2] % 4 == 0 && p.d_columns.stride[2] == 1 && p.d_group % 4 == 0 && aligned16(d);
        for (int i = 0; i < 3; i++)
            packs = packs && (p.d_rows.size[i] == 1 || p.d_rows.stride[i] % 4 == 0) &&
                    (i == 2 || p.d_columns.size[i] == 1 || p.d_columns.stride[i] % 4 == 0);
    }
    TRINE_DEVICE_METHOD float finish(float sum, int64_t g, int32_t row, int32_t column) const
    {
        if (bias) {
            const int64_t i = g * bias_group + row * bias_m + column * bias_n;
            sum += bias_wide ? static_cast<const float *>(bias)[i] : to_f32(static_cast<const T *>(bias)[i]);
        }
        return activate(activation, activation_alpha, sum);
    }
    TRINE_DEVICE_METHOD bool plain() const { return !bias && activation == TRINE_ACT_IDENTITY; }
    /* V finished values of neighbouring columns; V > 1 only if `packs`. */
    template <int V> TRINE_DEVICE_METHOD void put(const pack<float, V> &values, int64_t g, int32_t row, int32_t column) const
    {
        put_at(values, g * group + rows.place(row).at + columns.place(column).at);
    }
    template <int V> TRINE_DEVICE_METHOD void put_at(const pack<float, V> &values, int64_t i) const
    {
        if (wide) {
            store_pack<float, V>(static_cast<float *>(d) + i, values);
        } else {
            pack<T, V> narrow;
#pragma unroll
            for (int j = 0; j < V; j++) narrow.at[j] = from_f32<T>(values.at[j]);
            store_pack<T, V>(static_cast<T *>(d) + i, narrow);
        }
    }
};

} // namespace simt

#endif
