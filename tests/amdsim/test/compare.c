/* V_CMP and V_CMPX: every condition of every type. */
#include <stdlib.h>

#include "test.h"

enum { FLOAT, SIGNED, UNSIGNED };
static const struct {
    const char *name;
    int kind, bits;
} types[] = {{"f16", FLOAT, 16},  {"f32", FLOAT, 32},    {"f64", FLOAT, 64},    {"i16", SIGNED, 16},  {"i32", SIGNED, 32},
             {"i64", SIGNED, 64}, {"u16", UNSIGNED, 16}, {"u32", UNSIGNED, 32}, {"u64", UNSIGNED, 64}};

/* By whether the first is less, equal, greater, or neither (a NaN): bits 0 to 3. */
static const struct {
    const char *name, *chips;
    int kinds, bits;
} conditions[] = {
    {"lt", "", 3, 1},   {"eq", "", 3, 2},   {"le", "", 3, 3},   {"gt", "", 3, 4},    {"ne", "", 2, 5},       {"ge", "", 3, 6},
    {"lg", "", 1, 5},   {"o", "", 1, 7},    {"u", "", 1, 8},    {"nge", "", 1, 9},   {"nlg", "", 1, 10},     {"ngt", "", 1, 11},
    {"nle", "", 1, 12}, {"neq", "", 1, 13}, {"nlt", "", 1, 14}, {"f", "gfx9", 3, 0}, {"tru", "gfx9", 1, 15}, {"t", "gfx9", 2, 15},
};

enum {
    TYPES = sizeof types / sizeof types[0],
    CONDITIONS = sizeof conditions / sizeof conditions[0],
    MOST = 2 * TYPES * CONDITIONS
};

static int order_of(int type, uint64_t a, uint64_t b)
{
    int bits = types[type].bits, up = 64 - bits;
    a = a << up >> up;
    b = b << up >> up;
    if (types[type].kind == FLOAT) {
        double x = as_double(a), y = as_double(b);
        if (bits < 64) x = bits == 32 ? as_float((uint32_t)a) : half_value((uint32_t)a);
        if (bits < 64) y = bits == 32 ? as_float((uint32_t)b) : half_value((uint32_t)b);
        return x < y ? 1 : x == y ? 2 : x > y ? 4 : 8;
    }
    int64_t x = (int64_t)(a << up) >> up, y = (int64_t)(b << up) >> up;
    if (types[type].kind == SIGNED) return x < y ? 1 : x == y ? 2 : 4;
    return a < b ? 1 : a == b ? 2 : 4;
}

typedef struct test {
    piece p;
    int type, condition;
    char name[48], text[256];
} test;

static void make(test *t, int type, int condition, bool x)
{
    bool nine = chip_is("gfx9"), wide = types[type].bits == 64;
    const char *a = wide ? "v[16:17]" : "v16", *b = wide ? "v[18:19]" : "v18", *mask = nine ? "vcc" : "vcc_lo";
    t->type = type;
    t->condition = condition;
    snprintf(t->name, sizeof t->name, "v_cmp%s_%s_%s", x ? "x" : "", conditions[condition].name, types[type].name);
    if (!x)
        snprintf(t->text, sizeof t->text, "%s %s, %s, %s\nv_cndmask_b32 v80, 0, 1, %s", t->name, mask, a, b, mask);
    else
        snprintf(t->text, sizeof t->text, "%s %s%s%s, %s\nv_mov_b32 v80, 1\ns_mov_b%s", t->name, nine ? mask : "",
                 nine ? ", " : "", a, b, nine ? "64 exec, -1" : "32 exec_lo, -1");
    t->p = (piece){.name = t->name, .chips = conditions[condition].chips, .text = t->text, .inputs = 4, .outputs = 1};
}

static bool has(int type, int condition)
{
    return conditions[condition].kinds & (types[type].kind == FLOAT ? 1 : 2) && chip_is(conditions[condition].chips);
}

/* Values that meet: small numbers of both signs, in floats with NaN, and now and then a difference in the upper half. */
static uint64_t value(int type, int salt)
{
    static const double floats[] = {0, -0.0, 1, -1, 2.5, -2.5, (double)INFINITY, -(double)INFINITY, (double)NAN, 1e-5, 3, -3};
    int n = abs(salt * 7 + salt / 5) % 12;
    if (types[type].kind != FLOAT) return (uint64_t)(int64_t)(n - 6) ^ (salt % 11 == 0 ? 1ull << (types[type].bits - 1) : 0);
    return types[type].bits == 64   ? double_bits(floats[n])
           : types[type].bits == 32 ? as_bits((float)floats[n])
                                    : half_code(floats[n]);
}

static void run(void *module, const test *t)
{
    static lanes in[4], out[1];
    char error[1024];
    int wrong = 0;
    for (int l = 0; l < LANES; l++) {
        uint64_t a = value(t->type, l), b = value(t->type, l * 5 + 3);
        in[0][l] = (uint32_t)a, in[1][l] = (uint32_t)(a >> 32), in[2][l] = (uint32_t)b, in[3][l] = (uint32_t)(b >> 32);
    }
    bool ran = run_once(module, &t->p, (const lanes *)in, out, error, sizeof error);
    for (int l = 0; ran && l < chip_wave(); l++) {
        int order = order_of(t->type, value(t->type, l), value(t->type, l * 5 + 3));
        wrong += out[0][l] != (uint32_t)((conditions[t->condition].bits & order) != 0);
    }
    check(ran && !wrong, "%s: %d lanes are wrong%s%s", t->name, wrong, ran ? "" : ", ", ran ? "" : error);
}

void compare_tests(void)
{
    static test tests[MOST];
    static piece pieces[MOST];
    int count = 0;
    for (int type = 0; type < TYPES; type++)
        for (int c = 0; c < CONDITIONS; c++)
            for (int x = 0; x < 2 && has(type, c); x++) make(&tests[count++], type, c, x);
    for (int k = 0; k < count; k++) pieces[k] = tests[k].p;
    void *module = assemble(pieces, count);
    check(module != NULL, "compare: the pieces could not be assembled");
    for (int k = 0; module && k < count; k++) run(module, &tests[k]);
}
