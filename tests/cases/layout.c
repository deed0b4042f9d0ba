/* Cases of the layout family. Where only bits are moved, everything is exact.
 *
 * scatter_add and embedding_backward: k normal numbers added up one after the other or in pieces are off by at most about
 * (sqrt(k) + k/8) u of a term's size, u = 2^-24 (rounding errors have random signs). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/cases/cases.h"
#include "tests/cases/sizes.h"

/* Element i of y comes from the element of x whose index along axis axes[d] is y's along d. */
static void oracle_permuted(const test_case *c, int64_t unit, const int32_t *axes, void *to)
{
    const case_tensor *x = case_find(c, "x"), *y = case_find(c, "y");
    int64_t at[TRINE_MAX_DIMS], from[TRINE_MAX_DIMS];
    case_unravel(y, unit, at);
    for (int32_t d = 0; d < x->ndim; d++) from[axes[d]] = at[d];
    memcpy(to, case_element(x, case_ravel(x, from)), (size_t)trine_dtype_bits(x->dtype) / 8);
}

static void oracle_transpose(const test_case *c, int64_t unit, void *const *out)
{
    int32_t axes[TRINE_MAX_DIMS], n = case_find(c, "x")->ndim;
    for (int32_t d = 0; d < n; d++) axes[d] = d < n - 2 ? d : 2 * n - 3 - d;
    oracle_permuted(c, unit, axes, out[0]);
}

static void oracle_permute(const test_case *c, int64_t unit, void *const *out)
{
    oracle_permuted(c, unit, ((const trine_permute_args *)(const void *)c->args)->axes, out[0]);
}

static void finish(test_case *c, void (*oracle)(const test_case *, int64_t, void *const *))
{
    c->units = case_find(c, "y")->numel;
    c->oracle_bits = oracle;
    c->vendor_exact = true;
    case_count_bytes(c);
}

static test_case *new_transpose(case_list *list, trine_dtype dtype, int64_t batch, int64_t rows, int64_t cols, case_layout layout)
{
    test_case *c = case_new(list, TRINE_OP_transpose, "%s %lldx%lldx%lld", trine_dtype_name(dtype), (long long)batch,
                            (long long)rows, (long long)cols);
    case_set_fill(case_in(c, "x", dtype, SHAPE(batch, rows, cols)), FILL_BITS, 0, 0);
    case_out(c, "y", dtype, SHAPE(batch, cols, rows));
    case_set_layout(c, layout);
    finish(c, oracle_transpose);
    return c;
}

void cases_transpose(case_list *list, case_kind kind)
{
    static const trine_dtype dtypes[] = {TRINE_F64, TRINE_F32, TRINE_BF16, TRINE_F8_E4M3FN, TRINE_BOOL};
    static const int64_t shapes[][3] = {{1, 1, 1},   {2, 0, 3},    {1, 1, 17},    {1, 17, 1},    {3, 2, 2},    {1, 31, 33},
                                        {2, 64, 64}, {1, 65, 127}, {3, 128, 192}, {1, 16, 1040}, {1, 257, 130}};
    if (kind == CASES_BENCH) {
        new_transpose(list, TRINE_F32, 1, 8192, 16384, LAYOUT_DENSE);
        new_transpose(list, TRINE_BF16, 1, 16384, 16384, LAYOUT_DENSE);
        new_transpose(list, TRINE_BF16, 64, 2048, 1024, LAYOUT_DENSE);
        new_transpose(list, TRINE_U8, 1, 16384, 32768, LAYOUT_DENSE);
        return;
    }
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++)
                new_transpose(list, dtypes[d], shapes[s][0], shapes[s][1], shapes[s][2], (case_layout)layout);
    for (int d = 0; d < 2; d++) new_transpose(list, dtypes[d], 1, 1088, 1040, LAYOUT_DENSE); /* tiles for all of a GPU */
}

/* The square of that many elements, or the wide half of it. */
SIZES_OF(transpose)
{
    int64_t side = 1;
    while (4 * side * side <= rows * n) side *= 2;
    new_transpose(list, dtype, 1, side, rows * n / side, LAYOUT_DENSE);
}

