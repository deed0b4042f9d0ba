/* Scans along rows. Bound by bytes: one read and one write an element.
 *
 * A group of threads, part of a wave or a block, goes along its row tile by tile and carries the result on; the group and the packs
 * of a thread are chosen so that the tile is not much longer than the row. Where rows are few and long, every block takes a tile, in
 * the order of a ticket, and looks back for what precedes it (scan_look_back.h). */
#ifndef TRINE_SIMT_SCAN_ROWS_H
#define TRINE_SIMT_SCAN_ROWS_H

#include "backends/simt/map.h"
#include "backends/simt/scan_look_back.h"
#include "core/scan_shape.h"

namespace simt {

enum { scan_few = 4, scan_many = 8 /* packs of a thread */ };
/* Where tiles look back: so many that three blocks fit a multiprocessor, or four if packs wait in shared memory. */
template <class T> constexpr int scan_shared = (sizeof(T) == 2 && !target::scan_holds_in_shared) || scan_integer<T> ? 6 : 8;

/* `width` threads a row: 2^k of a wave, or the block. */
template <class Op, class T, int V, int U> TRINE_KERNEL(scan_threads)
scan_rows_kernel(walk<2, divider_any> rows, int64_t count, scan_order order, int width, T *y, const T *x)
{
    constexpr bool shares = scan_shares<T, V, false> && U == scan_many;
    using tile_of = scan_tile<Op, T, V, U, typename scan_held_in<T, V, U, shares>::type>;
    TRINE_SHARED uint4 waiting[shares ? scan_threads * U : 1];
    TRINE_SHARED typename Op::value list[2][target::max_waves];
    const int64_t asked = int64_t(target::block_x()) * (target::block_threads() / width) + target::thread_x() / width;
    int64_t offset[2];
    rows.offsets(asked < count ? asked : count - 1, offset);
    if (asked >= count) order.n = order.packs = 0; /* walks along with its wave and moves nothing */
    const int64_t packs = (order.n + V - 1) / V;
    const int begin = tile_of::begin(width), apart = tile_of::pitch(width);
    auto carry = Op::neutral();
    int turn = 0;
    int64_t first = 0;
    do {
        tile_of tile(waiting);
        tile.load(x + offset[SCAN_X], order, first + begin, apart);
        tile.gather(width, list[turn]);
        tile.store(y + offset[SCAN_Y], order, first + begin, apart, carry);
        carry = Op::both(carry, tile.total);
        turn ^= 1;
        first += int64_t(width) * U;
    } while (first < packs);
}

/* words: the ticket, then for every row the notes of its tiles and of their groups. */
template <class Op, class T, int V, int U> TRINE_CROWDED_KERNEL(scan_threads, (scan_shares<T, V, true> ? 4 : 3))
scan_look_back_kernel(walk<2, divider_any> rows, int64_t tiles, scan_order order, T *y, const T *x, uint64_t *words)
{
    using note = scan_note<typename Op::value>;
    constexpr bool shares = scan_shares<T, V, true>;
    using tile_of = scan_tile<Op, T, V, U, typename scan_held_in<T, V, U, shares>::type>;
    TRINE_SHARED uint4 waiting[shares ? scan_threads * U : 1];
    TRINE_SHARED typename Op::value sums[target::max_waves], list[target::max_waves], carried;
    TRINE_SHARED uint32_t ticket;
    if (target::thread_x() == 0) ticket = target::atomic_add(reinterpret_cast<uint32_t *>(words), 1u);
    target::barrier();
    const int64_t row = ticket / uint32_t(tiles), tile_at = ticket - row * tiles,
                  first = tile_at * (scan_threads * U) + tile_of::begin(scan_threads);
    note *const published = reinterpret_cast<note *>(words + 1) + row * (tiles + scan_groups(tiles, scan_group));
    int64_t offset[2];
    rows.offsets(row, offset);
    tile_of tile(waiting);
    tile.load(x + offset[SCAN_X], order, first, tile_of::pitch(scan_threads));
    const auto total = tile.sum_up(sums);
    if (target::thread_x() == 0) note::of(SCAN_TOTAL, total).publish(published + tile_at);
    tile.gather(scan_threads, list);
    if (target::thread_x() < target::wave_size()) {
        const auto before = scan_look_back<Op>(published, published + tiles, tile_at, total);
        if (target::thread_x() == 0) carried = before;
    }
    target::barrier();
    tile.store(y + offset[SCAN_Y], order, first, tile_of::pitch(scan_threads), carried);
}

/* ---- Host ---- */

template <class Op, class T, int V, int U> inline trine_status
launch_scan_rows(trine_call *call, const walk<2, divider_any> &rows, int64_t count, const scan_order &order, T *y, const T *x)
{
    const int wave_size = call->device->props.wave_size;
    int width = 1, threads = scan_threads;
    while (int64_t(width) * U < order.packs && width < scan_threads) width *= 2;
    if (width > wave_size) threads = width;
    return launch(call, scan_rows_kernel<Op, T, V, U>, grid(ceil_div(count, threads / width)), threads, 0, rows, count, order,
                  width, y, x);
}

template <class Op, class T, int V>
inline trine_status run_scan_rows(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s, int64_t words)
{
    const scan_order order = {
        s.n, ceil_div(s.n, V), V == 1 ? s.step[SCAN_Y] : 1, V == 1 ? s.step[SCAN_X] : 1, a->exclusive != 0, a->reverse != 0};
    const walk<2, divider_any> rows(s.rows);
    T *y = data_of<T>(a->y);
    const T *x = data_of<T>(a->x);
    if (words) {
        const int64_t tiles = ceil_div(order.packs, scan_threads * scan_shared<T>);
        auto *memory = static_cast<uint64_t *>(call->workspace);
        const trine_status status = scan_clear(call, words, memory);
        if (status != TRINE_OK) return status;
        return launch(call, scan_look_back_kernel<Op, T, V, scan_shared<T>>, grid(s.rows.numel * tiles), scan_threads, 0, rows,
                      tiles, order, y, x, memory);
    }
    /* four packs a thread where a wave takes the row so: more waves have loads in flight */
    if (order.packs <= int64_t(call->device->props.wave_size) * scan_few)
        return launch_scan_rows<Op, T, V, scan_few>(call, rows, s.rows.numel, order, y, x);
    return launch_scan_rows<Op, T, V, scan_many>(call, rows, s.rows.numel, order, y, x);
}

/* Rows so few that a block each leaves the device idle, and so long that they have several tiles. */
template <class T> inline bool scan_rows_shared(const trine_call *call, const trine_scan_shape &s)
{
    return s.rows.numel < 2 * call->device->props.compute_units && s.n > 2 * pack_of<T> * scan_threads * scan_shared<T>;
}

/* The words of rows that are shared: if elements come one by one, when tiles are shortest. */
template <class Op, class T> inline int64_t scan_row_words(const trine_scan_shape &s)
{
    const int64_t tiles = ceil_div(s.n, scan_threads * scan_shared<T>);
    return 1 + s.rows.numel * (tiles + scan_groups(tiles, scan_group)) * scan_note<typename Op::value>::words;
}

/* Whether rows are whole packs apart and dense. */
template <class T> inline bool scan_rows_packed(const trine_scan_args *a, const trine_scan_shape &s)
{
    constexpr int V = pack_of<T>;
    bool packed = aligned16(a->y.data) && aligned16(a->x.data) && s.step[SCAN_Y] == 1 && s.step[SCAN_X] == 1;
    for (int d = 0; d < s.rows.ndim; d++)
        packed = packed && (s.rows.size[d] == 1 || (s.rows.stride[SCAN_Y][d] % V == 0 && s.rows.stride[SCAN_X][d] % V == 0));
    return packed;
}

template <class Op, class T> inline trine_status scan_rows(trine_call *call, const trine_scan_args *a, const trine_scan_shape &s)
{
    const int64_t words = scan_rows_shared<T>(call, s) ? scan_row_words<Op, T>(s) : 0;
    TRINE_END_OF_QUERY(call, size_t(words) * sizeof(uint64_t));
    return scan_rows_packed<T>(a, s) ? run_scan_rows<Op, T, pack_of<T>>(call, a, s, words)
                                     : run_scan_rows<Op, T, 1>(call, a, s, words);
}

} // namespace simt

#endif
