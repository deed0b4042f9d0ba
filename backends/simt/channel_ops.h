/* What normalisation by channel adds up, and what maps its elements: shared by the kernels of channels.h, by channels that are rows
 * (batchnorm_rows.h) and by vendors' own. */
#ifndef TRINE_SIMT_CHANNEL_OPS_H
#define TRINE_SIMT_CHANNEL_OPS_H

#include "backends/simt/divider.h"
#include "backends/simt/row_words.h"
#include "core/channels.h"
#include "trine/norm.h"

namespace simt {

enum { channel_operands = 3 }; /* the output, then the inputs */

/* out = a dy + b (x - m) + d; with one input, its b (x - m) + d. */
struct alignas(16) channel_affine {
    float m, a, b, d;
};

/* A weight, bias or statistic by channel, f32, f16 or bf16, or none. */
struct channel_vector {
    void *data;
    int32_t dtype;
    explicit channel_vector(const trine_tensor &t) : data(t.dtype == TRINE_DTYPE_NONE ? nullptr : t.data), dtype(t.dtype) {}
    TRINE_DEVICE_METHOD float at(int64_t i, float otherwise) const
    {
        if (!data) return otherwise;
        if (dtype == TRINE_F32) return static_cast<const float *>(data)[i];
        const uint16_t bits = static_cast<const uint16_t *>(data)[i];
        return dtype == TRINE_F16 ? target::f16_to_f32(bits) : target::bf16_to_f32(bits);
    }
    TRINE_DEVICE_METHOD void put(int64_t i, float x) const
    {
        if (!data) return;
        if (dtype == TRINE_F32)
            static_cast<float *>(data)[i] = x;
        else
            static_cast<uint16_t *>(data)[i] = dtype == TRINE_F16 ? target::f32_to_f16(x) : target::f32_to_bf16(x);
    }
    TRINE_DEVICE_METHOD void prefetch(int64_t i) const
    {
        if (data) target::prefetch(static_cast<const char *>(data) + i * (dtype == TRINE_F32 ? 4 : 2));
    }
};

/* V elements that move together, 16 or 8 bytes or one element, as registers (as row_words). */
template <class T, int V> struct channel_words {
    static constexpr int in_word = 4 / int(sizeof(T)), words = V < in_word ? 1 : V / in_word;
    uint32_t word[words];
    TRINE_DEVICE_METHOD float value(int j) const { return element_value(tag<T>{}, word[j / in_word], j % in_word); }
    TRINE_DEVICE_METHOD void set(const float (&y)[V])
    {
#pragma unroll
        for (int w = 0; w < words; w++) {
            word[w] = element_bits(from_f32<T>(y[w * in_word]));
            if constexpr (in_word == 2 && V > 1) word[w] |= element_bits(from_f32<T>(y[w * 2 + 1])) << 16;
        }
    }
    /* moves: nobody reads it again soon, and as much is written. */
    template <bool moves> static TRINE_DEVICE_METHOD channel_words load(const T *p)
    {
        if constexpr (words == 4) {
            const uint4 v = moves ? target::load16_moved(p) : target::load16(p);
            return channel_words{{v.x, v.y, v.z, v.w}};
        } else if constexpr (words == 2) {
            const uint2 v = *reinterpret_cast<const uint2 *>(p);
            return channel_words{{v.x, v.y}};
        } else {
            return channel_words{{element_bits(*p)}};
        }
    }
    TRINE_DEVICE_METHOD void store(T *p) const
    {
        if constexpr (words == 4)
            target::store16_moved(p, uint4{word[0], word[1], word[2], word[3]});
        else if constexpr (words == 2)
            target::store8(p, uint2{word[0], word[1]});
        else
            *reinterpret_cast<unsigned_of<T> *>(p) = unsigned_of<T>(word[0]);
    }
};

/* ---- Sums ---- */

/* Count, mean, sum of squares about it. Merging two: Chan, Golub, LeVeque 1979. */
struct channel_moments {
    float count, mean, squares;
    static TRINE_DEVICE_METHOD channel_moments none() { return channel_moments{0.0f, 0.0f, 0.0f}; }
    static TRINE_DEVICE_METHOD channel_moments merge(const channel_moments &a, const channel_moments &b)
    {
        const float count = a.count + b.count, part = count > 0.0f ? target::div_ieee(b.count, count) : 0.0f, d = b.mean - a.mean;
        return channel_moments{count, target::fma_rn(d, part, a.mean),
                               target::fma_rn(d * d, a.count * part, a.squares + b.squares)};
    }
    static TRINE_DEVICE_METHOD channel_moments shuffled(const channel_moments &p, int mask)
    {
        return channel_moments{target::shuffle_xor(p.count, mask), target::shuffle_xor(p.mean, mask),
                               target::shuffle_xor(p.squares, mask)};
    }
};

/* sum(dy), sum(dy (x - mean)). */
struct channel_slopes {
    float sum, along;
    static TRINE_DEVICE_METHOD channel_slopes none() { return channel_slopes{0.0f, 0.0f}; }
    static TRINE_DEVICE_METHOD channel_slopes merge(const channel_slopes &a, const channel_slopes &b)
    {
        return channel_slopes{a.sum + b.sum, a.along + b.along};
    }
    static TRINE_DEVICE_METHOD channel_slopes shuffled(const channel_slopes &p, int mask)
    {
        return channel_slopes{target::shuffle_xor(p.sum, mask), target::shuffle_xor(p.along, mask)};
    }
};

/* Over `width` threads of a wave, a power of two; right in the first of them. All of the wave take part. */
template <class P> TRINE_DEVICE P merge_lanes(P p, int width = target::wave_size())
{
#pragma unroll
    for (int mask = target::wave_size() / 2; mask > 0; mask /= 2)
        if (mask < width) p = P::merge(p, P::shuffled(p, mask));
    return p;
}

/* What a thread adds up of one unit, and the partial that comes of it. in[0] = x, in[1] = dy. */
template <class T> struct gather_moments {
    using element = T;
    using partial = channel_moments;
    enum { inputs = 1 };
    const T *in[1];
    TRINE_DEVICE_METHOD float about(int64_t, float first) const { return first; }
    static TRINE_DEVICE_METHOD void add(float (&sum)[2], const float (&x)[1], float about)
    {
        const float d = x[0] - about;
        sum[0] += d;
        sum[1] = target::fma_rn(d, d, sum[1]);
    }
    static TRINE_DEVICE_METHOD partial finish(const float (&sum)[2], float about, int64_t count)
    {
        if (count == 0) return partial::none();
        const float n = float(count), shift = target::div_ieee(sum[0], n);
        return partial{n, about + shift, target::fma_rn(-sum[0], shift, sum[1])};
    }
};
template <class T> struct gather_slopes {
    using element = T;
    using partial = channel_slopes;
    enum { inputs = 2 };
    const T *in[2];
    const float *mean;   /* of every set */
    divider_any members; /* units of a set */
    TRINE_DEVICE_METHOD float about(int64_t unit, float) const { return mean[members.divide(unit)]; }
    static TRINE_DEVICE_METHOD void add(float (&sum)[2], const float (&x)[2], float about)
    {
        sum[0] += x[1];
        sum[1] = target::fma_rn(x[1], x[0] - about, sum[1]);
    }
    static TRINE_DEVICE_METHOD partial finish(const float (&sum)[2], float, int64_t) { return partial{sum[0], sum[1]}; }
};

/* ---- The map ---- */

template <class T, int V, int I> TRINE_DEVICE float map_one(const channel_affine &f, const channel_words<T, V> (&x)[I], int j)
{
    const float y = target::fma_rn(x[0].value(j) - f.m, f.b, f.d);
    return I == 1 ? y : target::fma_rn(f.a, x[I - 1].value(j), y);
}

/* ---- Batch normalisation ---- */

/* What is known of a channel, and what is to be told of it. */
struct batchnorm_outputs {
    channel_vector weight, bias, running_mean, running_var, mean, rstd, new_running_mean, new_running_var;
    float eps, momentum;
    explicit batchnorm_outputs(const trine_batchnorm_args *a)
        : weight(a->weight), bias(a->bias), running_mean(a->running_mean), running_var(a->running_var), mean(a->mean),
          rstd(a->rstd), new_running_mean(a->new_running_mean), new_running_var(a->new_running_var), eps(a->eps),
          momentum(a->momentum)
    {
    }
    TRINE_DEVICE_METHOD float mean_of(const channel_moments &m) const { return m.count > 0.0f ? m.mean : __builtin_nanf(""); }
    TRINE_DEVICE_METHOD float rstd_of(const channel_moments &m) const
    {
        return target::rsqrt_ieee(m.count > 0.0f ? target::div_ieee(m.squares, m.count) + eps : __builtin_nanf(""));
    }
    TRINE_DEVICE_METHOD void prefetch(int64_t channel) const
    {
        if (target::thread_x() % target::wave_size()) return;
        weight.prefetch(channel);
        bias.prefetch(channel);
        running_mean.prefetch(channel);
        running_var.prefetch(channel);
    }
    /* By one thread. */
    TRINE_DEVICE_METHOD void note(const channel_moments &m, int64_t channel) const { note(m, rstd_of(m), channel); }
    TRINE_DEVICE_METHOD void note(const channel_moments &m, float rstd_, int64_t channel) const
    {
        mean.put(channel, mean_of(m));
        rstd.put(channel, rstd_);
        const float old_mean = running_mean.at(channel, 0.0f), old_var = running_var.at(channel, 0.0f);
        const float var = target::div_ieee(m.squares, m.count > 1.0f ? m.count - 1.0f : 1.0f);
        new_running_mean.put(channel, m.count > 0.0f ? mixed(old_mean, m.mean) : old_mean);
        new_running_var.put(channel, m.count > 0.0f ? mixed(old_var, var) : old_var);
    }
    TRINE_DEVICE_METHOD channel_affine map(float mean_, float rstd_, int64_t channel) const
    {
        return channel_affine{mean_, 0.0f, rstd_ * weight.at(channel, 1.0f), bias.at(channel, 0.0f)};
    }