static test_case *new_permute(case_list *list, trine_dtype dtype, int32_t ndim, const int64_t *shape, const int32_t *axes,
                              case_layout layout)
{
    test_case *c = case_new(list, TRINE_OP_permute, "%s", trine_dtype_name(dtype));
    int64_t permuted[TRINE_MAX_DIMS];
    for (int32_t d = 0; d < ndim; d++) {
        size_t used = strlen(c->name);
        snprintf(c->name + used, sizeof c->name - used, "%s%lld:%d", d ? "," : " ", (long long)shape[d], (int)axes[d]);
        permuted[d] = shape[axes[d]];
        CASE_ARGS(c, permute)->axes[d] = axes[d];
    }
    case_set_fill(case_in(c, "x", dtype, ndim, shape), FILL_BITS, 0, 0);
    case_out(c, "y", dtype, ndim, permuted);
    case_set_layout(c, layout);
    finish(c, oracle_permute);
    return c;
}

/* Every order of the axes of a 4-d tensor. */
static void every_order(case_list *list, trine_dtype dtype, const int64_t *shape, case_layout layout)
{
    for (int i = 0; i < 256; i++) {
        const int32_t axes[4] = {i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6 & 3};
        if ((1 << axes[0] | 1 << axes[1] | 1 << axes[2] | 1 << axes[3]) == 15) new_permute(list, dtype, 4, shape, axes, layout);
    }
}

void cases_permute(case_list *list, case_kind kind)
{
    if (kind == CASES_BENCH) {
        new_permute(list, TRINE_BF16, 4, (int64_t[]){16, 4096, 16, 128}, (int32_t[]){0, 2, 1, 3}, LAYOUT_DENSE);
        new_permute(list, TRINE_F32, 4, (int64_t[]){64, 256, 64, 64}, (int32_t[]){0, 2, 3, 1}, LAYOUT_DENSE);
        return;
    }
    every_order(list, TRINE_F32, (int64_t[]){3, 5, 7, 9}, LAYOUT_DENSE);
    every_order(list, TRINE_BF16, (int64_t[]){2, 8, 72, 16}, LAYOUT_DENSE);
    every_order(list, TRINE_U8, (int64_t[]){4, 3, 33, 65}, LAYOUT_PADDED);
    every_order(list, TRINE_F64, (int64_t[]){2, 3, 5, 4}, LAYOUT_STRIDED);
    every_order(list, TRINE_F16, (int64_t[]){1, 70, 1, 66}, LAYOUT_DENSE);
    /* matrices of whole packs along two axes, and three */
    new_permute(list, TRINE_BF16, 4, (int64_t[]){2, 3, 64, 80}, (int32_t[]){0, 1, 3, 2}, LAYOUT_GAPPED);
    new_permute(list, TRINE_F32, 5, (int64_t[]){2, 3, 2, 64, 80}, (int32_t[]){0, 1, 2, 4, 3}, LAYOUT_GAPPED);
    new_permute(list, TRINE_I32, 0, (int64_t[]){0}, (int32_t[]){0}, LAYOUT_DENSE);
    new_permute(list, TRINE_I32, 3, (int64_t[]){3, 0, 2}, (int32_t[]){2, 1, 0}, LAYOUT_DENSE);
    new_permute(list, TRINE_I64, 8, (int64_t[]){2, 1, 3, 2, 1, 2, 3, 2}, (int32_t[]){7, 0, 6, 1, 5, 2, 4, 3}, LAYOUT_DENSE);
}

/* ---- concat, split ---- */

/* Which piece has index `at` along the axis; `at` becomes the index in it. */
static const case_tensor *piece_at(const test_case *c, char letter, int32_t axis, int64_t *at)
{
    for (int i = 0; i < TRINE_CONCAT_MAX; i++) {
        const char name[] = {letter, (char)('0' + i), '\0'};
        const case_tensor *piece = case_find(c, name);
        if (!piece) continue;
        if (*at < piece->shape[axis]) return piece;
        *at -= piece->shape[axis];
    }
    return NULL;
}

static void oracle_concat(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *y = case_find(c, "y");
    int32_t axis = ((const trine_concat_args *)(const void *)c->args)->axis;
    int64_t at[TRINE_MAX_DIMS];
    if (axis < 0) axis += y->ndim;
    case_unravel(y, unit, at);
    const case_tensor *x = piece_at(c, 'x', axis, &at[axis]);
    memcpy(out[0], case_element(x, case_ravel(x, at)), (size_t)trine_dtype_bits(y->dtype) / 8);
}

