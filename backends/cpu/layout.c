/* transpose, permute, concat and split on the CPU; gather.h and scatter.h have the ops that go by ids. Bound by bytes.
 *
 * A permutation is a copy from a view of x whose axes stand in y's order. Where y's dense axis is also x's, runs are copied. Else
 * tiles of the two dense axes are turned in L1, by exchanges between vectors of 16 bytes, so that both sides move whole lines;
 * other axes are walked outside. */
#include "backends/cpu/gather.h"
#include "backends/cpu/layout_runs.h"
#include "backends/cpu/level.h"
#include "backends/cpu/scatter.h"
#include "backends/cpu/walk.h"

/* Rows of a tile have so many bytes on both sides, but no more than TILE_MOST elements: long enough for memory to open its pages
 * for. (Zen 5, bf16: rows of 128 bytes 29 GB/s, 256: 41, 512: 52 of a copy's 60; Granite Rapids,
 * f32: 25, 27, 22, and of 1024 bytes 23 of 53.) A tile is turned in strips of STRIP rows. In
 * the buffers a line lies between rows, so that they don't fall into the same sets of the L1 cache. */
enum { TILE_BYTES = 512, TILE_BYTES_INTEL = 256, TILE_MOST = 256, STRIP = 16, LINE = 64 };

/* Blocks of n rows of vectors of `bytes`, in which n columns stand together, `sets` times: interleaving row i with row i + n/2,
 * log2(n) times, transposes each set. low, high: the vector's interleaved first and second halves of each set. */
