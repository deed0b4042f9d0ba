/* transpose, permute, concat and split on the CPU; gather.h and scatter.h have the ops that go by ids. Bound by bytes.
 *
 * A permutation is a copy from a view of x whose axes stand in y's order. Where y's dense axis is also x's, runs are copied. Else
 * tiles of the two dense axes are turned in L1, by exchanges between vectors of 16 bytes, so that both sides move whole lines;
 * other axes are walked outside. */
#include "backends/cpu/gather.h"
#include "backends/cpu/level.h"
#include "backends/cpu/scatter.h"
#include "backends/cpu/walk.h"

/* Rows of a tile have so many bytes on both sides, but no more than TILE_MOST elements: long enough for memory to open its pages
 * for. (Zen 5, bf16: rows of 128 bytes 29 GB/s, 256: 41, 512: 52 of a copy's 60.) TILE_AHEAD: rows that are asked for before they
 * are taken. In the buffers a line lies between rows, so that they don't fall into the same sets of the L1 cache. */
enum { TILE_BYTES = 512, TILE_MOST = 256, TILE_AHEAD = 16, LINE = 64 };

/* Square blocks of vectors: n rows of n elements, n * size = 16 bytes. Interleaving row i with row i + n/2, log2(n) times,
 * transposes. */
#define TURN_BLOCK(type, vector, n, low, high) \
    typedef type vector __attribute__((vector_size(16), aligned(sizeof(type)), may_alias)); \
    static inline void turn_block_##type(type *to, int64_t to_step, const type *from, int64_t from_step) \
    { \
        vector a[n], b[n]; \
        for (int i = 0; i < n; i++) a[i] = *(const vector *)(from + i * from_step); \
        for (int stage = 1; stage < n; stage *= 2) { \
            for (int i = 0; i < n / 2; i++) { \
                b[2 * i] = __builtin_shuffle(a[i], a[i + n / 2], (vector)low); \
                b[2 * i + 1] = __builtin_shuffle(a[i], a[i + n / 2], (vector)high); \
            } \
            for (int i = 0; i < n; i++) a[i] = b[i]; \
        } \
        for (int i = 0; i < n; i++) *(vector *)(to + i * to_step) = a[i]; \
    } \
    /* A tile of rows x cols at `from` becomes cols x rows at `to`. */ \
    static void turn_tile_##type(void *to_, int64_t to_step, const void *from_, int64_t from_step, int64_t rows, int64_t cols) \
    { \
        type *to = to_; \
        const type *from = from_; \
        const int64_t whole_rows = rows / n * n, whole_cols = cols / n * n; \
        for (int64_t r = 0; r < whole_rows; r += n) \
            for (int64_t c = 0; c < whole_cols; c += n) \
                turn_block_##type(to + c * to_step + r, to_step, from + r * from_step + c, from_step); \
        for (int64_t r = 0; r < rows; r++) \
            for (int64_t c = r < whole_rows ? whole_cols : 0; c < cols; c++) to[c * to_step + r] = from[r * from_step + c]; \
    }
#define LIST(...) \
    { \
        __VA_ARGS__ \
    }