/* A unit is all that shares the indices before the axis. */
static void oracle_split(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = case_find(c, "x");
    int32_t axis = ((const trine_split_args *)(const void *)c->args)->axis;
    if (axis < 0) axis += x->ndim;
    int64_t inner = 1, before = 0;
    const size_t size = (size_t)trine_dtype_bits(x->dtype) / 8;
    for (int32_t d = axis + 1; d < x->ndim; d++) inner *= x->shape[d];
    for (int32_t k = 1; k < c->tensor_count; k++) {
        const int64_t length = c->tensor[k].shape[axis];
        for (int64_t i = 0; i < length * inner; i++)
            memcpy((char *)out[k - 1] + (size_t)i * size, case_element(x, (unit * x->shape[axis] + before) * inner + i), size);
        before += length;
    }
}

static test_case *new_pieces(case_list *list, trine_op op, trine_dtype dtype, int32_t ndim, const int64_t *shape, int32_t axis,
                             int32_t count, const int64_t *sizes, case_layout layout)
{
    const int32_t d = axis < 0 ? axis + ndim : axis;
    int64_t piece[TRINE_MAX_DIMS], whole[TRINE_MAX_DIMS], outer = 1;
    for (int32_t k = 0; k < ndim; k++) piece[k] = whole[k] = shape[k];
    for (int32_t k = 0; k < d; k++) outer *= shape[k];
    whole[d] = 0;
    for (int32_t i = 0; i < count; i++) whole[d] += sizes[i];
    test_case *c = case_new(list, op, "%s %dd axis %d of %lld in %d", trine_dtype_name(dtype), (int)ndim, (int)axis,
                            (long long)whole[d], (int)count);
    const bool concat = op == TRINE_OP_concat;
    if (!concat) case_set_fill(case_in(c, "x", dtype, ndim, whole), FILL_BITS, 0, 0);
    for (int32_t i = 0; i < count; i++) {
        const char name[] = {concat ? 'x' : 'y', (char)('0' + i), '\0'};
        piece[d] = sizes[i];
        if (concat)
            case_set_fill(case_in(c, name, dtype, ndim, piece), FILL_BITS, 0, 0);
        else
            case_out(c, name, dtype, ndim, piece);
    }
    if (concat) {
        c->units = case_out(c, "y", dtype, ndim, whole)->numel;
        c->oracle_bits = oracle_concat;
        CASE_ARGS(c, concat)->axis = axis;
    } else {
        c->units = c->tensor[0].numel ? outer : 0;
        c->oracle_bits = oracle_split;
        CASE_ARGS(c, split)->axis = axis;
    }
    case_set_layout(c, layout);
    c->vendor_exact = true;
    case_count_bytes(c);
    return c;
}

static void pieces_cases(case_list *list, case_kind kind, trine_op op)
{
    static const trine_dtype dtypes[] = {TRINE_F32, TRINE_BF16, TRINE_U8, TRINE_I64};
    static const int64_t sizes[][8] = {{5}, {3, 0, 4}, {16, 64}, {1, 2, 3, 4, 5, 6, 7, 8}};
    static const int32_t counts[] = {1, 3, 2, 8};
    if (kind == CASES_BENCH) {
        new_pieces(list, op, TRINE_BF16, 2, (int64_t[]){16384, 0}, 1, 3, (int64_t[]){4096, 1024, 1024}, LAYOUT_DENSE);
        new_pieces(list, op, TRINE_F32, 2, (int64_t[]){0, 4096}, 0, 2, (int64_t[]){8192, 8192}, LAYOUT_DENSE);
        return;
    }
    for (int d = 0; d < 4; d++)
        for (int s = 0; s < 4; s++)
            for (int32_t axis = -1; axis < 3; axis++) {
                new_pieces(list, op, dtypes[d], 3, (int64_t[]){3, 7, 10}, axis, counts[s], sizes[s], LAYOUT_DENSE);
                new_pieces(list, op, dtypes[d], 3, (int64_t[]){2, 5, 16}, axis, counts[s], sizes[s],
                           (case_layout)(1 + (d + s + axis + 1) % (LAYOUT_COUNT - 1)));
            }
    new_pieces(list, op, TRINE_F16, 1, (int64_t[]){0}, 0, 2, (int64_t[]){1000, 33}, LAYOUT_DENSE);
    new_pieces(list, op, TRINE_F16, 2, (int64_t[]){0, 4}, 1, 2, (int64_t[]){3, 5}, LAYOUT_DENSE);
    new_pieces(list, op, TRINE_F16, 2, (int64_t[]){3, 0}, 1, 2, (int64_t[]){0, 0}, LAYOUT_DENSE);
}

