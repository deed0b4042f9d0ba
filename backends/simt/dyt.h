/* Dynamic tanh, forward and backward. Bound by bytes: each element is moved once, 16 bytes at a time where rows are whole packs.
 *
 * A thread stays with its columns, whose gamma and beta it keeps in registers, and goes down the rows of its block's group. The
 * backward sums columns on the way; a block's lines of threads meet in shared memory, groups through the workspace, in an order
 * that depends on shapes and device alone. */
#ifndef TRINE_SIMT_DYT_H
#define TRINE_SIMT_DYT_H

#include "backends/simt/activation_math.h"
#include "backends/simt/block.h"
#include "backends/simt/divider.h"
#include "backends/simt/map.h"

namespace simt {

enum {
    dyt_threads = 256,
    dyt_unroll = 4,          /* rows that a thread has in flight */
    dyt_backward_unroll = 2, /* the same with dy */
    dyt_lines = 16           /* threads that add up the groups of a column */
};

/* A vector [N] of T or f32, or none. */
template <class T> struct dyt_vector {
    void *data;
    bool wide;
    explicit dyt_vector(const trine_tensor &t) : data(t.data), wide(t.dtype == TRINE_F32) {}
    TRINE_DEVICE_METHOD float at(int64_t i, float otherwise) const
    {
        if (!data) return otherwise;
        return wide ? static_cast<const float *>(data)[i] : to_f32(static_cast<const T *>(data)[i]);
    }
    TRINE_DEVICE_METHOD void put(int64_t i, float x) const
    {
        if (!data) return;
        if (wide)
            static_cast<float *>(data)[i] = x;
        else
            static_cast<T *>(data)[i] = from_f32<T>(x);
    }
};

/* Blocks: group * tiles + tile; 2^shift threads side by side, the other threads of a block in lines below each other. */
struct dyt_plan {
    int64_t rows, n, groups;
    int32_t tiles, shift;
};

/* Where a thread works. */
template <int V> struct dyt_place {
    int64_t column, row, step;
    bool inside;
    TRINE_DEVICE_METHOD explicit dyt_place(const dyt_plan &p)
    {
        const unsigned tile = target::block_x() % unsigned(p.tiles), group = target::block_x() / unsigned(p.tiles);
        const int width = 1 << p.shift, deep = dyt_threads >> p.shift;
        column = (int64_t(tile) * width + (target::thread_x() & (width - 1))) * V;
        inside = column < p.n;
        row = int64_t(group) * deep + (target::thread_x() >> p.shift);
        step = p.groups * deep;
    }
};

/* ---- Forward ---- */

template <class T, int V> TRINE_KERNEL(dyt_threads)
dyt_kernel(dyt_plan plan, walk<2, divider_any> rows, int64_t y_step, int64_t x_step, T *y, const T *x, const float *alpha,
           dyt_vector<T> gamma, dyt_vector<T> beta)
{
    dyt_place<V> at(plan);
    if (!at.inside) return;
    const float a = *alpha;
    float g[V], b[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        g[i] = gamma.at(at.column + i, 1.0f);
        b[i] = beta.at(at.column + i, 0.0f);
    }
    for (; at.row < plan.rows; at.row += dyt_unroll * at.step) {
        pack<T, V> in[dyt_unroll], out;
        int64_t offset[dyt_unroll][2];
#pragma unroll
        for (int u = 0; u < dyt_unroll; u++) {
            const int64_t row = at.row + u * at.step;
            rows.offsets(row < plan.rows ? row : at.row, offset[u]);
            in[u] = load_pack<T, V>(x + offset[u][1] + at.column * x_step);
        }
#pragma unroll
        for (int u = 0; u < dyt_unroll; u++) {
            if (at.row + u * at.step >= plan.rows) break;
#pragma unroll
            for (int i = 0; i < V; i++) out.at[i] = from_f32<T>(target::fma_rn(g[i], tanh_of(a * to_f32(in[u].at[i])), b[i]));
            store_pack<T, V>(y + offset[u][0] + at.column * y_step, out);
        }
    }
}

/* ---- Backward ---- */

/* Partial sums: of group, [0] dgamma, [1] dbeta: n columns each; then of each block its part of dalpha. */
struct dyt_sums {
    float *columns, *dalpha;
};

template <class T, int V> TRINE_KERNEL(dyt_threads)
dyt_backward_kernel(dyt_plan plan, walk<3, divider_any> rows, int64_t dx_step, int64_t x_step, int64_t dy_step, T *dx, const T *x,
                    const T *dy, const float *alpha, dyt_vector<T> gamma, dyt_sums sums)
{
    TRINE_SHARED float list[2][V][dyt_threads];
    TRINE_SHARED float scratch[target::max_waves];
    target::let_next_start();
    dyt_place<V> at(plan);
    const float a = *alpha;
    float g[V], dgamma[V] = {}, dbeta[V] = {}, dalpha = 0.0f;
#pragma unroll
    for (int i = 0; i < V; i++) g[i] = at.inside ? gamma.at(at.column + i, 1.0f) : 0.0f;
    for (; at.inside && at.row < plan.rows; at.row += dyt_backward_unroll * at.step) {
        pack<T, V> in[dyt_backward_unroll], in_dy[dyt_backward_unroll];
        int64_t offset[3], to[dyt_backward_unroll];
#pragma unroll
        for (int u = 0; u < dyt_backward_unroll; u++) {
            const int64_t row = at.row + u * at.step;
            rows.offsets(row < plan.rows ? row : at.row, offset);
            in[u] = load_pack<T, V>(x + offset[1] + at.column * x_step);
            in_dy[u] = load_pack<T, V>(dy + offset[2] + at.column * dy_step);
            to[u] = offset[0] + at.column * dx_step;
        }
#pragma unroll
        for (int u = 0; u < dyt_backward_unroll; u++) {
            if (at.row + u * at.step >= plan.rows) break;
            pack<T, V> out;
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float xi = to_f32(in[u].at[i]), d = to_f32(in_dy[u].at[i]);
                float value, slope;
                tanh_and_slope<T>(a * xi, value, slope);
                const float inner = d * g[i] * slope;
                dgamma[i] = target::fma_rn(d, value, dgamma[i]);
                dbeta[i] += d;
                dalpha += slope == 0.0f && d == d ? 0.0f : inner * xi; /* the limit, where x is inf */
                out.at[i] = from_f32<T>(inner * a);
            }
            store_pack<T, V>(dx + to[u], out);
        }
    }
    const int width = 1 << plan.shift, t = target::thread_x();
#pragma unroll
    for (int i = 0; i < V; i++) {
        list[0][i][t] = dgamma[i];
        list[1][i][t] = dbeta[i];
    }
    dalpha = block_reduce(dalpha, op_sum{}, scratch);
    if (t == 0) sums.dalpha[target::block_x()] = dalpha;
    target::barrier();
    if (t >= width || !at.inside) return;
    float *to = sums.columns + int64_t(target::block_x() / unsigned(plan.tiles)) * 2 * plan.n + at.column;
#pragma unroll
    for (int i = 0; i < V; i++)
        for (int k = 0; k < 2; k++) {
            float sum = list[k][i][t];
            for (int line = t + width; line < dyt_threads; line += width) sum += list[k][i][line];
            to[k * plan.n + i] = sum;
        }
}

