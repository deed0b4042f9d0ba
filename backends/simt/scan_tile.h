/* What the kernels of scan.h share: the operations, and a tile of a row that a group of threads scans. */
#ifndef TRINE_SIMT_SCAN_TILE_H
#define TRINE_SIMT_SCAN_TILE_H

#include "backends/simt/block.h"
#include "backends/simt/divider.h"
#include "backends/simt/launch.h"
#include "backends/simt/types.h"
#include "trine/scan.h"

namespace simt {

enum { scan_threads = 256 };

/* An operation on A: f32 for the floats, integers for themselves, whose sums wrap. */
template <class A> struct scan_sum {
    using value = A;
    static TRINE_DEVICE_METHOD A neutral() { return 0; }
    static TRINE_DEVICE_METHOD float both(float a, float b) { return target::add_rn(a, b); }
    static TRINE_DEVICE_METHOD int32_t both(int32_t a, int32_t b) { return int32_t(uint32_t(a) + uint32_t(b)); }
    static TRINE_DEVICE_METHOD int64_t both(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
};
struct scan_max {
    using value = float;
    static TRINE_DEVICE_METHOD float neutral() { return -__builtin_inff(); }
    static TRINE_DEVICE_METHOD float both(float a, float b) { return target::maximum(a, b); }
};
struct scan_mul {
    using value = float;
    static TRINE_DEVICE_METHOD float neutral() { return 1.0f; }
    static TRINE_DEVICE_METHOD float both(float a, float b) { return target::mul_rn(a, b); }
};

template <class A> constexpr bool scan_integer = false;
template <> inline constexpr bool scan_integer<int32_t> = true;
template <> inline constexpr bool scan_integer<int64_t> = true;

/* An element as a value, and back. */
template <class A, class T> TRINE_DEVICE A scan_value(T x)
{
    if constexpr (scan_integer<A>)
        return x;
    else
        return to_f32(x);
}
template <class T, class A> TRINE_DEVICE T scan_element(A value)
{
    if constexpr (scan_integer<A>)
        return value;
    else
        return from_f32<T>(value);
}

/* How a row is walked. Packs of V elements count from the row's first element in memory; `reverse` walks them, and the elements
 * in them, from the last one on, and those past the end, of the last pack, count as neutral. */
struct scan_order {
    int64_t n, packs;
    int64_t y_step, x_step; /* V = 1: from one element to the next */
    bool exclusive, reverse;
};

/* A pack that waits in registers, as it came: 16-bit elements two in a word until they are used. */
template <class T, int V, bool words = sizeof(pack<T, V>) == 16> struct held_pack {
    pack<T, V> p;
    TRINE_DEVICE_METHOD void load(const T *x) { p = load_pack<T, V>(x); }
    TRINE_DEVICE_METHOD void set(const pack<T, V> &q) { p = q; }
    TRINE_DEVICE_METHOD pack<T, V> get() const { return p; }
    TRINE_DEVICE_METHOD void derive_again() {}
};
template <class T, int V> struct held_pack<T, V, true> {
    uint4 w;
    TRINE_DEVICE_METHOD void load(const T *x) { w = target::load16(x); }
    TRINE_DEVICE_METHOD void set(const pack<T, V> &q) { w = reinterpret_cast<const uint4 &>(q); }
    TRINE_DEVICE_METHOD pack<T, V> get() const
    {
        pack<T, V> p;
        reinterpret_cast<uint4 &>(p) = w;
        return p;
    }
    TRINE_DEVICE_METHOD void derive_again() { target::derive_again(w); }
};

/* Packs of a thread that wait in registers, */
template <class T, int V, int U> struct scan_in_registers {
    held_pack<T, V> pack_at[U];
    TRINE_DEVICE_METHOD explicit scan_in_registers(void *) {}
    TRINE_DEVICE_METHOD void load(int u, const T *x) { pack_at[u].load(x); }
    TRINE_DEVICE_METHOD void set(int u, const pack<T, V> &p) { pack_at[u].set(p); }
    TRINE_DEVICE_METHOD pack<T, V> get(int u) const { return pack_at[u].get(); }
    TRINE_DEVICE_METHOD void derive_again(int u) { pack_at[u].derive_again(); }
    TRINE_DEVICE_METHOD void wait() {}
};
/* or in shared memory, of which more is left than of registers: more blocks have loads in flight while others wait for what
 * precedes them. `list`: 16 bytes for each pack of the block, of which a thread touches its own alone. */
template <class T, int V, int U> struct scan_in_shared {
    uint4 *mine;
    TRINE_DEVICE_METHOD explicit scan_in_shared(void *list) : mine(static_cast<uint4 *>(list) + target::thread_x()) {}
    TRINE_DEVICE_METHOD uint4 *at(int u) const { return mine + u * target::block_threads(); }
    TRINE_DEVICE_METHOD void load(int u, const T *x) { target::copy_to_shared<16>(at(u), x); }
    TRINE_DEVICE_METHOD void set(int u, const pack<T, V> &p) { *at(u) = reinterpret_cast<const uint4 &>(p); }
    TRINE_DEVICE_METHOD pack<T, V> get(int u) const
    {
        held_pack<T, V, true> p;
        p.w = *at(u);
        return p.get();
    }
    TRINE_DEVICE_METHOD void derive_again(int) {}
    TRINE_DEVICE_METHOD void wait() { target::wait_for_copies(); }
};

template <class T, int V, int U, bool shared> struct scan_held_in {
    using type = scan_in_registers<T, V, U>;
};
template <class T, int V, int U> struct scan_held_in<T, V, U, true> {
    using type = scan_in_shared<T, V, U>;
};
/* Where packs wait: of rows that stay with their block (i64's many registers would leave two blocks a multiprocessor), and of those
 * that look back. Packs that are not 16 bytes wait in registers everywhere. */
template <class T, int V, bool looks_back>
constexpr bool scan_shares = target::scan_holds_in_shared && sizeof(pack<T, V>) == 16 && sizeof(T) == (looks_back ? 2 : 8);

/* U packs of each thread of a group: 2^k threads of a wave, or the block. A wave has its packs side by side, U times as many as it
 * has threads, so that one wave's loads fill whole lines and only one total of a wave goes through shared memory. Packs are held
 * as they came, in the order of the walk: what is past the end is neutral. */
template <class Op, class T, int V, int U, class Held = scan_in_registers<T, V, U>> struct scan_tile {
    using A = typename Op::value;
    Held in;
    A before[U]; /* of all that precedes a pack in the tile */
    A total;     /* of the tile */

    TRINE_DEVICE_METHOD explicit scan_tile(void *list = nullptr) : in(list) {}
    static TRINE_DEVICE_METHOD A sum_of(const pack<T, V> &p)
    {
        A sum = scan_value<A>(p.at[0]);
#pragma unroll
        for (int j = 1; j < V; j++) sum = Op::both(sum, scan_value<A>(p.at[j]));
        return sum;
    }
    /* Where a thread's packs begin in its group's tile, and how far they are apart. */
    static TRINE_DEVICE_METHOD int pitch(int width) { return width < target::wave_size() ? width : target::wave_size(); }
    static TRINE_DEVICE_METHOD int begin(int width)
    {
        const int t = target::thread_x() & (width - 1), apart = pitch(width);
        return t / apart * apart * U + t % apart;
    }

    /* first: the walk's pack where the thread begins. */
    TRINE_DEVICE_METHOD void load(const T *x, const scan_order &order, int64_t first, int apart)
    {
        const span at(order, first, apart);
        const int64_t step = V == 1 ? order.x_step : 1;
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (at.whole(u, order.n))
                in.load(u, x + at.element(u) * step);
            else
                in.set(u, partly(x, at.has(u) ? at.element(u) : order.n, order.n));
        }
        in.wait();
        if (order.reverse) reverse();
    }
    TRINE_DEVICE_METHOD void reverse()
    {
#pragma unroll
        for (int u = 0; u < U; u++) in.set(u, reversed(in.get(u)));
    }

    /* The block's total alone, which others wait for. `list`: as for gather. */
    TRINE_DEVICE_METHOD A sum_up(A *list) const
    {
        const int lane = target::thread_x() % target::wave_size(), wave = target::thread_x() / target::wave_size();
        A sum = Op::neutral();
#pragma unroll
        for (int u = 0; u < U; u++) sum = Op::both(sum, sum_of(in.get(u)));
#pragma unroll
        for (int mask = target::wave_size() / 2; mask > 0; mask /= 2) sum = Op::both(sum, target::shuffle_xor(sum, mask));
        if (lane == 0) list[wave] = sum;
        target::barrier();
        sum = list[0];
        for (int w = 1; w < scan_threads / target::wave_size(); w++) sum = Op::both(sum, list[w]);
        return sum;
    }

    /* Fills before and total. `list`: target::max_waves of shared memory, free again after the next barrier. */
    TRINE_DEVICE_METHOD void gather(int width, A *list)
    {
        constexpr int wave_size = target::wave_size();
        const int within = pitch(width), lane = target::thread_x() % wave_size, rank = lane & (within - 1);
        total = Op::neutral();
#pragma unroll
        for (int u = 0; u < U; u++) {
            A sum = sum_of(in.get(u));
#pragma unroll
            for (int apart = 1; apart < wave_size; apart *= 2) {
                if (apart >= within) continue;
                const A other = target::shuffle(sum, lane - apart < 0 ? lane : lane - apart);
                sum = rank >= apart ? Op::both(other, sum) : sum;
            }
            const A previous = target::shuffle(sum, lane == 0 ? 0 : lane - 1);
            before[u] = rank == 0 ? total : Op::both(total, previous);
            total = Op::both(total, target::shuffle(sum, lane | (within - 1)));
        }
        if (width <= wave_size) return;
        const int waves = width / wave_size, wave = target::thread_x() / wave_size;
        if (lane == 0) list[wave] = total;
        target::barrier();
        A ahead = Op::neutral();
        total = list[0];
        for (int w = 1; w < waves; w++) {
            ahead = w == wave ? total : ahead;
            total = Op::both(total, list[w]);
        }
#pragma unroll
        for (int u = 0; u < U; u++) before[u] = wave == 0 ? before[u] : Op::both(ahead, before[u]);
    }

    /* The outputs, after `carry`. inside: all are of the row. */
    template <bool inside = false>
    TRINE_DEVICE_METHOD void store(T *y, const scan_order &order, int64_t first, int apart, A carry)
    {
        const span at(order, first, apart);
        const int64_t step = V == 1 ? order.y_step : 1;
#pragma unroll
        for (int u = 0; u < U; u++) {
            if (!inside && !at.has(u)) continue;
            A running = Op::both(carry, before[u]);
            pack<T, V> out;
            in.derive_again(u);
            const pack<T, V> p = in.get(u);
#pragma unroll
            for (int j = 0; j < V; j++) {
                const A next = Op::both(running, scan_value<A>(p.at[j]));
                out.at[j] = scan_element<T>(order.exclusive ? running : next);
                running = next;
            }
            if (order.reverse) out = reversed(out);
            if (inside || at.whole(u, order.n))
                store_pack<T, V>(y + at.element(u) * step, out);
            else
#pragma unroll
                for (int j = 0; j < V; j++)
                    if (at.element(u) + j < order.n) y[at.element(u) + j] = out.at[j];
        }
    }

  private:
    /* Where a thread's packs lie in memory. */
    struct span {
        int64_t at;         /* element of its first pack */
        int32_t left, step; /* packs of the row from there on, as far as they matter; from pack to pack */
        int32_t apart;
        TRINE_DEVICE_METHOD span(const scan_order &order, int64_t first, int apart_) : apart(apart_)
        {
            const int64_t rest = order.packs - first;
            left = rest < U * apart ? int32_t(rest) : U * apart;
            at = (order.reverse ? rest - 1 : first) * V;
            step = (order.reverse ? -V : V) * apart;
        }
        TRINE_DEVICE_METHOD bool has(int u) const { return u * apart < left; }
        TRINE_DEVICE_METHOD int64_t element(int u) const { return at + u * step; }
        TRINE_DEVICE_METHOD bool whole(int u, int64_t n) const { return has(u) && (V == 1 || element(u) + V <= n); }
    };
    /* A pack that the row ends in or that is past the end. */
    static TRINE_DEVICE_METHOD pack<T, V> partly(const T *x, int64_t at, int64_t n)
    {
        pack<T, V> p;
#pragma unroll
        for (int j = 0; j < V; j++) {
            p.at[j] = scan_element<T>(Op::neutral());
            if (V > 1 && at + j < n) p.at[j] = x[at + j];
        }
        return p;
    }
    static TRINE_DEVICE_METHOD pack<T, V> reversed(const pack<T, V> &p)
    {
        pack<T, V> r;
#pragma unroll
        for (int j = 0; j < V; j++) r.at[j] = p.at[V - 1 - j];
        return r;
    }
};

} // namespace simt

#endif
