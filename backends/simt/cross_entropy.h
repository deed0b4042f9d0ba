/* Cross entropy and its gradient. Bound by bytes: the logits are read once; the gradient reads and writes them once.
 *
 * Forward: the frame of row.h without an output (exp_sum.h has the sum); one thread a row makes the loss, and reads the one logit
 * that it needs. Losses of the rows go to the workspace and are added up by at most 128 blocks and one more, in a fixed order.
 * Backward: lse is given, so nothing is summed; threads take packs of a row counted from its 16-byte boundary, as row.h does. */
#ifndef TRINE_SIMT_CROSS_ENTROPY_H
#define TRINE_SIMT_CROSS_ENTROPY_H

#include "backends/simt/activation_math.h"
#include "backends/simt/exp_sum.h"
#include "backends/simt/ids.h"
#include "trine/loss.h"

namespace simt {

/* What the options make of a label. */
struct entropy_options {
    int64_t ignore_index, classes;
    bool ignore;
    float smoothing, z_loss, cap, inverse_cap;
    trine_loss_reduction reduction;

    entropy_options(const trine_cross_entropy_options &o, int64_t classes_)
        : ignore_index(o.ignore_index), classes(classes_), ignore(o.ignore != 0), smoothing(o.label_smoothing), z_loss(o.z_loss),
          cap(o.softcap), inverse_cap(o.softcap > 0 ? 1 / o.softcap : 0), reduction(o.reduction)
    {
    }
    TRINE_DEVICE_METHOD bool skips(int64_t label) const { return ignore && label == ignore_index; }
    TRINE_DEVICE_METHOD bool has(int64_t label) const { return uint64_t(label) < uint64_t(classes); }
    TRINE_DEVICE_METHOD float tanh(float x) const { return tanh_of(x * inverse_cap); }
};

/* Tensors with one element a row; operands of `at`: labels, losses (or dloss), lse, and the logits' rows. */
enum { ENTROPY_LABELS, ENTROPY_LOSSES, ENTROPY_LSE, ENTROPY_LOGITS };
template <class Walk> struct entropy_rows_of {
    Walk at;
    id_list labels;
    float *losses, *lse; /* lse may be NULL */
};
using entropy_rows = entropy_rows_of<walk<4, divider_any>>;
using entropy_rows_short = entropy_rows_of<short_walk<4>>;

template <class T, bool capped, class Rows = entropy_rows> struct entropy_forward : row_shares_nothing {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out; /* not written */
    entropy_options options;
    Rows rows;

    struct partial {
        exp_sum exps;
        float total; /* of the logits, for smoothing */
    };
    using stats = partial;

    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD partial identity() { return partial{exp_sum::identity(), 0.0f}; }
    TRINE_DEVICE_METHOD float capped_value(float x) const { return capped ? options.cap * options.tanh(x) : x; }

    template <int P> TRINE_DEVICE_METHOD partial gather(row_tile<T, 1, P> &tile, const row_place &at, int width) const
    {
        const auto value = [&](int i, int j) {
            const float x = tile.at[0][i].value(j);
            return capped ? at.has(i, j) ? capped_value(x) : neutral() : x;
        };
        partial p = {exp_sum::gather<T, P>(tile, at, width, value), 0.0f};
        if (options.smoothing == 0.0f) return p;
        tile.pass(at.zero());
#pragma unroll
        for (int i = 0; i < P; i++)
#pragma unroll
            for (int j = 0; j < row_pack<T>; j++) p.total += at.has(i, j) ? value(i, j) : 0.0f;
        p.total = wave_reduce(p.total, op_sum{}, width);
        return p;
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        return partial{exp_sum::merge(a.exps, b.exps), target::add_rn(a.total, b.total)};
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &p)
    {
        return partial{exp_sum::combine(p.exps), wave_reduce(p.total, op_sum{})};
    }
    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) { return p; }
    /* A row's label and the logit there: two accesses, one after the other, that need not come after the row's. */
    struct labelled {
        int64_t label;
        float logit;
    };
    TRINE_DEVICE_METHOD labelled note_ahead(int64_t row, bool mine) const
    {
        int64_t offset[4];
        if (!mine) return labelled{0, 0.0f};
        rows.at.offsets(row, offset);
        const int64_t label = rows.labels.at(offset[ENTROPY_LABELS]);
        return labelled{label, options.has(label) ? to_f32(in[0][offset[ENTROPY_LOGITS] + label]) : 0.0f};
    }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const { note(s, row, note_ahead(row, true)); }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row, const labelled &own) const
    {
        int64_t offset[4];
        rows.at.offsets(row, offset);
        const float lse = s.exps.most + s.exps.log();
        float loss = __builtin_nanf("");
        if (options.skips(own.label))
            loss = 0.0f;
        else if (options.has(own.label))
            loss = loss_of(lse, capped_value(own.logit), s.total);
        write(offset, lse, loss);
    }
    /* z: the label's. */
    TRINE_DEVICE_METHOD float loss_of(float lse, float z, float total) const
    {
        const float smoothing = options.smoothing;
        float loss = lse - z; /* first, as it is: both are of a size */
        if (smoothing != 0.0f) loss = target::fma_rn(smoothing, z - total / float(options.classes), loss);
        if (options.z_loss != 0.0f) loss = target::fma_rn(options.z_loss * lse, lse, loss);
        return loss;
    }
    TRINE_DEVICE_METHOD void write(const int64_t (&offset)[4], float lse, float loss) const
    {
        rows.losses[offset[ENTROPY_LOSSES]] = loss;
        if (rows.lse) rows.lse[offset[ENTROPY_LSE]] = lse;
    }
};
template <class T, bool capped, class Rows> constexpr bool row_emits<entropy_forward<T, capped, Rows>> = false;
template <class T, bool capped, class Rows> constexpr bool row_notes_ahead<entropy_forward<T, capped, Rows>> = true;
template <class T, class Rows> constexpr bool row_never_simple<entropy_forward<T, true, Rows>> = true; /* a tanh an element */
/* Capped values are kept from the maximum to the sum, in registers of their own. */
template <class T, class Rows> constexpr int row_most<entropy_forward<T, true, Rows>> =
    target::row_packs < 8 ? target::row_packs : 8;