/* dyt_lines threads a column, whose groups they share out; the last block adds up dalpha. */
template <class T> TRINE_KERNEL(dyt_threads)
dyt_sums_kernel(dyt_plan plan, dyt_sums sums, int64_t column_blocks, int64_t parts, dyt_vector<T> dgamma, dyt_vector<T> dbeta,
                float *dalpha)
{
    constexpr int across = dyt_threads / dyt_lines;
    TRINE_SHARED float scratch[target::max_waves];
    TRINE_SHARED float list[2][dyt_lines][across];
    const int t = target::thread_x();
    target::wait_for_previous();
    if (target::block_x() < column_blocks) {
        const int side = t % across, line = t / across;
        const int64_t column = int64_t(target::block_x()) * across + side;
        const float *from = sums.columns + (column < plan.n ? column : 0);
        float a = 0.0f, b = 0.0f;
#pragma unroll 4
        for (int64_t group = line; group < plan.groups; group += dyt_lines) {
            a += from[group * 2 * plan.n];
            b += from[(group * 2 + 1) * plan.n];
        }
        list[0][line][side] = a;
        list[1][line][side] = b;
        target::barrier();
        if (line != 0 || column >= plan.n) return;
        for (int i = 1; i < dyt_lines; i++) {
            a += list[0][i][side];
            b += list[1][i][side];
        }
        dgamma.put(column, a);
        dbeta.put(column, b);
        return;
    }
    float sum = 0.0f;
    for (int64_t i = t; i < parts; i += dyt_threads) sum += sums.dalpha[i];
    sum = block_reduce(sum, op_sum{}, scratch);
    if (t == 0 && dalpha) *dalpha = sum;
}

/* ---- Host ---- */

/* V: elements of a pack. `unroll`: rows of a thread at once. `blocks_a_unit`: blocks for each compute unit. */
inline dyt_plan plan_dyt(const trine_call *call, int64_t rows, int64_t n, int V, int unroll, int blocks_a_unit)
{
    dyt_plan p = {rows, n, 1, 1, 0};
    const int64_t packs = ceil_div(n, V);
    while ((1 << p.shift) < packs && (1 << p.shift) < dyt_threads) p.shift++;
    const int64_t tiles = packs ? ceil_div(packs, int64_t(1) << p.shift) : 1, deep = dyt_threads >> p.shift;
    const int64_t most = ceil_div(rows, deep * unroll),
                  wanted = int64_t(call->device->props.compute_units) * blocks_a_unit / tiles;
    p.tiles = int32_t(tiles);
    p.groups = most < wanted ? most : wanted;
    if (p.groups < 1) p.groups = 1;
    return p;
}