void cases_concat(case_list *list, case_kind kind) { pieces_cases(list, kind, TRINE_OP_concat); }
void cases_split(case_list *list, case_kind kind) { pieces_cases(list, kind, TRINE_OP_split); }

/* ---- By ids: table [outer, rows, inner], ids [n] (or [n / 3, 3]), taken [outer, n, inner] ---- */

typedef struct by_ids {
    int64_t outer, rows, inner, n;
    bool square;    /* ids have two axes */
    int64_t beyond; /* how far ids go below 0 and above the last row */
} by_ids;

/* The table's axes without those of size 1 at either end that `flat` leaves out. */
static int32_t table_shape(const by_ids *s, bool flat, int64_t *shape)
{
    int32_t n = 0;
    if (!flat) shape[n++] = s->outer;
    shape[n++] = s->rows;
    shape[n++] = s->inner;
    return n;
}

static int32_t taken_shape(const by_ids *s, bool flat, int64_t *shape)
{
    int32_t n = 0;
    if (!flat) shape[n++] = s->outer;
    shape[n++] = s->square ? s->n / 3 : s->n;
    if (s->square) shape[n++] = 3;
    shape[n++] = s->inner;
    return n;
}

static void add_ids(test_case *c, trine_dtype dtype, const by_ids *s)
{
    case_tensor *ids = s->square ? case_in(c, "ids", dtype, SHAPE(s->n / 3, 3)) : case_in(c, "ids", dtype, SHAPE(s->n));
    case_set_fill(ids, FILL_INTEGERS, (double)-s->beyond, (double)(s->rows - 1 + s->beyond));
}

/* Lengths of the table's parts: [outer, rows, inner]. */
static by_ids shape_of_case(const test_case *c, const case_tensor *table, int32_t axis)
{
    by_ids s = {1, table->shape[axis], 1, case_find(c, "ids")->numel, false, 0};
    for (int32_t d = 0; d < axis; d++) s.outer *= table->shape[d];
    for (int32_t d = axis + 1; d < table->ndim; d++) s.inner *= table->shape[d];
    return s;
}

static int32_t axis_of_gather(const test_case *c)
{
    const int32_t axis = c->op == TRINE_OP_embedding ? 0 : ((const trine_gather_args *)(const void *)c->args)->axis;
    return axis < 0 ? axis + c->tensor[0].ndim : axis;
}

static void oracle_gather(const test_case *c, int64_t unit, void *const *out)
{
    const case_tensor *x = &c->tensor[0];
    const by_ids s = shape_of_case(c, x, axis_of_gather(c));
    const int64_t id = case_value_i64(case_find(c, "ids"), unit % s.n), outer = unit / s.n;
    const size_t size = (size_t)trine_dtype_bits(x->dtype) / 8;
    memset(out[0], 0, size * (size_t)s.inner);
    for (int64_t j = 0; j < s.inner && id >= 0 && id < s.rows; j++)
        memcpy((char *)out[0] + (size_t)j * size, case_element(x, (outer * s.rows + id) * s.inner + j), size);
}

static test_case *new_gather(case_list *list, trine_op op, trine_dtype dtype, trine_dtype id_dtype, by_ids s, case_layout layout)
{
    const bool flat = op == TRINE_OP_embedding;
    int64_t shape[TRINE_MAX_DIMS];
    test_case *c =
        case_new(list, op, "%s %s %lldx%lldx%lld to %lld%s", trine_dtype_name(dtype), trine_dtype_name(id_dtype),
                 (long long)s.outer, (long long)s.rows, (long long)s.inner, (long long)s.n, s.square ? " in threes" : "");
    int32_t ndim = table_shape(&s, flat, shape);
    case_set_fill(case_in(c, flat ? "weight" : "x", dtype, ndim, shape), FILL_BITS, 0, 0);
    add_ids(c, id_dtype, &s);
    ndim = taken_shape(&s, flat, shape);
    const case_tensor *y = case_out(c, "y", dtype, ndim, shape);
    if (!flat) CASE_ARGS(c, gather)->axis = s.n % 2 ? 1 : -2;
    c->units = y->numel ? s.outer * s.n : 0;
    c->oracle_bits = oracle_gather;
    c->vendor_exact = true;
    case_set_layout(c, layout);
    case_count_bytes(c);
    c->bytes = 2.0 * (double)y->numel * trine_dtype_bits(dtype) / 8 + (double)s.n * trine_dtype_bits(id_dtype) / 8;
    return c;
}

