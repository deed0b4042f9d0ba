/* Starting kernels. */
#ifndef TRINE_SIMT_LAUNCH_H
#define TRINE_SIMT_LAUNCH_H

namespace simt {

struct grid {
    int64_t x;
    int64_t y = 1, z = 1;
    grid(int64_t x_, int64_t y_ = 1, int64_t z_ = 1) : x(x_), y(y_), z(z_) {}
};

template <class... P, class... A>
inline trine_status launch(trine_call *call, void (*kernel)(P...), grid g, int threads, size_t shared, A... args)
{
    if (g.x == 0 || g.y == 0 || g.z == 0) return TRINE_OK;
    TRINE_REQUIRE_THAT(call, g.x <= 0x7fffffff && g.y <= 65535 && g.z <= 65535, "the grid is too large");
    kernel<<<dim3(unsigned(g.x), unsigned(g.y), unsigned(g.z)), dim3(unsigned(threads)), shared,
             static_cast<target::stream>(call->native)>>>(static_cast<P>(args)...);
    return target::launched(call);
}

/* The same for a kernel that reads what the one launched just before it wrote. Where the device can, it starts while that one ends,
 * so it must call target::wait_for_previous() before it reads; the one before says with target::let_next_start() from when on. */
template <class... P, class... A>
inline trine_status launch_next(trine_call *call, void (*kernel)(P...), int64_t blocks, int threads, A... args)
{
    if (blocks == 0) return TRINE_OK;
    TRINE_REQUIRE_THAT(call, blocks <= 0x7fffffff, "the grid is too large");
    return target::launch_next(call, kernel, unsigned(blocks), unsigned(threads), args...);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Threads of a block, at most `threads`, of which 2^shift, a wave or less, take a row: few rows are spread over all compute units.
 * A negative shift: the block takes it, with all threads. */
inline int threads_of_few_rows(const trine_call *call, int threads, int shift, int64_t rows)
{
    const int64_t wanted = int64_t(call->device->props.compute_units) * 2;
    while (shift >= 0 && threads > call->device->props.wave_size && ceil_div(rows, threads >> shift) < wanted) threads /= 2;
    return threads;
}

} // namespace simt

#endif
