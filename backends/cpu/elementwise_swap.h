/* swap on the CPU: the elements of each pair of a row change places. */
#ifndef TRINE_CPU_ELEMENTWISE_SWAP_H
#define TRINE_CPU_ELEMENTWISE_SWAP_H

#include "backends/cpu/lanes_store.h"
#include "backends/cpu/walk.h"

/* Pairs of one row; reads both of a pair before it writes, so that in place is safe. */
#define SWAP_ROW(type) \
    static void swap_row_##type(char *py, const char *px, int64_t n, int64_t sy, int64_t sx) \
    { \
        type *y = (type *)(void *)py; \
        const type *x = (const type *)(const void *)px; \
        for (int64_t i = 0; i + 1 < n; i += 2) { \
            const type first = x[i * sx], second = x[(i + 1) * sx]; \
            y[i * sy] = second; \
            y[(i + 1) * sy] = first; \
        } \
        if (n % 2) y[(n - 1) * sy] = x[(n - 1) * sx]; \
    }
SWAP_ROW(uint8_t)
SWAP_ROW(uint16_t)
SWAP_ROW(uint32_t)
SWAP_ROW(uint64_t)
typedef void (*swap_row_fn)(char *y, const char *x, int64_t n, int64_t sy, int64_t sx);

/* Whole lines past the caches, both ends on a line of y. */
static void swap_lines(char *y, const char *x, int64_t bytes, int64_t size)
{
#if defined __AVX512BW__
    const bool asks = prefers_l2();
    for (int64_t i = 0; i < bytes; i += 64) {
        if (asks) __builtin_prefetch(x + i + ASK_NEAR, 0, 2);
        __m512i v = _mm512_loadu_si512(x + i);
        if (size == 8)
            v = _mm512_permutex_epi64(v, 0xb1);
        else if (size == 4)
            v = _mm512_shuffle_epi32(v, (_MM_PERM_ENUM)0xb1);
        else if (size == 2)
            v = _mm512_rol_epi32(v, 16);
        else
            v = _mm512_or_si512(_mm512_slli_epi16(v, 8), _mm512_srli_epi16(v, 8));
        _mm512_stream_si512((void *)(y + i), v);
    }
#else
    (void)y, (void)x, (void)bytes, (void)size;
#endif
}

/* The bytes of a dense row that swap_lines may take, from byte *head on, which begins a pair. */
static int64_t swap_whole(const char *y, int64_t bytes, int64_t size, int64_t *head)
{
    *head = -(intptr_t)y & 63;
#if defined __AVX512BW__
    return *head % (2 * size) == 0 && *head < bytes ? (bytes - *head) / 64 * 64 : 0;
#else
    return (void)bytes, (void)size, 0;
#endif
}

/* A dense row that swap_lines can't take goes through a block in L1 that is then written past the caches. */
static void swap_piece(swap_row_fn row, char *y, const char *x, int64_t n, int64_t size, int64_t sy, int64_t sx, bool stream)
{
    _Alignas(64) char block[8192];
    const int64_t most = (int64_t)sizeof block / size;
    int64_t head;
    if (sy != 1 || sx != 1 || !stream) {
        row(y, x, n, sy, sx);
        return;
    }
    const int64_t whole = swap_whole(y, n * size, size, &head);
    if (whole > 0) {
        row(y, x, head / size, 1, 1);
        swap_lines(y + head, x + head, whole, size);
        row(y + head + whole, x + head + whole, n - (head + whole) / size, 1, 1);
        return;
    }
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < most ? n - i : most;
        row(block, x + i * size, m, 1, 1);
        span_copy_bytes(y + i * size, block, m * size, true);
    }
}

static trine_status run_swap(const trine_swap_args *a)
{
    static const swap_row_fn rows_of[] = {
        [1] = swap_row_uint8_t, [2] = swap_row_uint16_t, [4] = swap_row_uint32_t, [8] = swap_row_uint64_t};
    int64_t n, size = trine_dtype_bits(a->y.dtype) / 8;
    const trine_iter rows = trine_iter_rows((const trine_tensor *[]){&a->y, &a->x}, 2, &n);
    const int64_t sy = a->y.stride[a->y.ndim - 1], sx = a->x.stride[a->x.ndim - 1], pairs = (n + 1) / 2;
    const bool stream = span_should_stream(rows.numel * n * size);
    const swap_row_fn row = rows_of[size];
    if (n == 0) return TRINE_OK;
    CPU_PARALLEL_FOR(range, rows.numel * pairs, CPU_GRAIN / 2)
    {
        for (int64_t i = range.begin, m; i < range.end; i += m) {
            const int64_t r = i / pairs, first = (i - r * pairs) * 2;
            int64_t offset[TRINE_ITER_OPERANDS];
            m = pairs - first / 2 < range.end - i ? pairs - first / 2 : range.end - i;
            trine_iter_offsets(&rows, r, offset);
            const int64_t elements = first + 2 * m < n ? 2 * m : n - first;
            swap_piece(row, (char *)a->y.data + (offset[0] + first * sy) * size,
                       (const char *)a->x.data + (offset[1] + first * sx) * size, elements, size, sy, sx, stream);
        }
        span_fence();
    }
    return TRINE_OK;
}

#endif
