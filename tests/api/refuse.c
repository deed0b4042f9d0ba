/* What every op must refuse, whatever its family: tensors that are malformed, missing, of the wrong dtype or shape. Refused means
 * INVALID_ARGUMENT, a text that names backend, op and argument, and not a byte written. Each op starts from a call that is valid.
 */
#include <string.h>

#include "core/fields.h"
#include "tests/api/calls.h"
#include "tests/unit/expect.h"

/* Or the attribute that says which axes they have in common, or how a filter's channels are divided. */
static bool names_a_field(const valid_call *x, const char *text)
{
    if (names_word(text, "axes") || names_word(text, "axis") || names_word(text, "window")) return true;
    for (int32_t i = 0; i < x->info->field_count; i++)
        if (names_word(text, x->info->fields[i].name)) return true;
    return false;
}

/* field NULL: any of the op's tensors may be the one that is named. */
static void expect_refused(valid_call *x, const char *what, const char *field)
{
    const char *op = x->info->name;
    trine_status status = trine_run(x->stream, x->op, x->args);
    const char *text = trine_error_text();
    CHECK(status == TRINE_ERROR_INVALID_ARGUMENT, "%s %s %s: status %s", op, field ? field : "", what, trine_status_name(status));
    CHECK(names_word(text, "cpu") && names_word(text, op), "%s %s: the text names no backend or op: %s", op, what, text);
    CHECK(field ? names_word(text, field) : names_a_field(x, text), "%s %s %s: the text names no argument: %s", op,
          field ? field : "", what, text);
    CHECK(valid_call_untouched(x), "%s %s %s: memory was written", op, field ? field : "", what);
    valid_call_restore(x);
}

/* The query refuses it with the same status, and a result of zeros. */
static void expect_query_refused(valid_call *x, const char *what)
{
    trine_query_result result, zeros;
    memset(&zeros, 0, sizeof zeros);
    memset(&result, 0xff, sizeof result);
    trine_status status = trine_query(x->stream, x->op, x->args, &result);
    CHECK(status == TRINE_ERROR_INVALID_ARGUMENT, "%s query %s: status %s", x->info->name, what, trine_status_name(status));
    CHECK(memcmp(&result, &zeros, sizeof zeros) == 0, "%s query %s: the result is not zeroed", x->info->name, what);
}

/* ---- One tensor, malformed ---- */

static const int64_t huge = (int64_t)1 << 62;

static bool ndim_negative(trine_tensor *t)
{
    t->ndim = -1;
    return true;
}

static bool ndim_nine(trine_tensor *t)
{
    t->ndim = TRINE_MAX_DIMS + 1;
    return true;
}

static bool ndim_largest(trine_tensor *t)
{
    t->ndim = INT32_MAX;
    return true;
}

static bool size_negative(trine_tensor *t)
{
    if (t->ndim < 1) return false;
    t->shape[t->ndim - 1] = -1;
    return true;
}

static bool size_overflowing(trine_tensor *t)
{
    *t = (trine_tensor){.data = t->data, .dtype = t->dtype, .ndim = 2, .shape = {huge, 4}, .stride = {4, 1}};
    return true;
}

static bool extent_overflowing(trine_tensor *t)
{
    if (t->ndim < 1 || t->shape[0] < 2) return false;
    t->stride[0] = INT64_MAX;
    return true;
}

static bool stride_negative(trine_tensor *t)
{
    if (t->ndim < 1) return false;
    t->stride[0] = -1;
    return true;
}

static bool misaligned(trine_tensor *t)
{
    t->data = (char *)t->data + 1;
    return trine_dtype_bits(t->dtype) > 8;
}

static bool dtype_unknown(trine_tensor *t)
{
    t->dtype = (trine_dtype)99;
    return true;
}

static bool dtype_largest(trine_tensor *t)
{
    t->dtype = (trine_dtype)-1;
    return true;
}

static bool dtype_nf4(trine_tensor *t)
{
    t->dtype = TRINE_NF4;
    return true;
}

