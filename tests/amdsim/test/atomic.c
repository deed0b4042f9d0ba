/* Atomics: every operation, on global memory, through a buffer and on LDS, with what it returns and what it leaves. Each lane has
 * a place of its own. */
#include "test.h"

typedef uint64_t after(uint64_t memory, uint64_t data);
#define A(name, value) \
    static uint64_t name(uint64_t m, uint64_t d) \
    { \
        (void)m; \
        return (uint64_t)(value); \
    }
#define LOW(x) ((uint32_t)(x))
static uint64_t bf16_sum(uint64_t x, uint64_t y)
{
    uint32_t sum = B(F(LOW(x) << 16) + F(LOW(y) << 16));
    return (sum + 0x7fff + (sum >> 16 & 1)) >> 16;
}
A(add, m + d)
A(sub, m - d)
A(rsub, d - m)
A(and_, m &d)
A(or_, m | d)
A(xor_, m ^ d)
A(swap, d)
A(umin, m < d ? m : d)
A(umax, m > d ? m : d)
A(smin, (int32_t)m < (int32_t)d ? m : d)
A(smax, (int32_t)m > (int32_t)d ? m : d)
A(smin64, (int64_t)m < (int64_t)d ? m : d)
A(smax64, (int64_t)m > (int64_t)d ? m : d)
A(inc, m >= d ? 0 : m + 1)
A(dec, m == 0 || m > d ? d : m - 1)
A(compared, m == 5 ? d : m)
A(float_sum, B(F(LOW(m)) + F(LOW(d))))
A(fmin32, F(LOW(m)) < F(LOW(d)) ? m : d)
A(fmax32, F(LOW(m)) > F(LOW(d)) ? m : d)
A(dadd, double_bits(as_double(m) + as_double(d)))
A(dmin64, as_double(m) < as_double(d) ? m : d)
A(dmax64, as_double(m) > as_double(d) ? m : d)
A(pk_f16, half_code(half_value(LOW(m) & 0xffff) + half_value(LOW(d) & 0xffff)) |
              half_code(half_value(LOW(m) >> 16) + half_value(LOW(d) >> 16)) << 16)
A(pk_bf16, bf16_sum(m & 0xffff, d & 0xffff) | bf16_sum(m >> 16, d >> 16) << 16)

enum { INTEGERS, FLOATS, DOUBLES, HALVES, BFLOATS };
static const struct {
    const char *global9, *global11, *ds; /* after atomic_ and ds_; NULL: there is none */
    const char *chips_global, *chips_ds;
    int bytes, data;
    after *result;
} operations[] = {
    {"add", "add_u32", "add_%su32", "", "", 4, INTEGERS, add},
    {"sub", "sub_u32", "sub_%su32", "", "", 4, INTEGERS, sub},
    {NULL, NULL, "rsub_%su32", "", "", 4, INTEGERS, rsub},
    {"and", "and_b32", "and_%sb32", "", "", 4, INTEGERS, and_},
    {"or", "or_b32", "or_%sb32", "", "", 4, INTEGERS, or_},
    {"xor", "xor_b32", "xor_%sb32", "", "", 4, INTEGERS, xor_},
    {"umin", "min_u32", "min_%su32", "", "", 4, INTEGERS, umin},
    {"umax", "max_u32", "max_%su32", "", "", 4, INTEGERS, umax},
    {"smin", "min_i32", "min_%si32", "", "", 4, INTEGERS, smin},
    {"smax", "max_i32", "max_%si32", "", "", 4, INTEGERS, smax},
    {"inc", "inc_u32", "inc_%su32", "", "", 4, INTEGERS, inc},
    {"dec", "dec_u32", "dec_%su32", "", "", 4, INTEGERS, dec},
    {"swap", "swap_b32", NULL, "", "", 4, INTEGERS, swap},
    {"cmpswap", "cmpswap_b32", NULL, "", "", 4, INTEGERS, compared},
    {"add_x2", "add_u64", "add_%su64", "", "", 8, INTEGERS, add},
    {"sub_x2", "sub_u64", "sub_%su64", "", "", 8, INTEGERS, sub},
    {"and_x2", "and_b64", "and_%sb64", "", "", 8, INTEGERS, and_},
    {"or_x2", "or_b64", "or_%sb64", "", "", 8, INTEGERS, or_},
    {"xor_x2", "xor_b64", "xor_%sb64", "", "", 8, INTEGERS, xor_},
    {"umin_x2", "min_u64", "min_%su64", "", "", 8, INTEGERS, umin},
    {"umax_x2", "max_u64", "max_%su64", "", "", 8, INTEGERS, umax},
    {"smin_x2", "min_i64", "min_%si64", "", "", 8, INTEGERS, smin64},
    {"smax_x2", "max_i64", "max_%si64", "", "", 8, INTEGERS, smax64},
    {"inc_x2", "inc_u64", "inc_%su64", "", "", 8, INTEGERS, inc},
    {"dec_x2", "dec_u64", "dec_%su64", "", "", 8, INTEGERS, dec},
    {"swap_x2", "swap_b64", NULL, "", "", 8, INTEGERS, swap},
    {"cmpswap_x2", "cmpswap_b64", NULL, "", "", 8, INTEGERS, compared},
    {"add_f32", "add_f32", "add_%sf32", "", "", 4, FLOATS, float_sum},
    {NULL, "min_f32", "min_%sf32", "gfx11", "", 4, FLOATS, fmin32},
    {NULL, "max_f32", "max_%sf32", "gfx11", "", 4, FLOATS, fmax32},
    {"add_f64", NULL, "add_%sf64", "gfx9", "gfx9", 8, DOUBLES, dadd},
    {"min_f64", NULL, "min_%sf64", "gfx9", "", 8, DOUBLES, dmin64},
    {"max_f64", NULL, "max_%sf64", "gfx9", "", 8, DOUBLES, dmax64},
    {"pk_add_f16", NULL, "pk_add_%sf16", "gfx9", "gfx94", 4, HALVES, pk_f16},
    {"pk_add_bf16", NULL, "pk_add_%sbf16", "gfx94", "gfx94", 4, BFLOATS, pk_bf16},
};

