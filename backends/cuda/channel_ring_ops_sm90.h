/* What the ring of channel_ring_sm90.h adds up of a set, and the map that comes of it: batch and group normalisation, a row's length,
 * and their gradients. */
#ifndef TRINE_CUDA_CHANNEL_RING_OPS_SM90_H
#define TRINE_CUDA_CHANNEL_RING_OPS_SM90_H

#include "backends/simt/channel_ops.h"

namespace channel_ring {

/* A set's partial of a tile: two numbers, each in a word that says that it is there. */
struct alignas(16) note {
    uint64_t word[2];
    TRINE_DEVICE_METHOD void publish(float a, float b)
    {
        target::publish(word, uint64_t(1) << 32 | trine_bits_of_f32(a));
        target::publish(word + 1, uint64_t(1) << 32 | trine_bits_of_f32(b));
    }
    static TRINE_DEVICE_METHOD note load(const note *from)
    {
        return {{target::load_published(from->word), target::load_published(from->word + 1)}};
    }
    TRINE_DEVICE_METHOD bool there() const { return word[0] >> 32 && word[1] >> 32; }
    TRINE_DEVICE_METHOD float number(int i) const { return trine_f32_of_bits(uint32_t(word[i])); }
};

/* The map is the same for all planes of a set, and what is summed up needs not know which they are. */
struct planes_alike {
    static constexpr bool by_chunk = false;
    static TRINE_DEVICE_METHOD simt::channel_affine of_plane(const simt::channel_affine &f, int64_t, int) { return f; }
};

/* Partials as notes: mean and sum of squares about it, whose count is known; the sums of a gradient. */
template <class T> struct moments : simt::gather_moments<T> {
    using partial = simt::channel_moments;
    static TRINE_DEVICE_METHOD void publish(note *to, const partial &p) { to->publish(p.mean, p.squares); }
    static TRINE_DEVICE_METHOD partial of_note(const note &n, int64_t count) { return {float(count), n.number(0), n.number(1)}; }
};
template <class T> struct slopes_along : simt::gather_slopes<T> {
    using partial = simt::channel_slopes;
    static TRINE_DEVICE_METHOD void publish(note *to, const partial &p) { to->publish(p.sum, p.along); }
    static TRINE_DEVICE_METHOD partial of_note(const note &n, int64_t) { return {n.number(0), n.number(1)}; }
};

/* ---- Batch normalisation: a set is a channel ---- */

template <class T> struct forward : moments<T>, planes_alike {
    using typename moments<T>::partial;
    T *out;
    simt::batchnorm_outputs of;
    forward(const trine_batchnorm_args *a, int64_t) : moments<T>{{{simt::data_of<T>(a->x)}}}, out(simt::data_of<T>(a->y)), of(a)
    {
    }
    using known = simt::channel_affine; /* of a mean of 0 and a deviation of 1 */
    TRINE_DEVICE_METHOD known fetch(int64_t channel) const { return of.map(0.0f, 1.0f, channel); }
    static TRINE_DEVICE_METHOD float about(const known &, float data) { return data; }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &k) const
    {
        return {of.mean_of(p), 0.0f, of.rstd_of(p) * k.b, k.d};
    }
    TRINE_DEVICE_METHOD void note(const partial &p, const known &, int64_t channel) const { of.note(p, channel); }
};

template <class T> struct backward : slopes_along<T>, planes_alike {
    using typename slopes_along<T>::partial;
    T *out;
    simt::batchnorm_gradients of;
    backward(const trine_batchnorm_backward_args *a, int64_t n)
        : slopes_along<T>{{{simt::data_of<T>(a->x), simt::data_of<T>(a->dy)}, nullptr, simt::divider_any(1)}},
          out(simt::data_of<T>(a->dx)), of(a, n)
    {
    }
    using known = simt::batchnorm_gradients::known;
    TRINE_DEVICE_METHOD known fetch(int64_t channel) const { return of.fetch(channel); }
    static TRINE_DEVICE_METHOD float about(const known &k, float) { return k.mean; }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &k) const { return of.map(p, k); }
    TRINE_DEVICE_METHOD void note(const partial &p, const known &k, int64_t channel) const { of.note(p, k, channel); }
};

/* ---- Group normalisation: a set is a group of a sample, a plane one of its channels ---- */

/* Which channels a set has. */
struct group_channels {
    simt::divider32 groups; /* of a sample */
    int32_t members;
    TRINE_DEVICE_METHOD int64_t channel(int64_t set, int plane) const
    {
        return (set - groups.divide(set) * groups.d) * members + plane;
    }
};

