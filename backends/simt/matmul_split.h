/* Split-K: sums over K that are divided among blocks. Every block stores its part as f32 in the workspace, [split][batch][M][N];
 * a second kernel adds the parts in order and does the epilogue. */
#ifndef TRINE_SIMT_MATMUL_SPLIT_H
#define TRINE_SIMT_MATMUL_SPLIT_H

#include "backends/simt/matmul_product.h"

namespace simt {

enum { split_most = 64, split_threads = 256 };

inline int64_t product_outputs(const trine_product &p) { return p.m * p.n * p.batch.numel; }

/* Worth it at all: parts that are long enough, and not too much memory. */
inline bool split_fits(const trine_product &p, int64_t splits)
{
    return p.k >= splits * 64 && product_outputs(p) <= (int64_t(1) << 26) / splits;
}

inline size_t split_workspace(const trine_product &p, int64_t splits)
{
    return splits > 1 ? size_t(product_outputs(p)) * size_t(splits) * sizeof(float) + 16 : 0;
}

/* Cycles that the parts' way through memory takes, at about 2 KB a cycle, and the second launch. */
inline double split_cost(const trine_product &p, int64_t splits, int64_t units)
{
    return splits > 1 ? 3000 + double(product_outputs(p)) * double(splits) * 8 / double(16 * units) : 0;
}

/* Which part a block makes: of which product of the batch, and which of its splits. */
struct split_place {
    int64_t index;
    unsigned split;
};

/* Where parts go. parts NULL: there is one, which goes to the epilogue at once. */
struct split_sink {
    float *parts;
    int64_t splits, terms; /* terms of a split */
    int64_t apart;         /* elements from one split's parts to the next one's */
    bool packs;

    /* `unit`: the terms of a split are a multiple of it. */
    split_sink(const trine_call *call, const trine_product &p, int64_t splits_, int64_t unit)
        : parts(nullptr), splits(splits_), packs(p.n % 4 == 0)
    {
        terms = ceil_div(ceil_div(p.k, splits), unit) * unit;
        apart = product_outputs(p);
        if (splits > 1) parts = reinterpret_cast<float *>((reinterpret_cast<uintptr_t>(call->workspace) + 15) / 16 * 16);
    }
    template <class T, int V> TRINE_DEVICE_METHOD void store(const pack<float, V> &sums, const product<T> &p,
                                                             const split_place &part, int64_t row, int64_t column) const
    {
        store_pack<float, V>(parts + part.split * apart + (part.index * p.m + row) * p.n + column, sums);
    }
};

template <class T> TRINE_KERNEL(split_threads) sum_splits_kernel(product<T> p, split_sink sink)
{
    const uint32_t i = target::block_x() * unsigned(split_threads) + unsigned(target::thread_x());
    if (i >= sink.apart) return;
    float sum = 0;
    for (int64_t s = 0; s < sink.splits; s++) sum += sink.parts[s * sink.apart + i];
    const uint32_t row = i / uint32_t(p.n), column = i - row * uint32_t(p.n), index = row / uint32_t(p.m);
    p.out.store(sum, row - index * uint32_t(p.m), column, p.offsets(index));
}

/* Nothing to do for a sum in one part. */
template <class T> inline trine_status sum_splits(trine_call *call, const trine_product &p, const split_sink &sink)
{
    if (!sink.parts) return TRINE_OK;
    return launch(call, sum_splits_kernel<T>, grid(ceil_div(sink.apart, split_threads)), split_threads, 0, product<T>(p), sink);
}

} // namespace simt

#endif