TURN_BLOCK(uint8_t, vector8, 16, LIST(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
           LIST(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31))
TURN_BLOCK(uint16_t, vector16, 8, LIST(0, 8, 1, 9, 2, 10, 3, 11), LIST(4, 12, 5, 13, 6, 14, 7, 15))
TURN_BLOCK(uint32_t, vector32, 4, LIST(0, 4, 1, 5), LIST(2, 6, 3, 7))
TURN_BLOCK(uint64_t, vector64, 2, LIST(0, 2), LIST(1, 3))

typedef void (*turn_tile_fn)(void *to, int64_t to_step, const void *from, int64_t from_step, int64_t rows, int64_t cols);
static const turn_tile_fn turn_tile_of[] = {
    [1] = turn_tile_uint8_t, [2] = turn_tile_uint16_t, [4] = turn_tile_uint32_t, [8] = turn_tile_uint64_t};

/* x: rows at x_step elements, each of cols dense ones; y: cols rows at y_step, each of rows dense ones. */
typedef struct tiling {
    trine_iter batch;
    int64_t rows, cols, x_step, y_step, down, across, size, side;
    char *y, *workspace;
    const char *x;
    bool stream;
} tiling;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct tile {
    const char *x;
    char *y;
    int64_t rows, cols;
} tile;

static tile tile_at(const tiling *t, int64_t index)
{
    const int64_t tiles = t->down * t->across, b = index / tiles, i = index - b * tiles;
    const int64_t row = i % t->down * t->side, col = i / t->down * t->side; /* down first: writes along y's rows */
    int64_t offset[TRINE_ITER_OPERANDS];
    trine_iter_offsets(&t->batch, b, offset);
    return (tile){t->x + (offset[1] + row * t->x_step + col) * t->size, t->y + (offset[0] + col * t->y_step + row) * t->size,
                  least(t->side, t->rows - row), least(t->side, t->cols - col)};
}

static int64_t tile_side(int64_t size) { return least(TILE_BYTES / size, TILE_MOST); }

/* From one row to the next in a buffer, in bytes and in elements. */
static int64_t buffer_step(const tiling *t) { return t->side * t->size + LINE; }

/* A thread's buffers: of a tile as it was taken, and turned, not a multiple of 4096 bytes apart: a load would wait for a store
 * to an address that ends the same. */
static size_t tile_bytes(const tiling *t) { return (size_t)(t->side * buffer_step(t)) + 192; }

static void take_row(const tiling *t, const tile *from, int64_t r, char *taken)
{
    memcpy(taken + r * buffer_step(t), from->x + r * t->x_step * t->size, (size_t)(from->cols * t->size));
}

/* Rows lie too far apart for the processor to see where the reading goes. */
static void ask_for_row(const tiling *t, const tile *from, int64_t r)
{
    const char *row = from->x + r * t->x_step * t->size;
    for (int64_t byte = 0; byte < from->cols * t->size; byte += LINE) __builtin_prefetch(row + byte);
}

static void take_tile(const tiling *t, const tile *from, char *taken)
{
    for (int64_t r = 0; r < from->rows; r++) take_row(t, from, r, taken);
}

/* A tile that was taken, past the caches; between its rows, which only have to leave, those of the next one come. */
static void put_tile(const tiling *t, const tile *this, const tile *next, char *taken, char *turned)
{
    const int64_t step = buffer_step(t);
    for (int64_t i = 0; next && i < least(TILE_AHEAD, next->rows); i++) ask_for_row(t, next, i);
    turn_tile_of[t->size](turned, step / t->size, taken, step / t->size, this->rows, this->cols);
    for (int64_t i = 0; i < t->side; i++) {
        if (next && i + TILE_AHEAD < next->rows) ask_for_row(t, next, i + TILE_AHEAD);
        if (next && i < next->rows) take_row(t, next, i, taken);
        if (i < this->cols) span_copy_bytes(this->y + i * t->y_step * t->size, turned + i * step, this->rows * t->size, true);
    }
}

static void run_tiles_streamed(const tiling *t, cpu_range range)
{
    char *taken = t->workspace + (size_t)cpu_thread() * 2 * tile_bytes(t), *turned = taken + tile_bytes(t);
    tile this = tile_at(t, range.begin), next;
    take_tile(t, &this, taken);
    for (int64_t i = range.begin; i < range.end; i++, this = next) {
        const bool last = i + 1 == range.end;
        next = last ? this : tile_at(t, i + 1);
        put_tile(t, &this, last ? NULL : &next, taken, turned);
    }
    span_fence();
}

static void run_tiles(const tiling *t)
{
    CPU_PARALLEL_FOR(range, t->batch.numel * t->down * t->across, 8)
    {
        if (t->stream) run_tiles_streamed(t, range);
        for (int64_t i = range.begin; !t->stream && i < range.end; i++) {
            const tile one = tile_at(t, i);
            turn_tile_of[t->size](one.y, t->y_step, one.x, t->x_step, one.rows, one.cols);
        }
    }
}

static void copy_run(const void *context, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const int64_t size = *(const int64_t *)context;
    if (step[0] == 1 && step[1] == 1) {
        span_copy_bytes(p[0], p[1], n * size, stream);
        return;
    }
    for (int64_t i = 0; i < n; i++) memcpy(p[0] + i * step[0] * size, p[1] + i * step[1] * size, (size_t)size);
}

/* Takes axis d off the walk. */
static int64_t take_axis(trine_iter *it, int32_t d, int64_t stride[TRINE_ITER_OPERANDS])
{
    for (int32_t k = d; k + 1 < it->ndim; k++) trine_iter_swap_axes(it, k, k + 1);
    return trine_iter_pop_inner(it, stride);
}

/* What a copy of so many elements needs at most. */
static size_t permuted_bytes(const trine_tensor *y)
{
    const int64_t size = trine_dtype_bits(y->dtype) / 8;
    const tiling t = {.size = size, .side = tile_side(size)};
    return span_should_stream(trine_tensor_numel(y) * size) ? (size_t)cpu_threads(INT32_MAX, 1) * 2 * tile_bytes(&t) : 0;
}

static void copy_permuted(char *workspace, const trine_tensor *y, const trine_tensor *x)
{
    const trine_tensor *both[] = {y, x};
    tiling t = {.batch = trine_iter_make(both, 2, 0), .size = trine_dtype_bits(y->dtype) / 8, .y = y->data, .x = x->data};
    const trine_iter *it = &t.batch;
    const int32_t last = it->ndim - 1;
    int32_t dense = -1; /* x's dense axis */
    for (int32_t d = 0; d < last; d++)
        if (it->stride[1][d] == 1) dense = d;
    if (it->numel == 0) return;
    if (it->stride[0][last] != 1 || it->stride[1][last] == 1 || dense < 0) {
        const cpu_walk w = cpu_walk_make(both, 2);
        cpu_walk_run(&w, copy_run, &t.size);
        return;
    }
    int64_t inner[TRINE_ITER_OPERANDS], across[TRINE_ITER_OPERANDS];
    t.stream = span_should_stream(it->numel * t.size);
    t.rows = take_axis(&t.batch, last, inner);
    t.cols = take_axis(&t.batch, dense, across);
    t.x_step = inner[1];
    t.y_step = across[0];
    t.side = tile_side(t.size);
    t.down = (t.rows + t.side - 1) / t.side;
    t.across = (t.cols + t.side - 1) / t.side;
    t.workspace = workspace;
    run_tiles(&t);
}

static trine_tensor permuted_view(const trine_tensor *x, const int32_t *axes)
{
    trine_tensor v = *x;
    for (int32_t d = 0; d < x->ndim; d++) {
        v.shape[d] = x->shape[axes[d]];
        v.stride[d] = x->stride[axes[d]];
    }
    return v;
}

trine_status TRINE_CPU(transpose)(trine_call *call, const trine_transpose_args *a)
{
    const trine_tensor x = trine_tensor_swap_axes(a->x, -1, -2);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, permuted_bytes(&a->y));
    copy_permuted(call->workspace, &a->y, &x);
    return TRINE_OK;
}

