/* Cases: what every op is checked and timed with. One file a family; `trine check`, `trine bench` and the tests all draw on the
 * same cases.
 *
 * A case is an op, its arguments (tensors described by dtype, shape, layout in memory and how to fill them), an oracle in f64 (or
 * exact bits) and the error that is allowed. A file defines `void cases_<op>(case_list *, case_kind)` for every op of its family;
 * an op without one does not link. */
#ifndef TRINE_TESTS_CASES_H
#define TRINE_TESTS_CASES_H

#include <stdbool.h>

#include "trine/trine.h"

enum { CASE_TENSORS = 1100, CASE_ARGS_MAX = 2048, CASE_OUT_MAX = 900 }; /* at most, in a case */

typedef enum case_kind {
    CASES_CHECK, /* small, many: odd shapes, views, special values */
    CASES_BENCH, /* what people run; large */
    CASES_SIZES  /* the commonest ops at many sizes; none of most ops (sizes.c) */
} case_kind;

/* How a tensor lies in memory. */
typedef enum case_layout {
    LAYOUT_DENSE,      /* row-major, 256-byte aligned */
    LAYOUT_OFFSET,     /* row-major, one element past an aligned address */
    LAYOUT_PADDED,     /* rows of the last axis are dense, but three elements apart from each other */
    LAYOUT_STRIDED,    /* every second element along the last axis, rows apart */
    LAYOUT_TRANSPOSED, /* the last two axes exchanged in memory */
    LAYOUT_COUNT,
    /* Not among those that cases try in turn: dense rows of the last axis at multiples of 16 elements, after every axis room for one
     * more; so no two axes can be walked as one. */
    LAYOUT_GAPPED = LAYOUT_COUNT,
    LAYOUT_APART, /* row-major, 16 elements between the first axis' steps: a part of a tensor with more along the second axis */
    LAYOUT_RANDOM /* axes in any order and apart from each other, by layout_seed */
} case_layout;

/* What an input is filled with; element i depends on the case's seed, the tensor and i alone. */
typedef enum case_fill {
    FILL_NORMAL,   /* a + b * standard normal */
    FILL_UNIFORM,  /* in [a, b) */
    FILL_INTEGERS, /* whole numbers in [a, b] */
    FILL_SORTED,   /* the same, in their order, more of the small ones; never repeated */
    FILL_STEPS,    /* a + b i: whole numbers in equal steps; never repeated */
    FILL_BITS,     /* any bit pattern of the dtype: NaN, inf, subnormals and all; bool: 0 or 1 */
    FILL_SPECIAL,  /* normal, and one in four (a > 0: in a) of: NaN, inf, -inf, 0, -0, tiny, huge, 1, -1 */
    FILL_CONSTANT  /* a */
} case_fill;

typedef struct case_tensor {
    int32_t field; /* index into the op's fields */
    int32_t item;  /* of a field that is a list: its place there */
    trine_dtype dtype;
    int32_t ndim;
    int64_t shape[TRINE_MAX_DIMS];
    case_layout layout;
    uint64_t layout_seed;
    int32_t repeated; /* of LAYOUT_RANDOM: the axis whose stride is 0, or -1 */
    case_fill fill;
    double a, b;
    int32_t inplace_of; /* outputs: index of the tensor whose memory it is, or -1 */
    bool output;
    bool updated; /* an output that is read before it is written: filled as an input is */
    int64_t numel;
    unsigned char *
        data; /* inputs and what is updated: the elements, dense and row-major; a large tensor repeats a block of `period` elements */
    int64_t period;
    double *values;    /* the same elements in f64, for oracles; NULL where a block is repeated */
    double rtol, atol; /* outputs: instead of the case's, if they are not both 0 */
} case_tensor;

typedef struct test_case test_case;
struct test_case {
    trine_op op;
    char name[160]; /* "softmax bf16 7x1000 padded" */
    int32_t tensor_count, tensor_room;
    case_tensor *tensor;
    _Alignas(16) unsigned char args[CASE_ARGS_MAX]; /* the op's struct; its tensors are put in by the driver (a list
                                                       is as long as it says here, if that is more than its tensors) */

    /* The outputs are made of `units` equal slices (rows, elements); unit u is elements [u n, (u+1) n) of an output with units *
     * n elements. One of the two is set. out[k] belongs to the k-th output. */
    int64_t units;
    void (*oracle)(const test_case *c, int64_t unit, double *const *out); /* values, compared by tolerance */
    void (*oracle_bits)(const test_case *c, int64_t unit,
                        void *const *out); /* elements of the output's dtype, compared bit for bit */
    double rtol, atol;                     /* |d - r| <= atol + rtol |r|, see case_tolerance */
    bool may_refuse;                       /* a backend may answer UNSUPPORTED */
    bool random;                           /* changed by chance: the op may find its arguments wrong */
    bool vendor_exact;                     /* bit for bit the same on every backend: its outputs go into the digest */
    double work;                           /* rough number of element operations, to leave out what is too long for a simulator */
    double bytes, flops;                   /* what the op must move and compute at least: for the roofline */
    uint64_t seed;
};