#define TURN_BLOCK(name, type, bytes, n, low, high) \
    typedef type name##_vector __attribute__((vector_size(bytes), aligned(sizeof(type)), may_alias)); \
    typedef type name##_part __attribute__((vector_size((n) * sizeof(type)), aligned(sizeof(type)), may_alias)); \
    static inline void name##_block(type *to, int64_t to_step, const type *from, int64_t from_step) \
    { \
        enum { N = (n), SETS = (bytes) / ((n) * (int)sizeof(type)) }; \
        name##_vector a[N], b[N]; \
        for (int i = 0; i < N; i++) a[i] = *(const name##_vector *)(from + i * from_step); \
        for (int stage = 1; stage < N; stage *= 2) { \
            for (int i = 0; i < N / 2; i++) { \
                b[2 * i] = __builtin_shuffle(a[i], a[i + N / 2], (name##_vector)low); \
                b[2 * i + 1] = __builtin_shuffle(a[i], a[i + N / 2], (name##_vector)high); \
            } \
            for (int i = 0; i < N; i++) a[i] = b[i]; \
        } \
        for (int i = 0; i < N; i++) { \
            name##_part part[SETS]; \
            memcpy(part, &a[i], sizeof part); \
            for (int k = 0; k < SETS; k++) *(name##_part *)(to + (k * N + i) * to_step) = part[k]; \
        } \
    } \
    /* The whole blocks of a tile of rows x cols at `from`, which becomes cols x rows at `to`. */ \
    static inline void name##_blocks(type *to, int64_t to_step, const type *from, int64_t from_step, int64_t rows, int64_t cols) \
    { \
        const int64_t across = (bytes) / (int64_t)sizeof(type); \
        for (int64_t r = 0; r + (n) <= rows; r += (n)) \
            for (int64_t c = 0; c + across <= cols; c += across) \
                name##_block(to + c * to_step + r, to_step, from + r * from_step + c, from_step); \
    }
#define LIST(...) \
    { \
        __VA_ARGS__ \
    }
#define LOW_2 LIST(0, 2)
#define HIGH_2 LIST(1, 3)
#define LOW_4 LIST(0, 4, 1, 5)
#define HIGH_4 LIST(2, 6, 3, 7)
#define LOW_8 LIST(0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_8 LIST(4, 12, 5, 13, 6, 14, 7, 15)
#define LOW_16 LIST(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_16 LIST(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
TURN_BLOCK(turn8, uint8_t, 16, 16, LOW_16, HIGH_16)
TURN_BLOCK(turn16, uint16_t, 16, 8, LOW_8, HIGH_8)
TURN_BLOCK(turn32, uint32_t, 16, 4, LOW_4, HIGH_4)
TURN_BLOCK(turn64, uint64_t, 16, 2, LOW_2, HIGH_2)
#if defined __AVX512BW__
#define LOW_16_16 \
    LIST(0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55)
#define HIGH_16_16 \
    LIST(8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, \
         31, 63)
TURN_BLOCK(wide16, uint16_t, 64, 16, LOW_16_16, HIGH_16_16)
TURN_BLOCK(wide32, uint32_t, 64, 16, LOW_16, HIGH_16)
TURN_BLOCK(wide64, uint64_t, 64, 8, LOW_8, HIGH_8)
#endif

/* A tile of rows x cols at `from` becomes cols x rows at `to`: whole blocks, then what is left element by element. */
#define TURN_TILE(name, type, n) \
    static void name##_tile(void *to_, int64_t to_step, const void *from_, int64_t from_step, int64_t rows, int64_t cols) \
    { \
        type *to = to_; \
        const type *from = from_; \
        const int64_t whole_rows = rows / (n) * (n), whole_cols = cols / (n) * (n); \
        name##_blocks(to, to_step, from, from_step, rows, cols); \
        for (int64_t r = 0; r < rows; r++) \
            for (int64_t c = r < whole_rows ? whole_cols : 0; c < cols; c++) to[c * to_step + r] = from[r * from_step + c]; \
    }
TURN_TILE(turn8, uint8_t, 16)
TURN_TILE(turn16, uint16_t, 8)
TURN_TILE(turn32, uint32_t, 4)
TURN_TILE(turn64, uint64_t, 2)

typedef void (*turn_tile_fn)(void *to, int64_t to_step, const void *from, int64_t from_step, int64_t rows, int64_t cols);
static const turn_tile_fn turn_tile_of[] = {[1] = turn8_tile, [2] = turn16_tile, [4] = turn32_tile, [8] = turn64_tile};

/* A line's length of columns, of STRIP rows where the processor has blocks as large. */
static void turn_line(int64_t size, void *to, int64_t to_step, const void *from, int64_t from_step, int64_t rows, int64_t cols)
{
    const bool whole = rows == STRIP && cols * size == LINE;
#if defined __AVX512BW__
    if (whole && size == 2) {
        wide16_block(to, to_step, from, from_step);
        return;
    }
    if (whole && size == 4) {
        wide32_block(to, to_step, from, from_step);
        return;
    }
    if (whole && size == 8) {
        wide64_blocks(to, to_step, from, from_step, rows, cols);
        return;
    }
#endif
    (void)whole;
    turn_tile_of[size](to, to_step, from, from_step, rows, cols);
}

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

static int64_t tile_side(int64_t size) { return least((prefers_l2() ? TILE_BYTES_INTEL : TILE_BYTES) / size, TILE_MOST); }

/* From one row to the next in a buffer, in bytes and in elements. */
static int64_t buffer_step(const tiling *t) { return t->side * t->size + LINE; }

/* A thread's buffers: of two turned tiles and of two strips as they were taken. */
static size_t tile_bytes(const tiling *t) { return (size_t)(2 * (t->side + STRIP) * buffer_step(t)); }

/* Rows lie too far apart for the processor to see where the reading goes. */
static void ask_for_row(const tiling *t, const tile *from, int64_t r)
{
    const char *row = from->x + r * t->x_step * t->size;
    for (int64_t byte = 0; r < from->rows && byte < from->cols * t->size; byte += LINE) ask_for_line(row + byte);
}

static void take_row(const tiling *t, const tile *from, int64_t r, char *taken)
{
    if (r < from->rows)
        memcpy(taken + r % STRIP * buffer_step(t), from->x + r * t->x_step * t->size, (size_t)(from->cols * t->size));
}

static void put_row(const tiling *t, const tile *done, int64_t r, const char *turned)
{
    if (r < done->cols)
        span_copy_bytes(done->y + r * t->y_step * t->size, turned + r * buffer_step(t), done->rows * t->size, true);
}

/* Tiles that follow each other: what leaves, what is turned, what comes. */
typedef struct tiles_in_hand {
    tile done, this, next;
    char *left, *turned, *taken[2];
} tiles_in_hand;

/* Row `r` of this tile, or behind its last one of the next. */
static const tile *tile_of_row(const tiling *t, const tiles_in_hand *h, int64_t *r)
{
    if (*r < t->side) return &h->this;
    *r -= t->side;
    return &h->next;
}

/* Row r: of the strip behind the next one it is asked for, of the next one taken, of the tile that is done it leaves. */
static void move_rows(const tiling *t, const tiles_in_hand *h, int64_t r, char *next_strip)
{
    int64_t asked = r + 2 * STRIP, taken = r + STRIP;
    const tile *ask = tile_of_row(t, h, &asked), *take = tile_of_row(t, h, &taken);
#if defined __AVX512F__
    /* A line of each at a time, for requests, reads and writes in bursts wait for each other on Intel's processors (prefetch.h; on a
     * Zen 5 bf16 takes 1.1 times as long so). */
    const int64_t bytes = t->side * t->size, pitch = buffer_step(t);
    char *const to = r < h->done.cols ? h->done.y + r * t->y_step * t->size : NULL;
    if (prefers_l2() && to && h->done.rows == t->side && taken < take->rows && take->cols == t->side &&
        ((uintptr_t)to | (uintptr_t)bytes) % LINE == 0) {
        const char *const from = take->x + taken * t->x_step * t->size, *const left = h->left + r * pitch,
                          *const soon = asked < ask->rows ? ask->x + asked * t->x_step * t->size : from;
        char *const own = next_strip + taken % STRIP * pitch;
        for (int64_t i = 0; i < bytes; i += LINE) {
            ask_for_line(soon + i);
            _mm512_storeu_si512(own + i, _mm512_loadu_si512(from + i));
            _mm512_stream_si512((void *)(to + i), _mm512_loadu_si512(left + i));
        }
        return;
    }
#endif
    ask_for_row(t, ask, asked);
    take_row(t, take, taken, next_strip);
    put_row(t, &h->done, r, h->left);
}

/* Turns rows [row, row + STRIP) of this tile, line by line. Between lines, rows of the strip behind are taken (in a buffer, for
 * in many shapes the lines of a column share a set of the caches), those of the strip behind that are asked for, and rows of the
 * tile that is done leave. */
static void turn_strip(const tiling *t, const tiles_in_hand *h, int64_t row)
{
    const int64_t lines = t->side * t->size / LINE, at_a_time = STRIP / lines, step = buffer_step(t) / t->size,
                  rows = least(STRIP, h->this.rows - row), across = LINE / t->size, strip = row / STRIP;
    for (int64_t k = 0; k < lines; k++) {
        const int64_t c = k * across;
        if (rows > 0 && c < h->this.cols)
            turn_line(t->size, h->turned + (c * step + row) * t->size, step, h->taken[strip % 2] + c * t->size, step, rows,
                      least(across, h->this.cols - c));
        for (int64_t r = row + k * at_a_time; r < row + (k + 1) * at_a_time; r++) move_rows(t, h, r, h->taken[(strip + 1) % 2]);
    }
}

static void run_tiles_streamed(const tiling *t, cpu_range range)
{
    const int64_t turned = t->side * buffer_step(t), strip = STRIP * buffer_step(t);
    const tile none = {NULL, NULL, 0, 0};
    char *const buffer = t->workspace + (size_t)cpu_thread() * tile_bytes(t);
    tiles_in_hand h = {none,   tile_at(t, range.begin), none,
                       buffer, buffer + turned,         {buffer + 2 * turned, buffer + 2 * turned + strip}};
    for (int64_t r = 0; r < STRIP; r++) take_row(t, &h.this, r, h.taken[0]);
    for (int64_t i = range.begin; i <= range.end; i++) {
        char *const empty = h.left;
        h.next = i + 1 < range.end ? tile_at(t, i + 1) : none;
        for (int64_t row = 0; row < t->side; row += STRIP) turn_strip(t, &h, row);
        h.done = h.this;
        h.this = h.next;
        h.left = h.turned;
        h.turned = empty;
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
    const size_t tiles = tile_bytes(&t), runs = runs_workspace();
    if (!span_should_stream(trine_tensor_numel(y) * size)) return 0;
    return (size_t)cpu_threads(INT32_MAX, 1) * (tiles > runs ? tiles : runs);
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
    t.stream = span_should_stream(it->numel * t.size);
    if (t.stream && it->stride[0][last] == 1 && it->stride[1][last] == 1 && runs_exchange(it, t.y, t.x, t.size, workspace))
        return;
    if (it->stride[0][last] != 1 || it->stride[1][last] == 1 || dense < 0) {
        const cpu_walk w = cpu_walk_make(both, 2);
        cpu_walk_run(&w, copy_run, &t.size);
        return;
    }
    int64_t inner[TRINE_ITER_OPERANDS], across[TRINE_ITER_OPERANDS];
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

/* Pieces of the same rows, side by side. */
static bool split_rows(const trine_tensor *whole, const trine_tensor pieces[TRINE_CONCAT_MAX], int32_t axis)
{
    runs_rows copies[TRINE_CONCAT_MAX];
    trine_tensor part = *whole;
    int count = 0;
    if (!span_should_stream(trine_tensor_numel(whole) * (trine_dtype_bits(whole->dtype) / 8))) return false;
    for (int i = 0; i < TRINE_CONCAT_MAX; i++) {
        if (!trine_is_given(&pieces[i]) || pieces[i].shape[axis] == 0) continue;
        part.shape[axis] = pieces[i].shape[axis];
        if (!runs_rows_make(&copies[count], &pieces[i], &part) || copies[count].rows != copies[0].rows) return false;
        part.data = (char *)part.data + part.shape[axis] * part.stride[axis] * (trine_dtype_bits(part.dtype) / 8);
        count++;
    }
    if (count == 0 || copies[0].rows == 1) return false;
    runs_rows_together(copies, count);
    return true;
}

/* Between `whole` and the pieces that lie in it one after the other. */
static trine_status copy_pieces(trine_call *call, const trine_tensor *whole, const trine_tensor pieces[TRINE_CONCAT_MAX],
                                int32_t axis, bool to_whole)
{
    trine_tensor part = *whole;
    if (axis < 0) axis += whole->ndim;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, permuted_bytes(whole));
    if (!to_whole && split_rows(whole, pieces, axis)) return TRINE_OK;
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