enum { GLOBAL, BUFFER, LDS, SPACES, COUNT = sizeof operations / sizeof operations[0], MOST = 2 * SPACES * COUNT };

typedef struct test {
    piece p;
    int operation;
    bool returns;
    char name[64], text[1024];
} test;

/* The operation's instruction: address in v20, data in v[24:...], the old value to v[80:...]. */
static bool instruction(char *text, size_t room, int o, int space, bool returns)
{
    bool nine = chip_is("gfx9"), wide = operations[o].bytes == 8, pair = operations[o].result == compared;
    const char *global = nine ? operations[o].global9 : operations[o].global11, *old = wide ? "v[80:81]" : "v80";
    const char *data = pair   ? (wide ? "v[24:27]" : "v[24:25]")
                       : wide ? "v[24:25]"
                              : "v24",
               *glc = chip_is("gfx94") ? "sc0" : "glc";
    char name[48];
    if (space == LDS) {
        if (!operations[o].ds || !chip_is(operations[o].chips_ds)) return false;
        snprintf(name, sizeof name, operations[o].ds, returns ? "rtn_" : "");
        snprintf(text, room, "ds_%s %s%sv20, %s", name, returns ? old : "", returns ? ", " : "", data);
        return true;
    }
    if (!global || !chip_is(operations[o].chips_global)) return false;
    if (space == BUFFER) { /* the old value comes back in the data's place */
        if (operations[o].data == BFLOATS) return false;
        snprintf(text, room, "buffer_atomic_%s %s, v20, s[20:23], 0 offen%s%s", global, data, returns ? " " : "",
                 returns ? glc : "");
        return true;
    }
    snprintf(text, room, "global_atomic_%s %s%sv20, %s, s[10:11]%s%s", global, returns ? old : "", returns ? ", " : "", data,
             returns ? " " : "", returns ? glc : "");
    return true;
}

