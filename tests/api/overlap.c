/* Outputs and what they may share memory with: themselves never, other outputs never, an input only as the very same view and
 * only where the op says so. Views that interleave without sharing an element are fine. */
#include <stdlib.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

static void expect_refused(valid_call *x, const char *what, int32_t field, const char *with)
{
    const char *name = x->info->fields[field].name;
    trine_status status = trine_run(x->stream, x->op, x->args);
    CHECK(status == TRINE_ERROR_INVALID_ARGUMENT, "%s: %s %s %s: status %s", x->info->name, name, what, with,
          trine_status_name(status));
    CHECK(names_word(trine_error_text(), x->info->name) && names_word(trine_error_text(), name),
          "%s: %s %s %s: the text names neither: %s", x->info->name, name, what, with, trine_error_text());
    CHECK(valid_call_untouched(x), "%s: %s %s %s: memory was written", x->info->name, name, what, with);
    valid_call_restore(x);
}

/* ---- Refused ---- */

static void test_stride_zero(valid_call *x, int32_t out)
{
    const trine_tensor plain = *valid_call_reset(x, out);
    for (int32_t axis = 0; axis < plain.ndim; axis++) {
        if (plain.shape[axis] < 2) continue;
        valid_call_reset(x, out)->stride[axis] = 0;
        expect_refused(x, "with stride 0", out, "");
    }
    if (plain.ndim < 2 || plain.shape[plain.ndim - 1] < 2 || plain.shape[plain.ndim - 2] < 2) return;
    valid_call_reset(x, out)->stride[plain.ndim - 2] = plain.shape[plain.ndim - 1] - 1; /* rows that share one element */
    expect_refused(x, "with rows that touch", out, "");
}

/* One element off, in both directions, and the same address as another kind of view. */
static void test_partial(valid_call *x, int32_t out, int32_t other)
{
    const trine_tensor *o = call_tensor(x->place.args, x->op, other), *y = call_tensor(x->place.args, x->op, out);
    int64_t size = trine_dtype_bits(y->dtype) / 8;
    if (trine_tensor_extent_bytes(o) > size) {
        valid_call_reset(x, out)->data = (char *)o->data + size;
        expect_refused(x, "one element behind", out, x->info->fields[other].name);
    }
    if (trine_tensor_extent_bytes(y) > size) {
        valid_call_reset(x, out)->data = (char *)o->data - size; /* within the guard before it */
        expect_refused(x, "one element before", out, x->info->fields[other].name);
    }
}

static bool same_view(const trine_tensor *a, const trine_tensor *b)
{
    bool same = a->dtype == b->dtype && a->ndim == b->ndim;
    for (int32_t d = 0; same && d < a->ndim; d++) same = a->shape[d] == b->shape[d] && a->stride[d] == b->stride[d];
    return same;
}

/* matmul reads a and b after it has written parts of d, scatter_add src after parts of y. */
static bool may_be_in_place(const valid_call *x, int32_t out, int32_t in)
{
    const char *name = x->info->fields[in].name, *to = x->info->fields[out].name;
    return (x->info->fields[out].flags & TRINE_FIELD_INPLACE) && (strncmp(to, "new_", 4) != 0 || strcmp(to + 4, name) == 0) &&
           (x->op != TRINE_OP_matmul || strcmp(name, "c") == 0) && (x->op != TRINE_OP_scatter_add || strcmp(name, "x") == 0);
}

/* Element i of a view, counted row-major. */
static char *element(const trine_tensor *t, int64_t i)
{
    int64_t offset = 0;
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        offset += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return (char *)t->data + offset * (trine_dtype_bits(t->dtype) / 8);
}

static void copy_tensor(const trine_tensor *to, const trine_tensor *from)
{
    for (int64_t i = 0; i < trine_tensor_numel(to); i++)
        memcpy(element(to, i), element(from, i), (size_t)trine_dtype_bits(to->dtype) / 8);
}

/* The elements of a view, dense and row-major. */
static void *gather(const trine_tensor *t)
{
    void *dense = malloc((size_t)trine_tensor_numel(t) * (size_t)trine_dtype_bits(t->dtype) / 8 + 1);
    if (!dense) return NULL;
    const trine_tensor to = trine_tensor_make(dense, t->dtype, t->ndim, t->shape);
    copy_tensor(&to, t);
    return dense;
}

