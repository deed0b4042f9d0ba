/* Packs of 16 bytes as registers: what the threads of row.h and its like hold. */
#ifndef TRINE_SIMT_ROW_WORDS_H
#define TRINE_SIMT_ROW_WORDS_H

#include "backends/simt/types.h"

namespace simt {

template <class T> struct unsigned_word {
    using type = uint16_t;
};
template <> struct unsigned_word<float> {
    using type = uint32_t;
};
template <class T> using unsigned_of = typename unsigned_word<T>::type;

template <class T> constexpr int row_pack = 16 / int(sizeof(T));
TRINE_DEVICE uint32_t element_bits(float x) { return trine_bits_of_f32(x); }
TRINE_DEVICE uint32_t element_bits(f16 x) { return x.bits; }
TRINE_DEVICE uint32_t element_bits(bf16 x) { return x.bits; }
TRINE_DEVICE float element_value(tag<float>, uint32_t word, int) { return trine_f32_of_bits(word); }
TRINE_DEVICE float element_value(tag<f16>, uint32_t word, int half)
{
    return target::f16_to_f32(uint16_t(half ? word >> 16 : word));
}
TRINE_DEVICE float element_value(tag<bf16>, uint32_t word, int half)
{
    return trine_f32_of_bits(half ? word & 0xffff0000u : word << 16);
}

/* A pack as four registers; as an array of 16-bit elements it would take eight. */
template <class T> struct row_words {
    static constexpr int in_word = 4 / int(sizeof(T));
    uint32_t word[4];

    TRINE_DEVICE_METHOD float value(int j) const { return element_value(tag<T>{}, word[j / in_word], j % in_word); }
    TRINE_DEVICE_METHOD T element(int j) const { return __builtin_bit_cast(T, part(word[j / in_word], j % in_word)); }
    /* Appends an element: after row_pack<T> of them the first is element 0. Needs no index that is known while compiling. */
    TRINE_DEVICE_METHOD void push(uint32_t bits)
    {
        if constexpr (in_word == 1) {
            for (int w = 0; w < 3; w++) word[w] = word[w + 1];
            word[3] = bits;
        } else {
            for (int w = 0; w < 3; w++) word[w] = word[w] >> 16 | word[w + 1] << 16;
            word[3] = word[3] >> 16 | bits << 16;
        }
    }
    static TRINE_DEVICE_METHOD row_words all(float x)
    {
        const uint32_t one = element_bits(from_f32<T>(x)), w = in_word == 1 ? one : one | one << 16;
        return row_words{{w, w, w, w}};
    }
    /* Elements 4q to 4q + 3. */
    TRINE_DEVICE_METHOD void set_four(int q, const float (&x)[4])
    {
#pragma unroll
        for (int w = 0; w < 4 / in_word; w++) {
            uint32_t bits = element_bits(from_f32<T>(x[w * in_word]));
            if constexpr (in_word == 2) bits |= element_bits(from_f32<T>(x[w * 2 + 1])) << 16;
            word[q * 4 / in_word + w] = bits;
        }
    }
    /* Element by element, rounded. */
    TRINE_DEVICE_METHOD void add(const row_words &other)
    {
#pragma unroll
        for (int q = 0; q < row_pack<T> / 4; q++) {
            float sum[4];
#pragma unroll
            for (int j = 0; j < 4; j++) sum[j] = value(4 * q + j) + other.value(4 * q + j);
            set_four(q, sum);
        }
    }
    static TRINE_DEVICE_METHOD row_words load_once(const T *p)
    {
        const uint4 v = target::load16_once(p);
        return row_words{{v.x, v.y, v.z, v.w}};
    }
    /* Of a row beside which as long a one is written. */
    static TRINE_DEVICE_METHOD row_words load_moved(const T *p)
    {
        const uint4 v = target::load16_moved(p);
        return row_words{{v.x, v.y, v.z, v.w}};
    }
    /* Of what other rows need too. */
    static TRINE_DEVICE_METHOD row_words load_shared(const T *p)
    {
        const uint4 v = target::load16(p);
        return row_words{{v.x, v.y, v.z, v.w}};
    }
    TRINE_DEVICE_METHOD void store(T *p) const { target::store16(p, uint4{word[0], word[1], word[2], word[3]}); }
    TRINE_DEVICE_METHOD void store_once(T *p) const { target::store16_once(p, uint4{word[0], word[1], word[2], word[3]}); }
    /* In parts of so many bytes; at(j): address of element j. */
    template <int bytes, class At> static TRINE_DEVICE_METHOD row_words load_parts(At at)
    {
        if constexpr (bytes == 16) {
            return load_moved(at(0));
        } else {
            row_words r;
#pragma unroll
            for (int p = 0; p < 16 / bytes; p++) {
                const void *from = at(p * bytes / int(sizeof(T)));
                if constexpr (bytes == 8) {
                    const uint2 v = *static_cast<const uint2 *>(from);
                    r.word[2 * p] = v.x;
                    r.word[2 * p + 1] = v.y;
                } else if constexpr (bytes == 4) {
                    r.word[p] = *static_cast<const uint32_t *>(from);
                } else {
                    const uint32_t v = *static_cast<const uint16_t *>(from);
                    r.word[p / 2] = p % 2 ? r.word[p / 2] | v << 16 : v;
                }
            }
            return r;
        }
    }
    template <int bytes, class At> TRINE_DEVICE_METHOD void store_parts(At at) const
    {
        if constexpr (bytes == 16) {
            store(at(0));
        } else {
#pragma unroll
            for (int p = 0; p < 16 / bytes; p++) {
                void *to = at(p * bytes / int(sizeof(T)));
                if constexpr (bytes == 8)
                    target::store8(to, uint2{word[2 * p], word[2 * p + 1]});
                else if constexpr (bytes == 4)
                    *static_cast<uint32_t *>(to) = word[p];
                else
                    *static_cast<uint16_t *>(to) = uint16_t(p % 2 ? word[p / 2] >> 16 : word[p / 2]);
            }
        }
    }

  private:
    using bits = unsigned_of<T>;
    static TRINE_DEVICE_METHOD bits part(uint32_t w, int half) { return bits(half ? w >> 16 : w); }
};

/* The eight halves of a pack that come one by one, before they are put together: that waits for them. */
struct row_halves {
    uint32_t at[8];
    template <class At> static TRINE_DEVICE_METHOD row_halves load(At address)
    {
        row_halves r;
#pragma unroll
        for (int j = 0; j < 8; j++) r.at[j] = *reinterpret_cast<const uint16_t *>(address(j));
        return r;
    }
    static TRINE_DEVICE_METHOD row_halves all(uint32_t bits)
    {
        row_halves r;
#pragma unroll
        for (int j = 0; j < 8; j++) r.at[j] = bits;
        return r;
    }
    template <class T> TRINE_DEVICE_METHOD row_words<T> together()
    {
        row_words<T> r;
#pragma unroll
        for (int j = 0; j < 8; j++) target::not_before(at[j]);
#pragma unroll
        for (int w = 0; w < 4; w++) r.word[w] = at[2 * w] | at[2 * w + 1] << 16;
        return r;
    }
};

/* Elements of a byte each: as many as a pack of the input has. */
template <int V> struct row_codes {
    uint32_t word[V / 4];
    TRINE_DEVICE_METHOD uint8_t element(int j) const { return uint8_t(word[j / 4] >> j % 4 * 8); }
    static TRINE_DEVICE_METHOD row_codes load(const uint8_t *p)
    {
        row_codes r;
        if constexpr (V == 8) {
            const uint2 v = *reinterpret_cast<const uint2 *>(p);
            r.word[0] = v.x, r.word[1] = v.y;
        } else {
            r.word[0] = *reinterpret_cast<const uint32_t *>(p);
        }
        return r;
    }
    TRINE_DEVICE_METHOD void store(uint8_t *p) const
    {
        if constexpr (V == 8)
            target::store8(p, uint2{word[0], word[1]});
        else
            *reinterpret_cast<uint32_t *>(p) = word[0];
    }
};

} // namespace simt

#endif
