/* The largest of dense rows, in the frame of row.h: many rows that a block or a part of one can hold. Floats of 16 bits are compared
 * in pairs; where the largest stands is looked for in the threads that have it. Bound by bytes: one read an element. */
#ifndef TRINE_SIMT_ARGMAX_ROWS_H
#define TRINE_SIMT_ARGMAX_ROWS_H

#include "backends/simt/reduce_run.h"
#include "backends/simt/row_run.h"

namespace simt {

template <class T> struct argmax_rows : row_shares_nothing {
    using element = T;
    using keys = key_traits<T>;
    enum { inputs = 1 };
    const T *in[1];
    T *out; /* not written */
    void *y;
    bool wide; /* i64 */
    short_walk<3> kept;

    struct partial {
        int32_t key;
        uint32_t index;
    };
    using stats = partial;

    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD partial identity() { return partial{lowest_key<int32_t>(), 0xffffffffu}; }

    /* Over `width` threads of a wave. */
    static TRINE_DEVICE_METHOD int32_t largest(int32_t key, int width)
    {
        if (width == target::wave_size()) return target::wave_maximum(key);
        return wave_reduce(
            key, [](int32_t a, int32_t b) { return a > b ? a : b; }, width);
    }
    static TRINE_DEVICE_METHOD uint32_t first(uint32_t index, int width)
    {
        return width == target::wave_size() ? target::wave_minimum(index) : wave_reduce(index, op_least{}, width);
    }

    /* Packs that are not there are the lowest that there is, and come after those that are. */
    template <int P> static TRINE_DEVICE_METHOD partial gather(const row_tile<T, 1, P> &tile, const row_place &at, int width)
    {
        constexpr int V = row_pack<T>;
        typename keys::number most[P], best = keys::lowest();
#pragma unroll
        for (int i = 0; i < P; i++) {
            most[i] = most_of(__builtin_bit_cast(packed, tile.at[0][i]));
            best = keys::larger(best, most[i]);
        }
        const int32_t own = keys::key_of(best), key = largest(own, width);
        uint32_t index = 0xffffffffu;
        if (own == key) {
            row_words<T> words = tile.at[0][0];
            int which = 0;
#pragma unroll
            for (int i = P - 1; i >= 0; i--)
                if (keys::is_most(most[i], best)) {
                    words = tile.at[0][i];
                    which = i;
                }
            int place = 0;
#pragma unroll
            for (int j = V - 1; j >= 0; j--) place = keys::is_most(words.value(j), best) ? j : place;
            index = uint32_t(at.column(which) + place);
        }
        return partial{key, first(index, width)};
    }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
    {
        return a.key > b.key || (a.key == b.key && a.index < b.index) ? a : b;
    }
    static TRINE_DEVICE_METHOD partial combine(const partial &p)
    {
        const int32_t key = target::wave_maximum(p.key);
        return partial{key, target::wave_minimum(p.key == key ? p.index : 0xffffffffu)};
    }
    static TRINE_DEVICE_METHOD stats finish(const partial &p, int64_t) { return p; }
    TRINE_DEVICE_METHOD void note(const stats &s, int64_t row) const
    {
        int64_t offset[3];
        kept.offsets(row, offset);
        if (wide)
            static_cast<int64_t *>(y)[offset[2]] = s.index;
        else
            static_cast<int32_t *>(y)[offset[2]] = int32_t(s.index);
    }

  private:
    using packed = pack<T, row_pack<T>>;
};
template <class T> constexpr bool row_emits<argmax_rows<T>> = false;

/* ---- Host ---- */

/* The team for such rows; packs 0 where they are not for this frame. Short rows are many to a wave in reduce_rows.h. */
template <class T> inline row_team argmax_team(const trine_call *call, const T *x, const trine_reduction &r)
{
    constexpr int V = row_pack<T>;
    const int wave = call->device->props.wave_size;
    bool fit = r.rows.numel == 1 && r.step[0] == 1 && r.n % V == 0 && r.n >= 2 * wave * V && aligned16(x);
    fit = fit && row_walk<argmax_rows<T>, true>::fits(r.kept);
    fit = fit && r.kept.numel >= 16 * int64_t(call->device->props.compute_units);
    for (int d = 0; d < r.kept.ndim; d++) fit = fit && (r.kept.size[d] == 1 || r.kept.stride[0][d] % V == 0);
    return fit ? choose_team(r.n / V, wave, {false, row_few, row_most<argmax_rows<T>>, 0, false}, 1) : row_team{};
}

template <class T> inline trine_status run_argmax_rows(trine_call *call, const reduce_argmax<T> &kind, const trine_reduction &r,
                                                       const row_team &team)
{
    using Op = argmax_rows<T>;
    call->variant = target::variant;
    TRINE_END_OF_QUERY(call, 0); /* as of so many rows reduce() needs none */
    trine_iter both = r.kept;    /* as the operands of row.h: no output, the input */
    for (int d = 0; d < both.ndim; d++) both.stride[1][d] = both.stride[0][d];
    const Op op = {{}, {kind.in[0]}, const_cast<T *>(kind.in[0]), kind.y, kind.wide, short_walk<3>(r.kept)};
    const auto kernel =
        team.packs == row_few ? row_kernel<Op, row_few, lone_block, true> : row_kernel<Op, row_most<Op>, lone_block, true>;
    const int threads = threads_of_few_rows(call, team.threads, team.shift, r.kept.numel);
    const int64_t blocks = ceil_div(r.kept.numel, team.shift >= 0 ? threads >> team.shift : 1);
    return launch(call, kernel, grid(blocks), threads, 0, row_shape{r.kept.numel, int(r.n), team.shift}, op,
                  row_walk<Op, true>(both));
}

template <class T> inline trine_status argmax(trine_call *call, const reduce_argmax<T> &kind, const trine_reduction &r)
{
    if constexpr (!is_integer<T>) {
        const row_team team = argmax_team(call, kind.in[0], r);
        if (team.packs) return run_argmax_rows(call, kind, r, team);
    }
    return reduce(call, kind, r);
}

} // namespace simt

#endif