template <class T> struct group_forward : moments<T> {
    using typename moments<T>::partial;
    static constexpr bool by_chunk = false;
    T *out;
    group_channels which;
    simt::channel_vector weight, bias;
    float *mean, *rstd;
    float eps;
    group_forward(const trine_groupnorm_args *a, int64_t)
        : moments<T>{{{simt::data_of<T>(a->x)}}},
          out(simt::data_of<T>(a->y)), which{simt::divider32(a->groups), int32_t(a->x.shape[1] / a->groups)}, weight(a->weight),
          bias(a->bias), mean(simt::data_of<float>(a->mean)), rstd(simt::data_of<float>(a->rstd)), eps(a->eps)
    {
    }
    struct known {};
    static TRINE_DEVICE_METHOD known fetch(int64_t) { return {}; }
    static TRINE_DEVICE_METHOD float about(const known &, float data) { return data; }
    TRINE_DEVICE_METHOD float rstd_of(const partial &p) const
    {
        return target::rsqrt_ieee(target::div_ieee(p.squares, p.count) + eps);
    }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &) const
    {
        return {p.mean, 0.0f, rstd_of(p), 0.0f};
    }
    TRINE_DEVICE_METHOD void note(const partial &p, const known &, int64_t set) const
    {
        if (mean) mean[set] = p.mean;
        if (rstd) rstd[set] = rstd_of(p);
    }
    TRINE_DEVICE_METHOD simt::channel_affine of_plane(const simt::channel_affine &f, int64_t set, int plane) const
    {
        const int64_t channel = which.channel(set, plane);
        return {f.m, 0.0f, f.b * weight.at(channel, 1.0f), bias.at(channel, 0.0f)};
    }
};

/* The sums of every channel of a sample, for dweight and dbias, are left in `slopes`, as its pieces come. */
template <class T> struct group_backward : slopes_along<T> {
    using typename slopes_along<T>::partial;
    static constexpr bool by_chunk = true;
    T *out;
    group_channels which;
    simt::channel_vector weight;
    const float *rstd;
    float per_element;
    partial *slopes = nullptr;
    group_backward(const trine_groupnorm_backward_args *a, int64_t n)
        : slopes_along<T>{{{simt::data_of<T>(a->x), simt::data_of<T>(a->dy)},
                           simt::data_of<float>(a->mean),
                           simt::divider_any(1)}},
          out(simt::data_of<T>(a->dx)), which{simt::divider32(a->groups), int32_t(a->x.shape[1] / a->groups)}, weight(a->weight),
          rstd(simt::data_of<float>(a->rstd)), per_element(1.0f / float(n))
    {
    }
    struct known {
        float mean, rstd;
        int64_t set;
    };
    TRINE_DEVICE_METHOD known fetch(int64_t set) const { return {this->mean[set], rstd[set], set}; }
    /* By one lane. */
    TRINE_DEVICE_METHOD partial of_chunk(const float (&sum)[2], const known &k, int plane, int piece, int pieces) const
    {
        slopes[(k.set * which.members + plane) * pieces + piece] = {sum[0], sum[1]};
        const float w = weight.at(which.channel(k.set, plane), 1.0f);
        return {w * sum[0], w * sum[1]};
    }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &k) const
    {
        return {k.mean, k.rstd, -k.rstd * (p.along * k.rstd * k.rstd * per_element), -k.rstd * (p.sum * per_element)};
    }
    static TRINE_DEVICE_METHOD void note(const partial &, const known &, int64_t) {}
    TRINE_DEVICE_METHOD simt::channel_affine of_plane(const simt::channel_affine &f, int64_t set, int plane) const
    {
        return {f.m, f.a * weight.at(which.channel(set, plane), 1.0f), f.b, f.d};
    }
};

/* ---- Length: a set is a row ----
 *
 * y = x / max(|x|, eps); and its gradient, from sum(x^2) and sum(x dy). */
template <class T, int I> struct lengths : planes_alike {
    using element = T;
    enum { inputs = I };
    const T *in[2];
    T *out;
    float eps;

    struct partial {
        float squares, along;
        static TRINE_DEVICE_METHOD partial none() { return {0.0f, 0.0f}; }
        static TRINE_DEVICE_METHOD partial merge(const partial &a, const partial &b)
        {
            return {a.squares + b.squares, a.along + b.along};
        }
        static TRINE_DEVICE_METHOD partial shuffled(const partial &p, int mask)
        {
            return {target::shuffle_xor(p.squares, mask), target::shuffle_xor(p.along, mask)};
        }
    };
    struct known {};
    static TRINE_DEVICE_METHOD known fetch(int64_t) { return {}; }
    static TRINE_DEVICE_METHOD float about(const known &, float) { return 0.0f; }
    static TRINE_DEVICE_METHOD void add(float (&sum)[2], const float (&x)[I], float)
    {
        sum[0] = target::fma_rn(x[0], x[0], sum[0]);
        if (I == 2) sum[1] = target::fma_rn(x[0], x[I - 1], sum[1]);
    }
    static TRINE_DEVICE_METHOD partial finish(const float (&sum)[2], float, int64_t) { return {sum[0], sum[1]}; }
    static TRINE_DEVICE_METHOD void publish(channel_ring::note *to, const partial &p) { to->publish(p.squares, p.along); }
    static TRINE_DEVICE_METHOD partial of_note(const channel_ring::note &n, int64_t) { return {n.number(0), n.number(1)}; }
    TRINE_DEVICE_METHOD simt::channel_affine map(const partial &p, const known &) const
    {
        const float norm = target::sqrt_ieee(p.squares), scale = target::div_ieee(1.0f, norm < eps ? eps : norm);
        if (I == 1) return {0.0f, 0.0f, scale, 0.0f};
        return {0.0f, scale, norm <= eps ? 0.0f : -(p.along * scale * scale) * scale, 0.0f};
    }
    static TRINE_DEVICE_METHOD void note(const partial &, const known &, int64_t) {}
};

} // namespace channel_ring

#endif