static bool no_data(trine_tensor *t)
{
    t->data = NULL;
    return true;
}

static const struct {
    const char *what;
    bool (*apply)(trine_tensor *t);
    bool not_in_query; /* where data may be NULL */
} malformations[] = {
    {"with ndim -1", ndim_negative, false},
    {"with ndim 9", ndim_nine, false},
    {"with ndim INT32_MAX", ndim_largest, false},
    {"with a negative size", size_negative, false},
    {"with 2^62 x 4", size_overflowing, false},
    {"with a stride of INT64_MAX", extent_overflowing, false},
    {"with a negative stride", stride_negative, false},
    {"misaligned", misaligned, false},
    {"with dtype 99", dtype_unknown, false},
    {"with dtype -1", dtype_largest, false},
    {"of nf4", dtype_nf4, false},
    {"without data", no_data, true},
};

static void test_malformed(valid_call *x, int32_t field)
{
    for (size_t m = 0; m < sizeof malformations / sizeof malformations[0]; m++) {
        trine_tensor *t = valid_call_reset(x, field);
        if (!malformations[m].apply(t)) continue;
        /* a dtype may be called wrong by comparison with another tensor's */
        expect_refused(x, malformations[m].what, malformations[m].apply == dtype_nf4 ? NULL : x->info->fields[field].name);
        if (!malformations[m].not_in_query) expect_query_refused(x, malformations[m].what);
    }
}

/* Is "op field" in the list? */
static bool is_listed(const char *const *list, size_t count, const trine_op_info *info, const char *field)
{
    char name[64];
    snprintf(name, sizeof name, "%s %s", info->name, field);
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0) return true;
    return false;
}

/* Optional tensors whose absence gives the others another meaning: alone they may not go. */
static bool decides_form(const trine_op_info *info, const char *field)
{
    static const char *const deciding[] = {"gated up",
                                           "gated_backward up",
                                           "gated_backward dup",
                                           "rope cos",
                                           "rope sin",
                                           "sgd buffer",
                                           "adamw v_max",
                                           "layernorm residual",
                                           "rmsnorm residual",
                                           "layernorm_backward mean",
                                           "layernorm_backward rstd",
                                           "batchnorm running_mean",
                                           "batchnorm running_var",
                                           "batchnorm new_running_mean",
                                           "batchnorm new_running_var",
                                           "batchnorm_backward mean",
                                           "batchnorm_backward rstd",
                                           "pool_backward indices",
                                           "absmax_quantize mean",
                                           "absmax_dequantize mean",
                                           "int8_quantize scale",
                                           "int8_quantize given_scale",
                                           "fp8_quantize scale",
                                           "fp8_quantize given_scale",
                                           "grouped_matmul a_scale",
                                           "grouped_matmul b_scale",
                                           "grouped_matmul offsets",
                                           "grouped_matmul counts",
                                           "nf4_matmul scale",
                                           "nf4_matmul mean"};
    return is_listed(deciding, sizeof deciding / sizeof deciding[0], info, field);
}

/* A tensor that may be given in the place of the one before it: the call is made so. */
static bool takes_the_place(valid_call *x, int32_t field)
{
    static const char *const alternatives[] = {"int8_quantize given_scale", "fp8_quantize given_scale"};
    if (!is_listed(alternatives, sizeof alternatives / sizeof alternatives[0], x->info, x->info->fields[field].name))
        return false;
    *call_tensor(x->place.args, x->op, field) = *call_tensor(x->place.args, x->op, field - 1);
    *call_tensor(x->place.args, x->op, field - 1) = (trine_tensor){0};
    return true;
}