static bool same_elements(const trine_tensor *a, const trine_tensor *b)
{
    void *left = gather(a), *right = gather(b);
    bool same = left && right && memcmp(left, right, (size_t)trine_tensor_numel(a) * (size_t)trine_dtype_bits(a->dtype) / 8) == 0;
    free(left);
    free(right);
    return same;
}

/* ---- In place: refused, or accepted with the result of the plain call ---- */

static void test_in_place(valid_call *x, int32_t out, int32_t in)
{
    trine_tensor *y = valid_call_reset(x, out), *source = call_tensor(x->args, x->op, in);
    bool accepted = may_be_in_place(x, out, in) && same_view(y, source);
    const trine_tensor plain = *y;
    y->data = source->data;
    if (!accepted) {
        expect_refused(x, "at the address of", out, x->info->fields[in].name);
        return;
    }
    EXPECT(trine_run(x->stream, x->op, x->place.args) == TRINE_OK);
    void *wanted = gather(&plain);
    valid_call_restore(x);
    trine_status status = trine_run(x->stream, x->op, x->args);
    CHECK(status == TRINE_OK, "%s: %s is %s in place: %s", x->info->name, x->info->fields[out].name, x->info->fields[in].name,
          trine_error_text());
    size_t bytes = (size_t)trine_tensor_numel(&plain) * (size_t)trine_dtype_bits(plain.dtype) / 8;
    void *got = gather(y);
    CHECK(wanted && got && memcmp(wanted, got, bytes) == 0, "%s: %s is %s in place: other bits", x->info->name,
          x->info->fields[out].name, x->info->fields[in].name);
    free(wanted);
    free(got);
    valid_call_restore(x);
}

/* ---- Interleaved: the column halves of one matrix ---- */

/* One half of the last axis of a tensor of t's shape with twice as many columns. */
static trine_tensor half_of(void *memory, const trine_tensor *t, int half)
{
    int64_t shape[TRINE_MAX_DIMS], cols = t->shape[t->ndim - 1];
    memcpy(shape, t->shape, sizeof shape);
    shape[t->ndim - 1] = 2 * cols;
    trine_tensor whole = trine_tensor_make(memory, t->dtype, t->ndim, shape);
    return trine_tensor_slice(whole, -1, half * cols, (half + 1) * cols, 1);
}

/* x in one half and y in the other of `shared`; then y with the same strides in `apart`, for comparison. */
static void run_interleaved(valid_call *x, int32_t out, int32_t in, int half, void *shared, void *apart)
{
    trine_tensor *y = valid_call_reset(x, out), *source = call_tensor(x->args, x->op, in);
    const trine_tensor original = *source;
    *source = half_of(shared, &original, half);
    copy_tensor(source, &original);
    *y = half_of(shared, y, 1 - half);
    trine_status status = trine_run(x->stream, x->op, x->args);
    /* contiguous only: UNSUPPORTED says so */
    bool dense = strcmp(x->info->family, "image") == 0 || strcmp(x->info->family, "optimizer") == 0;
    CHECK(status == (dense ? TRINE_ERROR_UNSUPPORTED : TRINE_OK), "%s: %s and %s interleave: %s", x->info->name,
          x->info->fields[out].name, x->info->fields[in].name, status == TRINE_OK ? "accepted" : trine_error_text());
    if (status != TRINE_OK) return;
    CHECK(same_elements(source, &original), "%s: %s and %s interleave: the input was written", x->info->name,
          x->info->fields[out].name, x->info->fields[in].name);
    const trine_tensor result = *y;
    *y = half_of(apart, y, 1 - half);
    EXPECT(trine_run(x->stream, x->op, x->args) == TRINE_OK);
    CHECK(same_elements(y, &result), "%s: %s and %s interleave: other bits", x->info->name, x->info->fields[out].name,
          x->info->fields[in].name);
}

