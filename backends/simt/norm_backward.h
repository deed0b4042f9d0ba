/* Gradients of layernorm and rmsnorm: the arithmetic of a row, and its columns' sums. norm_gradient.h has the kernels.
 *
 * With h = (x - mean) rstd, g = dy weight and means over the row: dx = rstd (g - mean(g) - h mean(g h)) and, over all rows,
 * dweight = sum(dy h), dbias = sum(dy); rmsnorm has no mean, mean(g) or dbias. A partial of a row is made in one go: count, mean
 * and sum of squares as in the forward, with sum(g) and sum(g (x - mean)) beside them, which merging shifts to the common mean. */
#ifndef TRINE_SIMT_NORM_BACKWARD_H
#define TRINE_SIMT_NORM_BACKWARD_H

#include "backends/simt/row_run.h"

namespace simt {

/* ---- Partials of a row ---- */

template <bool centred> struct gradient_partial;

template <> struct gradient_partial<true> {
    float count, mean, squares, g, gx;
    static TRINE_DEVICE_METHOD gradient_partial identity() { return {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}; }
    static TRINE_DEVICE_METHOD float reciprocal(float count) { return target::rcp_fast(count > 0.0f ? count : 1.0f); }

    static TRINE_DEVICE_METHOD gradient_partial merge(const gradient_partial &a, const gradient_partial &b)
    {
        const float count = a.count + b.count, part = b.count * reciprocal(count), d = b.mean - a.mean;
        const float mean = target::fma_rn(d, part, a.mean);
        const float shifted = target::fma_rn(a.mean - mean, a.g, (b.mean - mean) * b.g);
        return {count, mean, target::fma_rn(d * d, a.count * part, a.squares + b.squares), a.g + b.g, a.gx + b.gx + shifted};
    }
    static TRINE_DEVICE_METHOD gradient_partial combine(const gradient_partial &p)
    {
        return combine(p, wave_reduce(p.count, op_sum{}), target::wave_size());
    }
    /* Over `width` threads of a wave, which have `count` together. */
    static TRINE_DEVICE_METHOD gradient_partial combine(const gradient_partial &p, float count, int width)
    {
        const float mean = wave_reduce(p.count * p.mean, op_sum{}, width) * reciprocal(count), d = p.mean - mean;
        return {count, mean, wave_reduce(target::fma_rn(p.count * d, d, p.squares), op_sum{}, width),
                wave_reduce(p.g, op_sum{}, width), wave_reduce(target::fma_rn(d, p.g, p.gx), op_sum{}, width)};
    }
};

template <> struct gradient_partial<false> {
    float squares, gx;
    static TRINE_DEVICE_METHOD gradient_partial identity() { return {0.0f, 0.0f}; }
    static TRINE_DEVICE_METHOD gradient_partial merge(const gradient_partial &a, const gradient_partial &b)
    {
        return {a.squares + b.squares, a.gx + b.gx};
    }
    static TRINE_DEVICE_METHOD gradient_partial combine(const gradient_partial &p, float = 0.0f, int width = target::wave_size())
    {
        return {wave_reduce(p.squares, op_sum{}, width), wave_reduce(p.gx, op_sum{}, width)};
    }
};

/* Where the forward stored mean and rstd: sums about that mean. */
struct gradient_sums {
    float g, gx;
    static TRINE_DEVICE_METHOD gradient_sums identity() { return {0.0f, 0.0f}; }
    static TRINE_DEVICE_METHOD gradient_sums combine(const gradient_sums &p)
    {
        return {wave_reduce(p.g, op_sum{}), wave_reduce(p.gx, op_sum{})};
    }
    /* As the partial of an op. */
    static TRINE_DEVICE_METHOD gradient_partial<true> whole(tag<gradient_partial<true>>, const gradient_sums &p, float mean)
    {
        return {0.0f, mean, 0.0f, p.g, p.gx};
    }
    static TRINE_DEVICE_METHOD gradient_partial<false> whole(tag<gradient_partial<false>>, const gradient_sums &p, float)
    {
        return {0.0f, p.gx};
    }
};

/* What a row's dx is made of: rstd g + level + along (x - mean). */
struct gradient_stats {
    float mean, rstd, level, along;
};

/* ---- Where a thread's columns lie ---- */

/* Of P packs of V columns, the same in all rows. `simple`: packs as they lie in memory, all of them whole. Otherwise neighbouring
 * threads have neighbouring columns, which are moved one by one: rows may lie anyhow. */
template <int V, bool simple> struct gradient_place {
    int n, t, width; /* columns of the tile, number of the thread, threads of the team */
    TRINE_DEVICE_METHOD int column(int i, int j) const { return simple ? (i * width + t) * V + j : (i * V + j) * width + t; }
    TRINE_DEVICE_METHOD bool has(int i, int j) const { return column(i, simple ? 0 : j) < n; }
    TRINE_DEVICE_METHOD bool touches(int i) const { return has(i, 0); }
    /* The same, of which nothing is kept in registers from before: the columns of many packs are as many registers. */
    TRINE_DEVICE_METHOD gradient_place again() const
    {
        uint32_t same = uint32_t(t);
        target::opaque(same, uint32_t(n) >> 31);
        return {n, int(same), width};
    }

    /* Pack i of a row; zeros where there is nothing. */
    template <class T> TRINE_DEVICE_METHOD row_words<T> load(const T *row, int i) const
    {
        row_words<T> words = {{0u, 0u, 0u, 0u}};
        if constexpr (simple) {
            if (touches(i)) words = row_words<T>::load_once(row + column(i, 0));
        } else {
            uint32_t bits[V];
#pragma unroll
            for (int j = 0; j < V; j++) bits[j] = has(i, j) ? element_bits(row[column(i, j)]) : 0u;
#pragma unroll
            for (int j = 0; j < V; j++) words.push(bits[j]);
        }
        return words;
    }
    template <class T> TRINE_DEVICE_METHOD void store(T *row, const row_words<T> &words, int i) const
    {
        if constexpr (simple) {
            words.store_once(row + column(i, 0));
        } else {
#pragma unroll
            for (int j = 0; j < V; j++)
                if (has(i, j)) row[column(i, j)] = words.element(j);
        }
    }
};

/* ---- What a thread keeps of its columns through all rows ---- */

struct alignas(16) four_floats {
    float at[4];
};

enum gradient_array { GRADIENT_FACTOR, GRADIENT_DWEIGHT, GRADIENT_DBIAS };

/* `arrays` arrays of fours * 4 floats for each thread: the weight, and the sums. All in registers where a vendor has enough of
 * them, or the sums alone (`sums_in_registers`), with room in shared memory to hand on one array at a time; else in shared memory.
 * There a wave's fours of one place lie side by side. */
template <int arrays, int fours, bool sums_in_registers> struct gradient_columns {
    static_assert(sums_in_registers || !target::columns_in_registers, "the weight is in registers only where the sums are");
    enum {
        places = (sums_in_registers ? 1 : arrays) * fours,
        bytes = places * 16,
        first_own = target::columns_in_registers ? GRADIENT_FACTOR : GRADIENT_DWEIGHT
    };
    four_floats own[sums_in_registers ? (arrays - first_own) * fours : 1];
    four_floats *shared;

    /* Place 0 of thread `thread`; place p is p * wave_size() further. */
    static TRINE_DEVICE_METHOD int index(int thread)
    {
        return thread / target::wave_size() * (places * target::wave_size()) + thread % target::wave_size();
    }
    /* Where other threads see a thread's array after share(). */
    static TRINE_DEVICE_METHOD int shared_index(int thread, int array, int four)
    {
        return index(thread) + (sums_in_registers ? four : array * fours + four) * target::wave_size();
    }
    TRINE_DEVICE_METHOD explicit gradient_columns(four_floats *block) : shared(block + index(target::thread_x())) {}
    static TRINE_DEVICE_METHOD bool is_own(int array) { return sums_in_registers && array >= first_own; }
    TRINE_DEVICE_METHOD four_floats get(int array, int four) const
    {
        return is_own(array) ? own[(array - first_own) * fours + four] : shared[(array * fours + four) * target::wave_size()];
    }
    TRINE_DEVICE_METHOD void set(int array, int four, const four_floats &x)
    {
        if (is_own(array))
            own[(array - first_own) * fours + four] = x;
        else
            shared[(array * fours + four) * target::wave_size()] = x;
    }
    /* What has been read is read again, not kept in registers. */
    TRINE_DEVICE_METHOD void again(uint32_t zero)
    {
        uint32_t same = zero;
        target::opaque(same, zero);
        shared += same;
    }
    /* By all threads of the block: they may then read each other's array, until the next share(). */
    TRINE_DEVICE_METHOD void share(int array) const
    {
        target::barrier();
        if constexpr (sums_in_registers) {
#pragma unroll
            for (int four = 0; four < fours; four++) shared[four * target::wave_size()] = own[(array - first_own) * fours + four];
            target::barrier();
        }
    }
};

/* The same with sums in registers and a weight of 16-bit T, kept as it is: half the shared memory, which rows take instead. */
template <class T, int arrays, int fours> struct gradient_narrow_columns : gradient_columns<arrays, fours, true> {
    using base = gradient_columns<arrays, fours, true>;
    enum { packs = fours / 2, bytes = packs * 16 };
    uint4 *factors; /* of pack 0; that of the next one is wave_size() further, so at a distance that is known while compiling */

    TRINE_DEVICE_METHOD explicit gradient_narrow_columns(four_floats *block)
        : base(block), factors(reinterpret_cast<uint4 *>(block) +
                               target::thread_x() / target::wave_size() * (packs - 1) * target::wave_size() + target::thread_x())
    {
    }
    TRINE_DEVICE_METHOD uint4 &factor(int pack) const { return factors[pack * target::wave_size()]; }
    TRINE_DEVICE_METHOD four_floats get(int array, int four) const
    {
        if (array != GRADIENT_FACTOR) return base::get(array, four);
        const uint4 pack = factor(four / 2);
        const uint32_t low = four % 2 ? pack.z : pack.x, high = four % 2 ? pack.w : pack.y;
        return {{element_value(tag<T>{}, low, 0), element_value(tag<T>{}, low, 1), element_value(tag<T>{}, high, 0),
                 element_value(tag<T>{}, high, 1)}};
    }
    TRINE_DEVICE_METHOD void again(uint32_t zero)
    {
        uint32_t same = zero;
        target::opaque(same, zero);
        factors += same;
    }
};

/* ---- The op ---- */

/* A pack of both inputs. */
template <class T> struct gradient_pair {
    row_words<T> x, dy;
};

template <class T, bool centred_> struct norm_gradient {
    using element = T;
    using partial = gradient_partial<centred_>;
    static constexpr bool centred = centred_;
    static constexpr int V = row_pack<T>, sums = centred ? 2 : 1;
    template <int P> using columns = gradient_columns<1 + sums, P * V / 4, target::columns_in_registers || P <= 4>;

    T *dx;
    const T *x, *dy, *dsum; /* dsum may be NULL */
    const void *weight;     /* NULL: 1 */
    bool weight_wide, round_first;
    const float *mean, *rstd; /* of the forward, or NULL */
    float eps, offset;

    static TRINE_DEVICE_METHOD partial identity() { return partial::identity(); }
    static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b) { return partial::merge(a, b); }
    static TRINE_DEVICE_METHOD partial combine(const partial &p) { return partial::combine(p); }