  private:
    TRINE_DEVICE_METHOD float mixed(float old, float now) const
    {
        return momentum == 0.0f ? old : target::fma_rn(momentum, now, (1.0f - momentum) * old);
    }
};

/* The same for the gradient, of n elements a channel. */
struct batchnorm_gradients {
    channel_vector weight, mean, rstd, running_var, dweight, dbias;
    float eps, per_element;
    bool inference;
    explicit batchnorm_gradients(const trine_batchnorm_backward_args *a, int64_t n)
        : weight(a->weight), mean(a->inference ? a->running_mean : a->mean), rstd(a->rstd), running_var(a->running_var),
          dweight(a->dweight), dbias(a->dbias), eps(a->eps), per_element(n ? 1.0f / float(n) : 0.0f), inference(a->inference != 0)
    {
    }
    struct known {
        float mean, rstd, scale;
    };
    TRINE_DEVICE_METHOD known fetch(int64_t channel) const
    {
        const float r = inference ? target::rsqrt_ieee(running_var.at(channel, 0.0f) + eps) : rstd.at(channel, 0.0f);
        return known{mean.at(channel, 0.0f), r, r * weight.at(channel, 1.0f)};
    }
    TRINE_DEVICE_METHOD channel_affine map(const channel_slopes &s, const known &k) const
    {
        if (inference) return channel_affine{0.0f, 0.0f, k.scale, 0.0f}; /* of dy alone */
        return channel_affine{k.mean, k.scale, -k.scale * (s.along * k.rstd * k.rstd * per_element),
                              -k.scale * (s.sum * per_element)};
    }
    /* By one thread. */
    TRINE_DEVICE_METHOD void note(const channel_slopes &s, const known &k, int64_t channel) const
    {
        dbias.put(channel, s.sum);
        dweight.put(channel, s.along * k.rstd);
    }
};

} // namespace simt

#endif