static void test_missing(valid_call *x, int32_t field)
{
    *valid_call_reset(x, field) = (trine_tensor){0};
    if (decides_form(x->info, x->info->fields[field].name)) {
        expect_refused(x, "not given", NULL);
        expect_query_refused(x, "not given");
        return;
    }
    const bool is_piece = x->op == TRINE_OP_concat || x->op == TRINE_OP_split; /* without it the sizes don't add up */
    if (x->info->fields[field].flags & TRINE_FIELD_OPTIONAL && !is_piece) {
        CHECK(trine_run(x->stream, x->op, x->args) == TRINE_OK, "%s without %s: %s", x->info->name, x->info->fields[field].name,
              trine_error_text());
        valid_call_restore(x);
        return;
    }
    expect_refused(x, "not given", is_piece ? NULL : x->info->fields[field].name);
    expect_query_refused(x, "not given");
}

/* ---- One tensor that does not fit the others ---- */

/* Bool is a dtype that hardly any op computes on; these tensors may have it. */
static bool may_be_bool(const trine_op_info *info, const char *field)
{
    static const char *const allowed[] = {"copy x", "copy y", "fill y", "dropout mask"};
    return is_listed(allowed, sizeof allowed / sizeof allowed[0], info, field);
}

static void test_other_dtype(valid_call *x, int32_t field)
{
    if (may_be_bool(x->info, x->info->fields[field].name)) return;
    valid_call_reset(x, field)->dtype = TRINE_BOOL;
    expect_refused(x, "of bool", NULL);
    expect_query_refused(x, "of bool");
}

/* The axis that a reduction goes along, that of a table by ids, and classes may have any size. */
static bool is_free_axis(valid_call *x, int32_t field, int32_t axis)
{
    const char *name = x->info->fields[field].name;
    int32_t along;
    if (x->op == TRINE_OP_cross_entropy) return axis == x->c->tensor[0].ndim - 1 && strcmp(name, "logits") == 0;
    if (x->op == TRINE_OP_segment_sum) return axis == 0 && strcmp(name, "y") == 0;
    if (strcmp(x->info->family, "reduce") == 0 && strcmp(name, "x") == 0)
        along = ((const trine_reduce_args *)(const void *)x->place.args)->axis;
    else if (x->op == TRINE_OP_gather && strcmp(name, "x") == 0)
        along = ((const trine_gather_args *)(const void *)x->place.args)->axis;
    else
        return axis == 0 && (strcmp(name, "weight") == 0 || strcmp(name, "dweight") == 0) &&
               strcmp(x->info->family, "layout") == 0;
    return along == TRINE_AXIS_ALL || along == axis || along + call_tensor(x->place.args, x->op, field)->ndim == axis;
}

static void test_other_shape(valid_call *x, int32_t field)
{
    /* fill, uniform, normal take any shape, as does each tensor of these lists */
    if (x->info->field_count == 1 && x->op != TRINE_OP_color_pattern) return;
    if ((x->op == TRINE_OP_global_norm || x->op == TRINE_OP_scale_list) && field == 0) return;
    const trine_tensor plain = *valid_call_reset(x, field);
    for (int32_t axis = x->op == TRINE_OP_color_pattern ? 2 : 0; axis < plain.ndim; axis++) {
        if (is_free_axis(x, field, axis)) continue;
        valid_call_reset(x, field)->shape[axis] += 7; /* +1 would make 4 channels of 3 */
        expect_refused(x, "with another size", NULL);
        expect_query_refused(x, "with another size");
    }
    if (plain.ndim == TRINE_MAX_DIMS) return;
    trine_tensor *t = valid_call_reset(x, field);
    t->shape[t->ndim] = 2;
    t->stride[t->ndim++] = 1;
    expect_refused(x, "with an axis more", NULL);
}

/* ---- The call ---- */