static void test_interleaved(valid_call *x, int32_t out, int32_t in)
{
    const trine_tensor *y = valid_call_reset(x, out), *source = call_tensor(x->args, x->op, in);
    if (!same_view(y, source) || y->ndim < 2) return;
    size_t bytes = 2 * (size_t)trine_tensor_extent_bytes(y);
    void *shared = aligned_alloc(256, (bytes + 255) / 256 * 256), *apart = aligned_alloc(256, (bytes + 255) / 256 * 256);
    for (int half = 0; half < 2 && shared && apart; half++) {
        memset(shared, 0, bytes);
        memset(apart, 0, bytes);
        run_interleaved(x, out, in, half, shared, apart);
    }
    free(shared);
    free(apart);
    valid_call_restore(x);
}

/* ---- All pairs of an op ---- */

static void test_output(valid_call *x, int32_t out)
{
    test_stride_zero(x, out);
    for (int32_t i = 0; i < x->info->field_count; i++) {
        if (i == out || valid_call_reset(x, i)->dtype == TRINE_DTYPE_NONE) continue;
        test_partial(x, out, i);
        if (x->info->fields[i].flags & TRINE_FIELD_OUT) {
            valid_call_reset(x, out)->data = call_tensor(x->args, x->op, i)->data;
            /* of two outputs either may be the one that is named */
            EXPECT(trine_run(x->stream, x->op, x->args) == TRINE_ERROR_INVALID_ARGUMENT &&
                   strstr(trine_error_text(), "overlaps"));
            EXPECT(valid_call_untouched(x));
            continue;
        }
        test_in_place(x, out, i);
        test_interleaved(x, out, i);
    }
}

static void test_op(trine_stream *stream, trine_op op)
{
    valid_call x;
    if (!valid_call_open(&x, stream, op)) {
        fail("%s: no case to start from", trine_op_get_info(op)->name);
        return;
    }
    for (int32_t i = 0; i < x.info->field_count; i++)
        if ((x.info->fields[i].flags & TRINE_FIELD_OUT) && valid_call_reset(&x, i)->dtype != TRINE_DTYPE_NONE) test_output(&x, i);
    valid_call_close(&x);
}

/* ---- Shapes that the loop above doesn't reach ---- */

/* y's rows are padded, and a vector lies in the padding: no element is shared. */
static void test_vector_in_a_gap(trine_stream *stream)
{
    _Alignas(64) float memory[64] = {0}, x[32] = {0};
    trine_layernorm_args a = {
        .x = trine_tensor_2d(x, TRINE_F32, 4, 8), .y = trine_tensor_2d(memory, TRINE_F32, 4, 8), .eps = 1e-5f};
    a.y.stride[0] = 16;
    a.mean = trine_tensor_1d(memory + 8, TRINE_F32, 4);
    trine_query_result answer;
    EXPECT(trine_query(stream, TRINE_OP_layernorm, &a, &answer) == TRINE_OK);
    a.mean = trine_tensor_1d(memory + 7, TRINE_F32, 4);
    EXPECT(trine_query(stream, TRINE_OP_layernorm, &a, &answer) == TRINE_ERROR_INVALID_ARGUMENT);
    a.mean = trine_tensor_1d(memory + 13, TRINE_F32, 4);
    EXPECT(trine_query(stream, TRINE_OP_layernorm, &a, &answer) == TRINE_ERROR_INVALID_ARGUMENT);
}

/* Tensors without elements share nothing. */
static void test_empty(trine_stream *stream)
{
    _Alignas(64) float memory[64] = {0};
    trine_query_result answer;
    trine_matmul_args a = {
        .a = trine_tensor_2d(memory, TRINE_F32, 4, 0), .b = trine_tensor_2d(memory, TRINE_F32, 0, 4), .alpha = 1};
    a.d = trine_tensor_2d(memory, TRINE_F32, 4, 4);
    EXPECT(trine_query(stream, TRINE_OP_matmul, &a, &answer) == TRINE_OK);
    a.a = trine_tensor_2d(memory + 1, TRINE_F32, 4, 0);
    EXPECT(trine_query(stream, TRINE_OP_matmul, &a, &answer) == TRINE_OK);
    a.a = trine_tensor_2d(memory, TRINE_F32, 0, 4);
    a.b = trine_tensor_2d(memory, TRINE_F32, 4, 4);
    a.d = trine_tensor_2d(memory, TRINE_F32, 0, 4);
    EXPECT(trine_query(stream, TRINE_OP_matmul, &a, &answer) == TRINE_OK);
    trine_transpose_args t = {trine_tensor_2d(memory, TRINE_F32, 0, 4), trine_tensor_2d(memory, TRINE_F32, 4, 0)};
    EXPECT(trine_run(stream, TRINE_OP_transpose, &t) == TRINE_OK);
}