trine_status TRINE_CPU(permute)(trine_call *call, const trine_permute_args *a)
{
    const trine_tensor x = permuted_view(&a->x, a->axes);
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, permuted_bytes(&a->y));
    copy_permuted(call->workspace, &a->y, &x);
    return TRINE_OK;
}

/* Between `whole` and the pieces that lie in it one after the other. */
static trine_status copy_pieces(trine_call *call, const trine_tensor *whole, const trine_tensor pieces[TRINE_CONCAT_MAX],
                                int32_t axis, bool to_whole)
{
    trine_tensor part = *whole;
    if (axis < 0) axis += whole->ndim;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, permuted_bytes(whole));
    for (int i = 0; i < TRINE_CONCAT_MAX; i++) {
        if (!trine_is_given(&pieces[i])) continue;
        part.shape[axis] = pieces[i].shape[axis];
        if (to_whole)
            copy_permuted(call->workspace, &part, &pieces[i]);
        else
            copy_permuted(call->workspace, &pieces[i], &part);
        part.data = (char *)part.data + part.shape[axis] * part.stride[axis] * (trine_dtype_bits(part.dtype) / 8);
    }
    return TRINE_OK;
}

trine_status TRINE_CPU(concat)(trine_call *call, const trine_concat_args *a)
{
    return copy_pieces(call, &a->y, a->x, a->axis, true);
}

trine_status TRINE_CPU(split)(trine_call *call, const trine_split_args *a)
{
    return copy_pieces(call, &a->x, a->y, a->axis, false);
}

trine_status TRINE_CPU(gather)(trine_call *call, const trine_gather_args *a)
{
    return gather_rows(call, &a->x, &a->ids, &a->y, a->axis < 0 ? a->axis + a->x.ndim : a->axis);
}

trine_status TRINE_CPU(embedding)(trine_call *call, const trine_embedding_args *a)
{
    return gather_rows(call, &a->weight, &a->ids, &a->y, 0);
}

trine_status TRINE_CPU(scatter_add)(trine_call *call, const trine_scatter_add_args *a)
{
    return scatter_call(call, &a->x, &a->ids, &a->src, &a->y, a->axis < 0 ? a->axis + a->y.ndim : a->axis, false);
}

trine_status TRINE_CPU(embedding_backward)(trine_call *call, const trine_embedding_backward_args *a)
{
    const trine_tensor none = {0};
    return scatter_call(call, &none, &a->ids, &a->dy, &a->dweight, 0, false);
}