static void test_no_arguments(valid_call *x)
{
    EXPECT(call_by_name(NULL, x->op, x->args) == TRINE_ERROR_INVALID_ARGUMENT);
    CHECK(names_word(trine_error_text(), x->info->name) && names_word(trine_error_text(), "stream"), "%s: no stream: %s",
          x->info->name, trine_error_text());
    EXPECT(call_by_name(x->stream, x->op, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
    CHECK(names_word(trine_error_text(), x->info->name) && names_word(trine_error_text(), "args"), "%s: no args: %s",
          x->info->name, trine_error_text());
    trine_query_result result;
    EXPECT(trine_query(NULL, x->op, x->args, &result) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_query(x->stream, x->op, NULL, &result) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_query(x->stream, x->op, x->args, NULL) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_run(NULL, x->op, x->args) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(valid_call_untouched(x));
}

/* ---- Lists ---- */

static void test_list(valid_call *x, int32_t field)
{
    const trine_op_field *of = &x->info->fields[field];
    if (!(of->flags & TRINE_FIELD_LIST)) return;
    const struct {
        const char *what;
        int32_t count;
        bool null;
    } wrong[] = {{"of -1", -1, false},
                 {"of INT32_MIN", INT32_MIN, false},
                 {"too long", TRINE_LIST_MAX + 1, false},
                 {"of INT32_MAX", INT32_MAX, false},
                 {"without its tensors", 0, true}};
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
        valid_call_reset(x, field);
        trine_tensor_list *list = trine_field_list(x->args, of);
        if (wrong[w].null)
            list->at = NULL;
        else
            list->count = wrong[w].count;
        expect_refused(x, wrong[w].what, of->name);
        expect_query_refused(x, wrong[w].what);
    }
    /* a list of nothing beside others, unless it may be left out */
    valid_call_reset(x, field);
    if (of->flags & TRINE_FIELD_OPTIONAL || x->op == TRINE_OP_global_norm || x->op == TRINE_OP_scale_list) return;
    trine_field_list(x->args, of)->count--;
    expect_refused(x, "one shorter", NULL);
}

static void test_field(valid_call *x, int32_t field)
{
    test_malformed(x, field);
    test_missing(x, field);
    test_other_dtype(x, field);
    test_other_shape(x, field);
    test_list(x, field);
}

/* Of a tensor that goes together with other ones than the case with the most has. */
static void test_field_elsewhere(trine_stream *stream, trine_op op, int32_t field)
{
    const trine_op_info *info = trine_op_get_info(op);
    valid_call x;
    if (!valid_call_open_with(&x, stream, op, info->fields[field].name)) {
        fail("%s: no dense case gives %s", info->name, info->fields[field].name);
        return;
    }
    test_field(&x, field);
    valid_call_close(&x);
}

static void test_op(trine_stream *stream, trine_op op)
{
    valid_call x;
    const char *name = trine_op_get_info(op)->name;
    if (!valid_call_open(&x, stream, op)) {
        fail("%s: no case to start from", name);
        return;
    }
    trine_status status = call_by_name(stream, op, x.args);
    CHECK(status == TRINE_OK, "%s: case '%s' is not valid: %s", name, x.c->name, trine_error_text());
    CHECK(!valid_call_untouched(&x), "%s: nothing was computed", name);
    valid_call_restore(&x);
    test_no_arguments(&x);
    for (int32_t field = 0; field < x.info->field_count; field++) {
        if (valid_call_reset(&x, field)->dtype != TRINE_DTYPE_NONE || takes_the_place(&x, field))
            test_field(&x, field);
        else
            test_field_elsewhere(stream, op, field);
    }
    valid_call_close(&x);
}

int main(void)
{
    trine_stream *stream = cpu_stream();
    for (int op = 0; op < TRINE_OP_COUNT; op++) test_op(stream, (trine_op)op);
    trine_query_result result;
    EXPECT(trine_run(stream, TRINE_OP_COUNT, &result) == TRINE_ERROR_INVALID_ARGUMENT && strstr(trine_error_text(), "no op"));
    EXPECT(trine_run(stream, (trine_op)-1, &result) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(trine_query(stream, TRINE_OP_COUNT, &result, &result) == TRINE_ERROR_INVALID_ARGUMENT);
    EXPECT(!trine_op_get_info(TRINE_OP_COUNT) && !trine_op_get_info((trine_op)-1));
    trine_stream_destroy(stream);
    return finish();
}