    /* Of the thread's columns; asked once what the weight is, so that all of it is on its way together. */
    template <int P, bool simple, class W>
    TRINE_DEVICE_METHOD void factors(float (&f)[P * V], const gradient_place<V, simple> &at, const W *from) const
    {
#pragma unroll
        for (int e = 0; e < P * V; e++) f[e] = at.has(e / V, e % V) ? offset + to_f32(from[at.column(e / V, e % V)]) : 0.0f;
    }
    template <int P, bool simple, class Columns>
    TRINE_DEVICE_METHOD void start(Columns &c, const gradient_place<V, simple> &at, int64_t first) const
    {
        float f[P * V];
        if (!weight)
#pragma unroll
            for (int e = 0; e < P * V; e++) f[e] = at.has(e / V, e % V) ? 1.0f : 0.0f;
        else if (weight_wide)
            factors<P, simple>(f, at, static_cast<const float *>(weight) + first);
        else
            factors<P, simple>(f, at, static_cast<const T *>(weight) + first);
#pragma unroll
        for (int four = 0; four < P * V / 4; four++) {
            c.set(GRADIENT_FACTOR, four, four_floats{{f[4 * four], f[4 * four + 1], f[4 * four + 2], f[4 * four + 3]}});
#pragma unroll
            for (int k = 1; k <= sums; k++) c.set(k, four, four_floats{{0.0f, 0.0f, 0.0f, 0.0f}});
        }
    }