/* ---- The rows' losses ---- */

enum { entropy_threads = 1024, entropy_most_blocks = 128 };

struct entropy_total {
    float sum;
    int32_t count; /* rows that are not left out, of a block */
    int64_t rows;  /* the same, of all blocks */
};

/* Of a block's share of the rows; losses may be NULL, where only the number is wanted. */
template <class Total> TRINE_KERNEL(entropy_threads)
entropy_total_kernel(int64_t n, walk<4, divider_any> at, id_list labels, entropy_options options, const float *losses,
                     Total *totals)
{
    TRINE_SHARED float sums[target::max_waves];
    TRINE_SHARED int32_t counts[target::max_waves];
    float sum = 0.0f;
    int32_t count = 0;
    for (int64_t row = int64_t(target::block_x()) * entropy_threads + target::thread_x(); row < n;
         row += int64_t(target::grid_x()) * entropy_threads) {
        int64_t offset[4];
        at.offsets(row, offset);
        count += !options.skips(labels.at(offset[ENTROPY_LABELS]));
        if (losses) sum += losses[row];
    }
    sum = block_reduce(sum, op_sum{}, sums);
    count = block_reduce(count, op_sum{}, counts);
    if (target::thread_x() == 0) totals[target::block_x()] = Total{sum, count, count};
}

/* Adds the blocks' totals up in their order; loss may be NULL, and weight, what a row's loss counts. */
template <class Total> TRINE_KERNEL(entropy_threads)
entropy_finish_kernel(int blocks, trine_loss_reduction reduction, Total *totals, float *loss, float *weight)
{
    if (target::thread_x() != 0) return;
    Total all = totals[0];
    for (int i = 1; i < blocks; i++) {
        all.sum = target::add_rn(all.sum, totals[i].sum);
        all.rows += totals[i].rows;
    }
    totals[0].rows = all.rows;
    if (weight) *weight = reduction == TRINE_LOSS_MEAN ? target::div_ieee(1.0f, float(all.rows)) : 1.0f;
    if (loss) *loss = reduction == TRINE_LOSS_MEAN ? target::div_ieee(all.sum, float(all.rows)) : all.sum;
}