static const by_ids by_ids_shapes[] = {{1, 7, 5, 12, false, 2},    {3, 11, 16, 9, true, 3},    {2, 100, 1, 33, false, 0},
                                       {1, 50, 136, 96, true, 1},  {5, 1, 64, 31, false, 1},   {2, 9, 257, 40, false, 0},
                                       {1, 6, 4096, 37, false, 2}, {1, 3, 1040, 70, false, 0}, {1, 0, 8, 5, false, 1},
                                       {1, 9, 8, 0, false, 0},     {2, 5, 0, 4, false, 0}};
enum { BY_IDS_SHAPES = sizeof by_ids_shapes / sizeof by_ids_shapes[0] };

static void gather_cases(case_list *list, case_kind kind, trine_op op)
{
    static const trine_dtype any[] = {TRINE_F32, TRINE_F16, TRINE_BF16, TRINE_U8, TRINE_F64};
    if (kind == CASES_BENCH) {
        new_gather(list, op, TRINE_BF16, TRINE_I32, (by_ids){1, 131072, 4096, 32768, false, 0}, LAYOUT_DENSE);
        new_gather(list, op, TRINE_F32, TRINE_I64, (by_ids){1, 1000000, 128, 524288, false, 0}, LAYOUT_DENSE);
        return;
    }
    for (int d = 0; d < (op == TRINE_OP_gather ? 5 : 3); d++)
        for (int i = 0; i < BY_IDS_SHAPES; i++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
                by_ids s = by_ids_shapes[i];
                if (op == TRINE_OP_embedding) s.outer = 1;
                new_gather(list, op, any[d], (d + i + layout) % 2 ? TRINE_I32 : TRINE_I64, s, (case_layout)layout);
            }
    if (op != TRINE_OP_gather) return;
    test_case *last = case_new(list, op, "f32 along the last axis"); /* ids lie along the innermost axis */
    case_in(last, "x", TRINE_F32, SHAPE(6, 40));
    case_set_fill(case_in(last, "ids", TRINE_I32, SHAPE(77)), FILL_INTEGERS, -1, 40);
    case_out(last, "y", TRINE_F32, SHAPE(6, 77));
    CASE_ARGS(last, gather)->axis = -1;
    last->units = 6 * 77;
    last->oracle_bits = oracle_gather;
    case_count_bytes(last);
    test_case *scalar = case_new(list, op, "f32 one id without axes");
    case_in(scalar, "x", TRINE_F32, SHAPE(6, 40));
    case_set_fill(case_in(scalar, "ids", TRINE_I64, 0, NULL), FILL_CONSTANT, 3, 0);
    case_out(scalar, "y", TRINE_F32, SHAPE(40));
    scalar->units = 1;
    scalar->oracle_bits = oracle_gather;
    case_count_bytes(scalar);
}

void cases_gather(case_list *list, case_kind kind) { gather_cases(list, kind, TRINE_OP_gather); }
void cases_embedding(case_list *list, case_kind kind) { gather_cases(list, kind, TRINE_OP_embedding); }
SIZES_OF(embedding)
{
    new_gather(list, TRINE_OP_embedding, dtype, TRINE_I64, (by_ids){1, 2048, n, rows, false, 0}, LAYOUT_DENSE);
}

/* ---- scatter_add, embedding_backward ---- */

static void oracle_scatter(const test_case *c, int64_t unit, double *const *out)
{
    const bool flat = c->op == TRINE_OP_embedding_backward;
    const case_tensor *x = flat ? NULL : case_find(c, "x"), *ids = case_find(c, "ids");
    const case_tensor *src = case_find(c, flat ? "dy" : "src"), *y = &c->tensor[c->tensor_count - 1];
    const int32_t axis = flat ? 0 : ((const trine_scatter_add_args *)(const void *)c->args)->axis;
    const by_ids s = shape_of_case(c, y, axis < 0 ? axis + y->ndim : axis);
    const int64_t row = unit % s.rows, outer = unit / s.rows;
    for (int64_t j = 0; j < s.inner; j++) out[0][j] = x ? case_value(x, unit * s.inner + j) : 0;
    for (int64_t i = 0; i < s.n; i++)
        for (int64_t j = 0; j < s.inner && case_value_i64(ids, i) == row; j++)
            out[0][j] += case_value(src, (outer * s.n + i) * s.inner + j);
}