    /* The same where the weight is kept as it is; it lies on a boundary of 16 bytes. */
    template <int P, int arrays>
    TRINE_DEVICE_METHOD void start(gradient_narrow_columns<T, arrays, P * V / 4> &c, const gradient_place<V, true> &at) const
    {
        row_words<T> f[P];
#pragma unroll
        for (int i = 0; i < P; i++) {
            f[i] = row_words<T>::all(1.0f);
            if (weight && at.touches(i)) f[i] = row_words<T>::load_shared(static_cast<const T *>(weight) + at.column(i, 0));
        }
#pragma unroll
        for (int i = 0; i < P; i++) c.factor(i) = uint4{f[i].word[0], f[i].word[1], f[i].word[2], f[i].word[3]};
#pragma unroll
        for (int four = 0; four < P * V / 4; four++)
#pragma unroll
            for (int k = 1; k <= sums; k++) c.set(k, four, four_floats{{0.0f, 0.0f, 0.0f, 0.0f}});
    }
    /* On the host: whether it may be. */
    bool narrow() const
    {
        return sizeof(T) < sizeof(float) && (!weight || (!weight_wide && offset == 0.0f && aligned16(weight)));
    }

    /* Whether the forward stored what a row's mean and squares are needed for. */
    TRINE_METHOD bool knows() const { return rstd && (!centred || mean); }
    /* Of a tile over `width` threads of a wave, which have `count` columns together, this one `own` of them. In one pass, about the
     * thread's own first element, so that the error stays within that of as many additions. pair_of(i): pack i. With `known` the
     * mean is given, about which the sums are taken then; the squares are not needed. `alone`: the thread's sums, of what is known. */
    template <int P, bool simple, bool known = false, bool alone = false, class Pair, class Columns>
    static TRINE_DEVICE_METHOD auto gather(Pair pair_of, const Columns &c, const gradient_place<V, simple> &at, float own,
                                           float count, int width, float mean = 0.0f)
    {
        const float about = known ? mean : centred && at.touches(0) ? pair_of(0).x.value(0) : 0.0f;
        float sum = 0.0f, squares = 0.0f, g_sum = 0.0f, gx = 0.0f;
#pragma unroll
        for (int i = 0; i < P; i++) {
            if (simple && !at.touches(i)) continue;
            const gradient_pair<T> pair = pair_of(i);
#pragma unroll
            for (int q = 0; q < V / 4; q++) {
                const four_floats f = c.get(GRADIENT_FACTOR, i * (V / 4) + q);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    float d = pair.x.value(4 * q + j) - about;
                    if (centred && !simple && !at.has(i, 4 * q + j)) d = 0.0f;
                    const float g = pair.dy.value(4 * q + j) * f.at[j];
                    if (centred && !known) sum += d;
                    if (!known) squares = target::fma_rn(d, d, squares);
                    gx = target::fma_rn(g, d, gx);
                    if (centred) g_sum += g;
                }
            }
        }
        if constexpr (alone) {
            return gradient_sums{g_sum, gx};
        } else if constexpr (centred) {
            const float shift = sum * partial::reciprocal(own);
            return partial::combine(
                {own, about + shift, target::fma_rn(-sum, shift, squares), g_sum, target::fma_rn(-shift, g_sum, gx)}, count,
                width);
        } else {
            return partial::combine({squares, gx}, count, width);
        }
    }

    /* saved: what `mean` and `rstd` have for the row. */
    TRINE_DEVICE_METHOD gradient_stats finish(const partial &p, int64_t n, const gradient_stats &saved) const
    {
        const float over = target::rcp_fast(float(n));
        const float own = rstd ? saved.rstd : target::rsqrt_ieee(target::div_ieee(p.squares, float(n)) + eps);
        if constexpr (centred) {
            const float about = mean ? saved.mean : p.mean;
            const float slope = own * over * (mean ? target::fma_rn(p.mean - about, p.g, p.gx) : p.gx);
            return {about, own, -own * (p.g * over), -(own * own) * slope};
        } else {
            return {0.0f, own, 0.0f, -(own * own) * (own * over * p.gx)};
        }
    }
    TRINE_DEVICE_METHOD gradient_stats saved(int64_t row) const
    {
        return {centred && mean ? mean[row] : 0.0f, rstd ? rstd[row] : 0.0f, 0.0f, 0.0f};
    }

    /* dy h = scaled d of a column: with h rounded first, if it was; otherwise d = x - mean. */
    TRINE_DEVICE_METHOD void round_terms(float &scaled, float &d, float dy_, float rstd_) const
    {
        scaled = dy_;
        d = to_f32(from_f32<T>(d * rstd_));
    }
    /* Of a row's pack, to the sums of its columns. */
    TRINE_DEVICE_METHOD void add_terms(float (&sum)[sums][V], const gradient_pair<T> &pair, const gradient_stats &s) const
    {
#pragma unroll
        for (int j = 0; j < V; j++) {
            const float dy_ = pair.dy.value(j);
            float d = pair.x.value(j) - s.mean, scaled = dy_ * s.rstd;
            if (sizeof(T) < 4 && round_first) round_terms(scaled, d, dy_, s.rstd);
            sum[0][j] = target::fma_rn(scaled, d, sum[0][j]);
            if constexpr (centred) sum[1][j] += dy_;
        }
    }

    /* dx of pack i; adds to the columns' sums. */
    template <class Columns> TRINE_DEVICE_METHOD row_words<T> emit(const gradient_pair<T> &pair, Columns &c,
                                                                   const gradient_stats &s, const row_words<T> &more, int i) const
    {
        row_words<T> out;
#pragma unroll
        for (int q = 0; q < V / 4; q++) {
            const int four = i * (V / 4) + q;
            const four_floats f = c.get(GRADIENT_FACTOR, four);
            four_floats dweight = c.get(GRADIENT_DWEIGHT, four), dbias = {{0.0f, 0.0f, 0.0f, 0.0f}};
            if constexpr (centred) dbias = c.get(GRADIENT_DBIAS, four);
            float to[4], d[4], scaled[4]; /* scaled * d = dy * h */
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const float dy_ = pair.dy.value(4 * q + j);
                d[j] = pair.x.value(4 * q + j) - s.mean;
                scaled[j] = dy_ * s.rstd;
                to[j] = target::fma_rn(scaled[j], f.at[j], target::fma_rn(d[j], s.along, s.level));
                if constexpr (centred) dbias.at[j] += dy_;
            }
            if (sizeof(T) < 4 && round_first)
#pragma unroll
                for (int j = 0; j < 4; j++) round_terms(scaled[j], d[j], pair.dy.value(4 * q + j), s.rstd);
            if (dsum)
#pragma unroll
                for (int j = 0; j < 4; j++) to[j] += more.value(4 * q + j);
#pragma unroll
            for (int j = 0; j < 4; j++) dweight.at[j] = target::fma_rn(scaled[j], d[j], dweight.at[j]);
            out.set_four(q, to);
            c.set(GRADIENT_DWEIGHT, four, dweight);
            if constexpr (centred) c.set(GRADIENT_DBIAS, four, dbias);
        }
        return out;
    }
};

} // namespace simt

#endif