/* All operands move in packs: columns are dense, rows whole packs apart. */
template <class T, int K> inline bool dyt_packed(const trine_iter &rows, int64_t n, const trine_tensor *const (&tensors)[K])
{
    bool fit = n % pack_of<T> == 0;
    for (int k = 0; k < K; k++) {
        fit = fit && trine_last_axis_dense(tensors[k]) && aligned16(tensors[k]->data);
        for (int d = 0; d < rows.ndim; d++) fit = fit && rows.stride[k][d] % pack_of<T> == 0;
    }
    return fit;
}

inline int64_t column_step(const trine_tensor &t) { return t.stride[t.ndim - 1]; }

template <class T, int V>
inline trine_status launch_dyt(trine_call *call, const trine_dyt_args *a, const trine_iter &rows, int64_t n)
{
    /* enough to be busy to the end, and no more in 16 bits, where a pack needs as many words of gamma and beta each as it has */
    const dyt_plan plan = plan_dyt(call, rows.numel, n, V, dyt_unroll, sizeof(T) == sizeof(float) ? 128 : 32);
    return launch(call, dyt_kernel<T, V>, grid(plan.tiles * plan.groups), dyt_threads, 0, plan, walk<2, divider_any>(rows),
                  column_step(a->y), column_step(a->x), data_of<T>(a->y), static_cast<const T *>(data_of<T>(a->x)),
                  static_cast<const float *>(data_of<float>(a->alpha)), dyt_vector<T>(a->gamma), dyt_vector<T>(a->beta));
}

inline trine_status dyt(trine_call *call, const trine_dyt_args *a)
{
    const trine_tensor *const tensors[] = {&a->y, &a->x};
    int64_t n;
    const trine_iter rows = trine_iter_rows(tensors, 2, &n);
    if (n == 0 || rows.numel == 0) return TRINE_OK;
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        return dyt_packed<T>(rows, n, tensors) ? launch_dyt<T, pack_of<T>>(call, a, rows, n) : launch_dyt<T, 1>(call, a, rows, n);
    });
}

/* What the backward writes to the workspace, in floats. */
inline int64_t dyt_floats(const dyt_plan &p) { return p.groups * (2 * p.n + p.tiles); }

template <class T, int V> inline trine_status launch_dyt_backward(trine_call *call, const trine_dyt_backward_args *a,
                                                                  const trine_iter &rows, const dyt_plan &plan)
{
    float *workspace = static_cast<float *>(call->workspace);
    const dyt_sums sums = {workspace, workspace + plan.groups * 2 * plan.n};
    const int64_t parts = plan.n == 0 ? 0 : plan.groups * plan.tiles, column_blocks = ceil_div(plan.n, dyt_threads / dyt_lines);
    const trine_status status =
        launch(call, dyt_backward_kernel<T, V>, grid(parts), dyt_threads, 0, plan, walk<3, divider_any>(rows), column_step(a->dx),
               column_step(a->x), column_step(a->dy), data_of<T>(a->dx), static_cast<const T *>(data_of<T>(a->x)),
               static_cast<const T *>(data_of<T>(a->dy)), static_cast<const float *>(data_of<float>(a->alpha)),
               dyt_vector<T>(a->gamma), sums);
    if (status != TRINE_OK) return status;
    return launch_next(call, dyt_sums_kernel<T>, column_blocks + 1, dyt_threads, plan, sums, column_blocks, parts,
                       dyt_vector<T>(a->dgamma), dyt_vector<T>(a->dbeta), data_of<float>(a->dalpha));
}

inline trine_status dyt_backward(trine_call *call, const trine_dyt_backward_args *a)
{
    const trine_tensor *const tensors[] = {&a->dx, &a->x, &a->dy};
    int64_t n;
    const trine_iter rows = trine_iter_rows(tensors, 3, &n);
    return visit_floats(call, a->x.dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        constexpr int V = pack_of<T>;
        /* as many blocks a unit as registers let be there at once on an H100, so that none is left over for a second turn */
        const dyt_plan packed = plan_dyt(call, rows.numel, n, V, dyt_backward_unroll, sizeof(T) == sizeof(float) ? 4 : 3),
                       single = plan_dyt(call, rows.numel, n, 1, dyt_backward_unroll, 4);
        const int64_t most = dyt_floats(packed) > dyt_floats(single) ? dyt_floats(packed) : dyt_floats(single);
        TRINE_END_OF_QUERY(call, size_t(most) * sizeof(float)); /* does not depend on where the tensors lie */
        return dyt_packed<T>(rows, n, tensors) ? launch_dyt_backward<T, V>(call, a, rows, packed)
                                               : launch_dyt_backward<T, 1>(call, a, rows, single);
    });
}

} // namespace simt

/* ---- The backend's functions ---- */

extern "C" trine_status TRINE_BACKEND_FN(dyt)(trine_call *call, const trine_dyt_args *a)
{
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0);
    return simt::dyt(call, a);
}

extern "C" trine_status TRINE_BACKEND_FN(dyt_backward)(trine_call *call, const trine_dyt_backward_args *a)
{
    call->variant = target::variant;
    return simt::dyt_backward(call, a);
}

#endif