/* Memory begins as v16, v17; data are v18, v19; at the end v80, v81 is what came back and v82, v83 what is left. */
static bool make(test *t, int o, int space, bool returns)
{
    const char *wait =
        chip_is("gfx11") ? "\ns_waitcnt_vscnt null, 0\ns_waitcnt vmcnt(0) lgkmcnt(0)\n" : "\ns_waitcnt vmcnt(0) lgkmcnt(0)\n";
    bool wide = operations[o].bytes == 8;
    char core[160], store[80], load[80];
    if (!instruction(core, sizeof core, o, space, returns)) return false;
    if (space == LDS) {
        snprintf(store, sizeof store, "ds_write_b%d v20, %s", wide ? 64 : 32, wide ? "v[16:17]" : "v16");
        snprintf(load, sizeof load, "ds_read_b%d %s, v20", wide ? 64 : 32, wide ? "v[82:83]" : "v82");
    } else {
        snprintf(store, sizeof store, "global_store_dword%s v20, %s, s[10:11]", wide ? "x2" : "", wide ? "v[16:17]" : "v16");
        snprintf(load, sizeof load, "global_load_dword%s %s, v20, s[10:11]", wide ? "x2" : "", wide ? "v[82:83]" : "v82");
    }
    snprintf(t->text, sizeof t->text,
             "s_mov_b32 s20, s10\ns_mov_b32 s21, s11\ns_movk_i32 s22, 0x400\ns_mov_b32 s23, %s\nv_lshlrev_b32 v20, 3, "
             "v0\nv_mov_b32 v24, v18\n"
             "v_mov_b32 v25, %s\nv_mov_b32 v26, 5\nv_mov_b32 v27, 0\n%s%s%s%s%s%s%s%s",
             chip_is("gfx11") ? "0x31004000" : "0x20000", operations[o].result == compared && !wide ? "5" : "v19", store, wait,
             core, wait, load, wait, returns && space == BUFFER ? "v_mov_b32 v80, v24\n" : "",
             returns && space == BUFFER && wide ? "v_mov_b32 v81, v25\n" : "");
    static const char *const spaces[] = {"global", "buffer", "lds"};
    snprintf(t->name, sizeof t->name, "%s_%d_%d", spaces[space], o, returns);
    t->operation = o;
    t->returns = returns;
    t->p = (piece){.name = t->name, .chips = "", .text = t->text, .inputs = 4, .outputs = 4};
    return true;
}

static uint64_t datum(int kind, bool wide, int salt)
{
    int n = (salt * 13 + salt / 7) % 23 - 8;
    switch (kind) {
    case FLOATS: return B((float)n * 0.75f);
    case DOUBLES: return double_bits(n * 0.3);
    case HALVES: return half_code(n * 0.5) | half_code(n * -1.5) << 16;
    case BFLOATS: return (B((float)n * 0.5f) >> 16) | (B((float)n * -3.0f) & 0xffff0000u);
    default: return (wide ? (uint64_t)(int64_t)n : (uint32_t)n) ^ (salt % 9 == 0 && wide ? 1ull << 40 : 0);
    }
}

static void run(void *module, const test *t)
{
    static lanes in[4], out[4];
    char error[1024];
    int o = t->operation, wrong = 0;
    bool wide = operations[o].bytes == 8;
    for (int l = 0; l < LANES; l++) {
        uint64_t m = datum(operations[o].data, wide, l), d = datum(operations[o].data, wide, 3 * l + 1);
        in[0][l] = (uint32_t)m, in[1][l] = (uint32_t)(m >> 32), in[2][l] = (uint32_t)d, in[3][l] = (uint32_t)(d >> 32);
    }
    bool ran = run_once(module, &t->p, (const lanes *)in, out, error, sizeof error);
    for (int l = 0; ran && l < chip_wave(); l++) {
        uint64_t m = datum(operations[o].data, wide, l),
                 left = operations[o].result(m, datum(operations[o].data, wide, 3 * l + 1));
        uint64_t back = t->returns ? m : 0, all = wide ? ~0ull : 0xffffffffu;
        wrong += ((out[0][l] | (uint64_t)out[1][l] << 32) ^ back) & all || ((out[2][l] | (uint64_t)out[3][l] << 32) ^ left) & all;
    }
    check(ran && !wrong, "atomic %s (%s): %d lanes are wrong%s%s", t->name,
          operations[o].ds ? operations[o].ds : operations[o].global9, wrong, ran ? "" : ", ", ran ? "" : error);
}

void atomic_tests(void)
{
    static test tests[MOST];
    static piece pieces[MOST];
    int count = 0;
    for (int o = 0; o < COUNT; o++)
        for (int space = 0; space < SPACES; space++)
            for (int returns = 0; returns < 2; returns++) count += make(&tests[count], o, space, returns);
    for (int k = 0; k < count; k++) pieces[k] = tests[k].p;
    void *module = assemble(pieces, count);
    check(module != NULL, "atomics: the pieces could not be assembled");
    for (int k = 0; module && k < count; k++) run(module, &tests[k]);
}