/* An input may overlap another input, and itself. */
static void test_inputs(trine_stream *stream)
{
    _Alignas(64) float memory[16] = {1, 2, 3, 4, 5}, y[4];
    trine_add_args a = {trine_tensor_1d(memory, TRINE_F32, 4), trine_tensor_1d(memory + 1, TRINE_F32, 4),
                        trine_tensor_1d(y, TRINE_F32, 4)};
    EXPECT(trine_add(stream, &a) == TRINE_OK && y[0] == 3 && y[3] == 9);
    a.a.stride[0] = 0;
    EXPECT(trine_add(stream, &a) == TRINE_OK && y[0] == 3 && y[3] == 6);
}

/* Lists so long that pairs are not looked at one by one unless something overlaps: in order, in a few rising runs, falling. */
static void test_lists(trine_stream *stream)
{
    enum { COUNT = 40, EACH = 3 };
    static const int steps[] = {1, 7, COUNT - 1};
    _Alignas(64) float memory[2 * COUNT * EACH], factor = 2;
    trine_tensor x[COUNT];
    const trine_scale_list_args a = {.x = {x, COUNT}, .factor = trine_tensor_1d(&factor, TRINE_F32, 1)};
    for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
        for (int i = 0; i < COUNT; i++) x[i] = trine_tensor_1d(memory + EACH * (i * steps[k] % COUNT), TRINE_F32, EACH);
        for (int i = 0; i < 2 * COUNT * EACH; i++) memory[i] = (float)i;
        EXPECT(trine_scale_list(stream, &a) == TRINE_OK && memory[1] == 2 && memory[COUNT * EACH - 1] == 2 * (COUNT * EACH - 1) &&
               memory[COUNT * EACH] == COUNT * EACH);
        for (int i = 0; i < COUNT; i++) { /* each of them, one element into the one before it in memory */
            float *const own = x[i].data;
            if (own == memory) continue;
            x[i].data = own - 1;
            EXPECT(trine_scale_list(stream, &a) == TRINE_ERROR_INVALID_ARGUMENT && strstr(trine_error_text(), "overlaps"));
            x[i].data = own;
        }
        EXPECT(trine_scale_list(stream, &a) == TRINE_OK);
        x[31].data = x[2].data;
        EXPECT(trine_scale_list(stream, &a) == TRINE_ERROR_INVALID_ARGUMENT && strstr(trine_error_text(), "overlaps"));
        x[31].shape[0] = 0;
        EXPECT(trine_scale_list(stream, &a) == TRINE_OK);
        x[31] = trine_tensor_1d(&factor, TRINE_F32, 1);
        EXPECT(trine_scale_list(stream, &a) == TRINE_ERROR_INVALID_ARGUMENT && names_word(trine_error_text(), "factor"));
    }
    /* inputs may be one tensor twice; one array of tensors may not be two lists that are updated */
    float norm = 0;
    trine_global_norm_args n = {.x = {x, 31}, .norm = trine_tensor_1d(&norm, TRINE_F32, 1)};
    x[3] = x[4];
    EXPECT(trine_global_norm(stream, &n) == TRINE_OK && norm > 0);
    const trine_adamw_args step = {.param = {x, 3}, .grad = {x + 10, 3}, .m = {x + 20, 3}, .v = {x + 20, 3}, .step = 1};
    EXPECT(trine_adamw(stream, &step) == TRINE_ERROR_INVALID_ARGUMENT && strstr(trine_error_text(), "overlaps"));
}

int main(void)
{
    trine_stream *stream = cpu_stream();
    for (int op = 0; op < TRINE_OP_COUNT; op++) test_op(stream, (trine_op)op);
    test_vector_in_a_gap(stream);
    test_empty(stream);
    test_inputs(stream);
    test_lists(stream);
    trine_stream_destroy(stream);
    return finish();
}