static test_case *new_scatter(case_list *list, trine_op op, trine_dtype dtype, trine_dtype out, trine_dtype id_dtype, by_ids s,
                              bool base, case_layout layout)
{
    const bool flat = op == TRINE_OP_embedding_backward;
    int64_t shape[TRINE_MAX_DIMS];
    test_case *c = case_new(list, op, "%s to %s %s %lld to %lldx%lldx%lld%s%s", trine_dtype_name(dtype), trine_dtype_name(out),
                            trine_dtype_name(id_dtype), (long long)s.n, (long long)s.outer, (long long)s.rows, (long long)s.inner,
                            s.square ? " in threes" : "", base ? " onto x" : "");
    int32_t ndim = taken_shape(&s, flat, shape);
    const double terms = (double)case_in(c, flat ? "dy" : "src", dtype, ndim, shape)->numel;
    ndim = table_shape(&s, flat, shape);
    if (base) case_in(c, "x", out, ndim, shape);
    add_ids(c, id_dtype, &s);
    const case_tensor *y = case_out(c, flat ? "dweight" : "y", out, ndim, shape);
    if (!flat) CASE_ARGS(c, scatter_add)->axis = s.n % 2 ? 1 : -2;
    c->units = y->numel ? s.outer * s.rows : 0;
    c->oracle = oracle_scatter;
    const double k = 1 + (double)s.n / (double)(s.rows ? s.rows : 1) * 4; /* more than any id is likely to have */
    case_tolerance(c, out, 4 * 0x1p-24, 4 * (sqrt(k) + k / 8 + 2) * 0x1p-24);
    case_set_layout(c, layout);
    case_count_bytes(c);
    if (c->work > 1e6) c->work = (double)s.n * (double)c->units; /* a unit's oracle goes through all ids */
    c->flops = terms;
    return c;
}

static void scatter_cases(case_list *list, case_kind kind, trine_op op)
{
    const bool may_base = op == TRINE_OP_scatter_add;
    if (kind == CASES_BENCH) {
        new_scatter(list, op, TRINE_BF16, TRINE_BF16, TRINE_I32, (by_ids){1, 131072, 4096, 32768, false, 0}, may_base,
                    LAYOUT_DENSE);
        new_scatter(list, op, TRINE_BF16, TRINE_F32, TRINE_I32, (by_ids){1, 32768, 4096, 65536, false, 0}, false, LAYOUT_DENSE);
        new_scatter(list, op, TRINE_F32, TRINE_F32, TRINE_I64, (by_ids){1, 1024, 128, 1000000, false, 0}, false, LAYOUT_DENSE);
        return;
    }
    for (int d = 0; d < 3; d++) {
        for (int i = 0; i < BY_IDS_SHAPES; i++)
            for (int layout = 0; layout < LAYOUT_COUNT; layout++) {
                by_ids s = by_ids_shapes[i];
                const int turn = d + i + layout;
                if (!may_base) s.outer = 1;
                new_scatter(list, op, case_floats[d], turn % 3 ? case_floats[d] : TRINE_F32, turn % 2 ? TRINE_I32 : TRINE_I64, s,
                            may_base && turn % 4 < 2, (case_layout)layout);
            }
        /* ids with many rows, over tiles and blocks of the sort; many outputs */
        new_scatter(list, op, case_floats[d], case_floats[d], TRINE_I32, (by_ids){1, 2, 24, 3001, false, 1}, may_base,
                    LAYOUT_DENSE);
        new_scatter(list, op, case_floats[d], TRINE_F32, TRINE_I64, (by_ids){1, 5000, 8, 4100, false, 9}, false, LAYOUT_PADDED);
        new_scatter(list, op, case_floats[d], case_floats[d], TRINE_I32, (by_ids){1, 1, 3, 2049, false, 0}, false, LAYOUT_DENSE);
    }
    if (may_base)
        case_set_inplace(
            new_scatter(list, op, TRINE_BF16, TRINE_BF16, TRINE_I32, (by_ids){2, 40, 72, 100, false, 0}, true, LAYOUT_DENSE), "y",
            "x");
}

void cases_scatter_add(case_list *list, case_kind kind) { scatter_cases(list, kind, TRINE_OP_scatter_add); }
void cases_embedding_backward(case_list *list, case_kind kind) { scatter_cases(list, kind, TRINE_OP_embedding_backward); }
