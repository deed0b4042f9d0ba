/* The lists of tensors that the optimizer family is tried with: sizes and dtypes. */
#ifndef TRINE_TESTS_OPTIMIZER_LISTS_H
#define TRINE_TESTS_OPTIMIZER_LISTS_H

#include "tests/cases/cases.h"

typedef enum formats { F32_ALL, BF16_ALL, BF16_MASTER, F16_MASTER, F16_F32, MIXED } formats;
static const char *const format_names[] = {"f32", "bf16", "bf16 master", "f16 master", "f16 by f32", "mixed"};

typedef struct format {
    trine_dtype param, grad;
    bool master;
} format;

static inline format format_of(formats f, int64_t i)
{
    static const format fixed[] = {{TRINE_F32, TRINE_F32, false},
                                   {TRINE_BF16, TRINE_BF16, false},
                                   {TRINE_BF16, TRINE_BF16, true},
                                   {TRINE_F16, TRINE_F16, true},
                                   {TRINE_F16, TRINE_F32, false}};
    if (f != MIXED) return fixed[f];
    /* the first one has all that there is */
    const trine_dtype param = case_floats[(i + 1) % 3];
    return (format){param, case_floats[i / 3 % 3], param != TRINE_F32 && i / 9 % 2 == 0};
}

/* Sizes of the tensors: `count` of them, given or made by a rule. */
typedef struct sizes {
    const char *name;
    int64_t count, given[6];
    void (*rule)(int64_t i, int64_t shape[2]);
} sizes;

static void small_sizes(int64_t i, int64_t shape[2])
{
    shape[0] = i == 0 ? 2 : 1 + i % 5;
    shape[1] = i == 0 ? 31 : i == 50 ? 1999 : 1 + i * 7 % 61;
}

static void with_empty(int64_t i, int64_t shape[2])
{
    small_sizes(i, shape);
    if (i % 3 == 1 || i == 99) shape[i % 2] = 0;
}

/* Sixteen layers of a transformer of width 512, an embedding, and norms: in parts of 64. */
static void transformer(int64_t i, int64_t shape[2])
{
    static const int64_t rows[] = {1, 1, 1536, 1, 512, 1, 1, 1, 2048, 1, 512, 1},
                         columns[] = {512, 512, 512, 1536, 512, 512, 512, 512, 512, 2048, 2048, 512};
    shape[0] = i < 8 ? (i == 0 ? 8192 : 1) : rows[(i - 8) % 12];
    shape[1] = i < 8 ? 512 : columns[(i - 8) % 12];
}

enum { LAYERED = 200 };

static inline void shape_of(const sizes *s, int64_t i, int64_t shape[2])
{
    if (s->rule) {
        s->rule(i, shape);
        return;
    }
    /* in two axes where that leaves nothing over */
    shape[0] = s->given[i] % 7 == 0 ? 7 : 1;
    shape[1] = s->given[i] / shape[0];
}

static const sizes few[] = {
    {"1", 1, {1}, NULL},         {"3", 1, {3}, NULL}, {"1031", 1, {1031}, NULL}, {"4096", 1, {4096}, NULL},
    {"70007", 1, {70007}, NULL}, {"0", 1, {0}, NULL}, {"nothing", 0, {0}, NULL}, {"5 tensors", 5, {7, 2049, 0, 64, 3001}, NULL}};
static const sizes small_many = {"100 tensors", 100, {0}, small_sizes}, three_hundred = {"300 tensors", 300, {0}, small_sizes},
                   gaps_many = {"100 tensors, some empty", 100, {0}, with_empty}, large = {"2^26", 1, {1 << 26}, NULL},
                   layers = {"200 tensors", LAYERED, {0}, transformer};

/* ---- Cases ---- */

static const double u = 0x1p-24;

/* Rough work, for those who leave out what is long: all elements. */
static inline void finish(test_case *c, const sizes *s, bool bench)
{
    c->work = 0;
    for (int32_t k = 0; k < c->tensor_count; k++) c->work += (double)c->tensor[k].numel;
    c->units = bench ? 64 : 1;
    if (s == &large) c->units = 1 << 15;
    c->vendor_exact = c->op != TRINE_OP_global_norm;
    case_count_bytes(c);
}

static inline void tensor_number(test_case *c, const char *field, double value)
{
    case_set_fill(case_in(c, field, TRINE_F32, SHAPE(1)), FILL_CONSTANT, value, 0);
}

static inline double number_in(const test_case *c, const char *field, double otherwise)
{
    const case_tensor *t = case_find(c, field);
    return t ? case_value(t, 0) : otherwise;
}

/* What states are stored in bounds them. */
static inline double in_f32(double x) { return (double)(float)x; }

#endif