typedef struct case_list {
    test_case **items;
    int64_t count, capacity;
} case_list;

#define OP(family, name) void cases_##name(case_list *list, case_kind kind);
#include "trine/ops.def"
#undef OP
/* The cases of any op. */
void cases_of(trine_op op, case_list *list, case_kind kind);
void cases_free(case_list *list);

/* ---- Building a case ---- */

/* A new case at the end of the list. The name is printf-style; the op's name is put before it. Returned pointer stays valid until
 * cases_free. */
test_case *case_new(case_list *list, trine_op op, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Its arguments, to set attributes in: CASE_ARGS(c, softmax)->eps = ... */
#define CASE_ARGS(c, op_name) ((trine_##op_name##_args *)(void *)(c)->args)
/* Adds the op's tensor of that field name; inputs are filled FILL_NORMAL(0, 1) unless changed through the returned pointer before
 * the case is run. shape is as long as ndim. */
case_tensor *case_in(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape);
case_tensor *case_out(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape);
/* An output that the op reads first. */
case_tensor *case_update(test_case *c, const char *field, trine_dtype dtype, int32_t ndim, const int64_t *shape);
/* Fields that are lists: each call adds the next tensor of the list, or that of another `item` set through the pointer. A case of
 * more than 12 tensors says how many before it adds them, since the pointers would move. */
void case_reserve(test_case *c, int32_t tensors);
#define SHAPE(...) \
    (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }
/* Sets fill and its two numbers. */
void case_set_fill(case_tensor *t, case_fill fill, double a, double b);
/* Puts the layout on every tensor of the case and its name into the case's name. */
void case_set_layout(test_case *c, case_layout layout);
/* Makes output `out` share the memory of input `in` (fields by name). */
void case_set_inplace(test_case *c, const char *out, const char *in);
/* Sets rtol and atol: what the f32 computation may be off by, plus half a unit of the output's dtype for its one rounding. */
void case_tolerance(test_case *c, trine_dtype out_dtype, double f32_rtol, double f32_atol);
/* The same for one output of a case whose outputs have different bounds or dtypes. */
void case_tensor_tolerance(case_tensor *t, double f32_rtol, double f32_atol);
/* bytes = every tensor once, those that are updated twice; call when all tensors are added. */
void case_count_bytes(test_case *c);
const char *case_layout_name(case_layout layout);

/* ---- For oracles ---- */

/* Tensor of a field (of a list the first), NULL if the case has none. */
const case_tensor *case_find(const test_case *c, const char *field);
const case_tensor *case_find_item(const test_case *c, const char *field, int32_t item);
/* "x", or "x[3]" of a list. Returns text. */
enum { CASE_TEXT = 64 };
const char *case_tensor_name(const test_case *c, const case_tensor *t, char text[CASE_TEXT]);
/* Value of element i (row-major), exact. */
double case_converted(const case_tensor *t, int64_t i);
static inline double case_value(const case_tensor *t, int64_t i) { return t->values ? t->values[i] : case_converted(t, i); }
/* Of n elements from `first` on. */
void case_values(const case_tensor *t, int64_t first, int64_t n, double *to);
int64_t case_value_i64(const case_tensor *t, int64_t i);
/* Address of element i; a tensor that is not repeated has the others behind it. */
const void *case_element(const case_tensor *t, int64_t i);
/* Row-major index of `from`'s element that broadcasting puts at element i of a tensor of shape `to`. */
int64_t case_broadcast_index(const case_tensor *from, const case_tensor *to, int64_t i);
/* Splits i into indices along t's axes, and back. */
void case_unravel(const case_tensor *t, int64_t i, int64_t index[TRINE_MAX_DIMS]);
int64_t case_ravel(const case_tensor *t, const int64_t index[TRINE_MAX_DIMS]);

/* ---- For drivers ---- */

/* Makes the inputs' data; false without memory. Fills a tensor of more than `repeat` elements with copies of its first elements
 * (0: never). */
bool case_prepare(test_case *c, int64_t repeat);
void case_release(test_case *c);

/* Counter-based: 64 well-mixed bits of (seed, index). */
uint64_t case_hash(uint64_t seed, uint64_t index);

/* The dtypes that most ops have. */
extern const trine_dtype case_floats[3];

#endif