/* totals: of entropy_most_blocks. */
inline trine_status add_rows(trine_call *call, int64_t n, const entropy_rows &rows, const entropy_options &options,
                             const float *losses, entropy_total *totals, float *loss, float *weight = nullptr)
{
    const int64_t wanted = ceil_div(n, 4 * entropy_threads), some = wanted < 1 ? 1 : wanted,
                  blocks = some < entropy_most_blocks ? some : int64_t(entropy_most_blocks);
    const trine_status status = launch(call, entropy_total_kernel<entropy_total>, grid(blocks), entropy_threads, 0, n, rows.at,
                                       rows.labels, options, losses, totals);
    if (status != TRINE_OK) return status;
    return launch(call, entropy_finish_kernel<entropy_total>, grid(1), 1, 0, int(blocks), options.reduction, totals, loss,
                  weight);
}

/* ---- Backward ---- */

enum { entropy_packs = 4 };

template <class T, bool capped, class Rows = entropy_rows> struct entropy_backward : row_shares_nothing {
    using element = T;
    enum { inputs = 1 };
    const T *in[1];
    T *out;
    entropy_options options;
    Rows rows;                   /* losses: dloss */
    const entropy_total *totals; /* for the mean */

    struct stats {
        float lse, scale, pull; /* of the exponentials, and what every class is pulled down by */
        float own;              /* and the label in addition */
        int64_t label;          /* -1: there is none */
        bool left_out, broken;  /* a row that is left out; a label that is no class */
    };
    static TRINE_DEVICE_METHOD float neutral() { return 0.0f; }

    TRINE_DEVICE_METHOD stats look_up(int64_t row) const
    {
        int64_t offset[4];
        rows.at.offsets(row, offset);
        float weight = rows.losses[offset[ENTROPY_LOSSES]];
        if (options.reduction == TRINE_LOSS_MEAN) weight = target::div_ieee(weight, float(totals->rows));
        const int64_t label = rows.labels.at(offset[ENTROPY_LABELS]);
        return slope_of(rows.lse[offset[ENTROPY_LSE]], label, options.skips(label), !options.has(label), weight);
    }
    TRINE_DEVICE_METHOD stats slope_of(float lse, int64_t label, bool left_out, bool broken, float weight) const
    {
        stats s;
        s.label = label;
        s.lse = lse;
        s.scale = weight * target::fma_rn(2.0f * options.z_loss, lse, 1.0f);
        s.pull = weight * (options.smoothing / float(options.classes));
        s.own = weight * (1.0f - options.smoothing);
        s.left_out = left_out;
        s.broken = broken;
        return s;
    }
    /* The class of a pack's first logit. */
    template <class W> static TRINE_DEVICE_METHOD int64_t fetch(const row_place &at, int i, int64_t first)
    {
        return first + at.column(i);
    }
    template <int P>
    TRINE_DEVICE_METHOD void emit(float (&dx)[4], const stats &s, const row_tile<T, 1, P> &tile, int i, int q, int64_t pack) const
    {
        const int64_t column = pack + 4 * q;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = tile.at[0][i].value(4 * q + j), t = capped ? options.tanh(x) : 0.0f, z = capped ? options.cap * t : x;
            const float p = target::exp2_fast((z - s.lse) * log2e);
            float d = target::fma_rn(p, s.scale, -s.pull) - (column + j == s.label ? s.own : 0.0f);
            if (capped) d *= target::fma_rn(-t, t, 1.0f);
            dx[j] = s.left_out ? 0.0f : s.broken ? __builtin_nanf("") : d;
        }
    }
};

/* 2^shift threads a row or a slice of it, several rows a block. */
template <class Op, class Walk> TRINE_KERNEL(row_small_block)
row_map_kernel(Op op, Walk outer, int64_t count, row_slices slices, divider_any in_row, int shift)
{
    const int width = 1 << shift, t = target::thread_x() & (width - 1);
    const int64_t task = (int64_t(target::block_x()) * row_small_block + target::thread_x()) >> shift, row = in_row.divide(task);
    if (row >= count) return;
    const int64_t first = (task - row * in_row.d) * slices.length;
    const int n = int(slices.n - first < slices.length ? slices.n - first : slices.length);
    int64_t offset[2];
    outer.offsets(row, offset);
    const row_operands<Op, false> operands(op, offset, first);
    const typename Op::stats stats = op.look_up(row);
    for (int pack = 0; pack * row_pack<row_element<Op>> - operands.lead < n; pack += width * entropy_packs) {
        const row_place at = operands.place(n, pack + t, width);
        row_tile<row_element<Op>, 1, entropy_packs> tile;
        load_tile(tile, op, operands, at);
        store_tile(stats, tile, op, operands, at, first);
    }
}

/* ---- Host ---- */

/* A call of which the first `own` bytes of the workspace belong to the caller of f(call). */
template <class F> inline trine_status behind_workspace(trine_call *call, size_t own, F f)
{
    trine_call inner = *call;
    const bool enough = call->workspace_size >= own;
    if (!call->query && !enough) inner.query = true; /* to learn what all of it needs */
    inner.workspace = enough && call->workspace ? static_cast<char *>(call->workspace) + own : nullptr;
    inner.workspace_size = enough ? call->workspace_size - own : 0;
    inner.workspace_needed = 0;
    const trine_status status = f(&inner);
    inner.query = call->query;
    inner.workspace = call->workspace;
    inner.workspace_size = call->workspace_size;
    if (inner.workspace_needed + own > call->workspace_needed) inner.workspace_needed += own;
    *call = inner;
    return status == TRINE_OK && !call->query && !enough ? TRINE_ERROR_WORKSPACE_TOO_SMALL : status;
}

/* A scalar loss stands for every row with stride 0. */
inline trine_tensor along_rows(const trine_tensor &t, const trine_tensor &labels)
{
    trine_tensor r = labels;
    r.data = t.data;
    r.dtype = t.dtype;
    for (int32_t d = 0; d < r.ndim; d++) r.stride[d] = t.ndim == r.ndim && t.shape[d] == r.shape[d] ? t.stride[d] : 0;
    return r;
}

inline trine_iter entropy_iter(const trine_tensor &labels, const trine_tensor &losses, const trine_tensor &lse,
                               const trine_tensor &logits)
{
    trine_tensor first = logits;
    first.ndim--;
    const trine_tensor *operands[] = {&labels, &losses, &lse, &first};
    return trine_iter_make(operands, 4, 1);
}

constexpr size_t entropy_totals_bytes = size_t(entropy_most_blocks) * sizeof(entropy_total);

template <class T, bool capped> inline trine_status run_entropy(trine_call *call, const trine_cross_entropy_args *a)
{
    const entropy_options options(a->options, a->logits.shape[a->logits.ndim - 1]);
    const int64_t n = trine_tensor_numel(&a->labels);
    const bool each = a->options.reduction == TRINE_LOSS_NONE, has_lse = trine_is_given(&a->lse);
    const size_t own = each ? 0 : entropy_totals_bytes + (size_t(n) * sizeof(float) + 255) / 256 * 256;
    auto *totals = static_cast<entropy_total *>(call->workspace);
    float *losses = each ? data_of<float>(a->loss) : reinterpret_cast<float *>(totals + entropy_most_blocks);
    /* losses in the workspace lie row-major */
    const trine_tensor dense = trine_tensor_make(losses, TRINE_F32, a->labels.ndim, a->labels.shape),
                       *tensors[] = {&a->logits, &a->logits};
    const trine_iter at = entropy_iter(a->labels, each ? a->loss : dense, has_lse ? a->lse : a->labels, a->logits);
    float *const lse = has_lse ? data_of<float>(a->lse) : nullptr;
    const entropy_rows rows = {walk<4, divider_any>(at), id_list(a->labels), losses, lse};
    const entropy_rows_short few = {short_walk<4>(at), id_list(a->labels), losses, lse};
    T *const logits = data_of<T>(a->logits);
    const trine_status status = behind_workspace(call, own, [&](trine_call *inner) {
        return run_rows(inner, entropy_forward<T, capped, entropy_rows_short>{{}, {logits}, logits, options, few},
                        entropy_forward<T, capped>{{}, {logits}, logits, options, rows}, short_walk<4>::fits(at), tensors);
    });
    if (status != TRINE_OK || call->query || each) return status;
    return add_rows(call, n, rows, options, losses, totals, data_of<float>(a->loss));
}

template <class T, bool capped>
inline trine_status run_entropy_backward(trine_call *call, const trine_cross_entropy_backward_args *a)
{
    constexpr int V = row_pack<T>;
    const trine_tensor *tensors[] = {&a->dlogits, &a->logits};
    int64_t n;
    for (const trine_tensor *t : tensors) TRINE_REQUIRE_THAT(call, trine_last_axis_dense(t), "needs a last axis of stride 1");
    const trine_iter outer = trine_iter_rows(tensors, 2, &n);
    const entropy_options options(a->options, n);
    const bool mean = a->options.reduction == TRINE_LOSS_MEAN;
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, mean ? entropy_totals_bytes : 0);
    if (outer.numel == 0) return TRINE_OK;
    auto *totals = static_cast<entropy_total *>(call->workspace);
    const trine_tensor dloss = along_rows(a->dloss, a->labels);
    const trine_iter at = entropy_iter(a->labels, dloss, a->lse, a->logits);
    const entropy_rows rows = {walk<4, divider_any>(at), id_list(a->labels), data_of<float>(a->dloss), data_of<float>(a->lse)};
    if (mean) {
        const trine_status status = add_rows(call, outer.numel, rows, options, nullptr, totals, nullptr);
        if (status != TRINE_OK) return status;
    }
    const int64_t packs = ceil_div(n + V - 1, V), most = int64_t(row_small_block) * entropy_packs * V;
    int shift = 0;
    while (shift < 8 && int64_t(entropy_packs) << shift < packs) shift++;
    const row_slices slices = {n, n <= 2 * most ? n : 2 * most, int(n <= 2 * most ? 1 : ceil_div(n, 2 * most))};
    const auto go = [&](auto of_rows, auto walk_of_rows) {
        using Op = entropy_backward<T, capped, decltype(of_rows)>;
        const Op op = {{}, {data_of<T>(a->logits)}, data_of<T>(a->dlogits), options, of_rows, totals};
        return launch(call, row_map_kernel<Op, decltype(walk_of_rows)>,
                      grid(ceil_div(outer.numel * slices.count, row_small_block >> shift)), row_small_block, 0, op, walk_of_rows,
                      outer.numel, slices, divider_any(slices.count), shift);
    };
    if constexpr (!capped) {
        if (short_walk<4>::fits(at) && short_walk<2>::fits(outer))
            return go(entropy_rows_short{short_walk<4>(at), rows.labels, rows.losses, rows.lse}, short_walk<2>(outer));
    }
    return go(rows, walk<2, divider_any>(outer));
}

/* For core/linear_cross_entropy.h. */
inline trine_status entropy_weight(trine_call *call, const trine_tensor *labels, const trine_cross_entropy_options *o,
                                   float *weight)
{
    const trine_tensor *operands[] = {labels, labels, labels, labels};
    const entropy_rows rows = {walk<4, divider_any>(trine_iter_make(operands, 4, 1)), id_list(*labels), nullptr, nullptr};
    TRINE_END_OF_QUERY(call, entropy_totals_bytes);
    return add_rows(call, trine_tensor_numel(labels), rows, entropy_options(*o, 1), nullptr,
                    static_cast<entropy_total *>(call->workspace), nullptr, weight);
}

} // namespace simt

#endif
