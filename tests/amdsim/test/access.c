/* Loads and stores of every width, in every space, and loads straight to LDS. Each lane has 16 bytes of its own. */
#include "test.h"

enum { GLOBAL, FLAT, BUFFER, SCRATCH, LDS, TO_LDS, TO_LDS_BUFFER, SPACES };

/* half: 1 the lower, 2 the upper 16 bits of the register, of which the rest stays. */
static const struct {
    const char *nine, *eleven, *ds;
    int bytes, half;
    bool sign;
} loads[] =
    {
        {"ubyte", "u8", "u8", 1, 0, false},
        {"sbyte", "i8", "i8", 1, 0, true},
        {"ushort", "u16", "u16", 2, 0, false},
        {"sshort", "i16", "i16", 2, 0, true},
        {"dword", "b32", "b32", 4, 0, false},
        {"dwordx2", "b64", "b64", 8, 0, false},
        {"dwordx3", "b96", "b96", 12, 0, false},
        {"dwordx4", "b128", "b128", 16, 0, false},
        {"ubyte_d16", "d16_u8", "u8_d16", 1, 1, false},
        {"ubyte_d16_hi", "d16_hi_u8", "u8_d16_hi", 1, 2, false},
        {"sbyte_d16", "d16_i8", "i8_d16", 1, 1, true},
        {"sbyte_d16_hi", "d16_hi_i8", "i8_d16_hi", 1, 2, true},
        {"short_d16", "d16_b16", "u16_d16", 2, 1, false},
        {"short_d16_hi", "d16_hi_b16", "u16_d16_hi", 2, 2, false},
},
  stores[] = {
      {"byte", "b8", "b8", 1, 0, false},
      {"short", "b16", "b16", 2, 0, false},
      {"dword", "b32", "b32", 4, 0, false},
      {"dwordx2", "b64", "b64", 8, 0, false},
      {"dwordx3", "b96", "b96", 12, 0, false},
      {"dwordx4", "b128", "b128", 16, 0, false},
      {"byte_d16_hi", "d16_hi_b8", "b8_d16_hi", 1, 2, false},
      {"short_d16_hi", "d16_hi_b16", "b16_d16_hi", 2, 2, false},
};
enum { LOADS = sizeof loads / sizeof loads[0], STORES = sizeof stores / sizeof stores[0], MOST = SPACES * (LOADS + STORES) };

typedef struct test {
    piece p;
    int row, space;
    bool store;
    char name[48], text[1024];
} test;

static const char *const spaces[] = {"global", "flat", "buffer", "scratch", "lds", "to_lds", "to_lds_buffer"};

static void range(char *text, size_t room, int first, int bytes)
{
    snprintf(text, room, bytes > 4 ? "v[%d:%d]" : "v%d", first, first + (bytes + 3) / 4 - 1);
}

/* The instruction, on address v20 (flat: v[20:21]), a base in scalars, and registers from `first`. */
static void access_text(char *text, size_t room, int space, bool store, int row, int first)
{
    bool nine = chip_is("gfx9");
    const char *width = store ? (nine ? stores[row].nine : stores[row].eleven) : nine ? loads[row].nine : loads[row].eleven;
    int bytes = store ? stores[row].bytes : loads[row].bytes;
    char data[24];
    const char *what = store ? "store" : "load", *ds = store ? stores[row].ds : loads[row].ds,
               *base = store ? "s[10:11]" : "s[8:9]";
    range(data, sizeof data, first, bytes);
    switch (space) {
    case GLOBAL:
        snprintf(text, room, "global_%s_%s %s, %s, %s\n", what, width, store ? "v20" : data, store ? data : "v20", base);
        break;
    case FLAT:
        snprintf(text, room, "flat_%s_%s %s, %s\n", what, width, store ? "v[20:21]" : data, store ? data : "v[20:21]");
        break;
    case BUFFER: snprintf(text, room, "buffer_%s_%s %s, v20, s[20:23], 0 offen\n", what, width, data); break;
    case SCRATCH:
        snprintf(text, room, "scratch_%s_%s %s, %s, off offset:16\n", what, width, store ? "off" : data, store ? data : "off");
        break;
    case LDS:
        snprintf(text, room, "ds_%s_%s %s, %s\n", store ? "write" : "read", ds, store ? "v20" : data, store ? data : "v20");
        break;
    case TO_LDS: snprintf(text, room, "global_load_lds_%s v20, s[8:9]\n", width); break;
    default:
        snprintf(text, room, nine ? "buffer_load_%s v20, s[20:23], 0 offen lds\n" : "buffer_load_lds_%s v20, s[20:23], 0 offen\n",
                 width);
    }
}

static bool exists(int space, bool store, int row)
{
    if (space == SCRATCH) return !chip_is("gfx90a");
    if (space == TO_LDS) return !store && row < 5 && chip_is("gfx94");
    if (space == TO_LDS_BUFFER) return !store && row < 5;
    return true;
}

static void make(test *t, int space, bool store, int row)
{
    const char *wait =
        chip_is("gfx11") ? "s_waitcnt_vscnt null, 0\ns_waitcnt vmcnt(0) lgkmcnt(0)\n" : "s_waitcnt vmcnt(0) lgkmcnt(0)\n";
    const char *add = chip_is("gfx9") ? "v_add_co_u32 v20, vcc, %s, v20\nv_mov_b32 v21, %s\nv_addc_co_u32 v21, vcc, 0, v21, vcc\n"
                                      : "v_add_co_u32 v20, vcc_lo, %s, v20\nv_add_co_ci_u32 v21, vcc_lo, %s, 0, vcc_lo\n";
    char core[128], before[200] = "", after[200] = "", zeros[] = "v[24:27]";
    access_text(core, sizeof core, space, store, row, store ? 16 : 80);
    if (space == FLAT) snprintf(before, sizeof before, add, store ? "s10" : "s8", store ? "s11" : "s9");
    const char *filled = store ? zeros : "v[16:19]", *form = NULL, *back = NULL;
    if (space == SCRATCH)
        form = "scratch_store_dwordx4 off, %s, off offset:16\n", back = "scratch_load_dwordx4 v[80:83], off, off offset:16\n";
    if (space == LDS) form = "ds_write_b128 v20, %s\n", back = "ds_read_b128 v[80:83], v20\n";
    if (form) snprintf(before, sizeof before, form, filled);
    if (form && store) snprintf(after, sizeof after, "%s%s", back, wait);
    if (!form && store) snprintf(after, sizeof after, "s_endpgm\n");
    if (space >= TO_LDS) snprintf(after, sizeof after, "ds_read_b32 v80, v1 offset:16\n%s", wait);
    snprintf(t->name, sizeof t->name, "%s_%s_%d", store ? "store" : "load", spaces[space], row);
    snprintf(t->text, sizeof t->text,
             "s_mov_b32 s20, %s\ns_mov_b32 s21, %s\ns_movk_i32 s22, 0x400\ns_mov_b32 s23, %s\ns_mov_b32 m0, 16\nv_lshlrev_b32 "
             "v20, 4, v0\n"
             "v_mov_b32 v24, 0\nv_mov_b32 v25, 0\nv_mov_b32 v26, 0\nv_mov_b32 v27, 0\nv_mov_b32 v80, v19\n%s%s%s%s%s",
             store ? "s10" : "s8", store ? "s11" : "s9", chip_is("gfx11") ? "0x31004000" : "0x20000", before, wait, core, wait,
             after);
    t->row = row;
    t->space = space;
    t->store = store;
    t->p = (piece){.name = t->name, .chips = "", .text = t->text, .inputs = 4, .outputs = 4, .lds = 2048};
}

/* What a load of `row` makes of 16 bytes, in a register that held `old`. */
static void loaded(int row, const uint8_t *from, uint32_t old, uint32_t *to)
{
    uint32_t small = from[0] | (loads[row].bytes > 1 ? (uint32_t)from[1] << 8 : 0);
    int unused = 32 - 8 * loads[row].bytes;
    if (loads[row].bytes >= 4) {
        memcpy(to, from, (size_t)loads[row].bytes);
        return;
    }
    if (loads[row].sign) small = (uint32_t)((int32_t)(small << unused) >> unused);
    to[0] = loads[row].half == 1   ? (old & 0xffff0000u) | (small & 0xffff)
            : loads[row].half == 2 ? (old & 0xffff) | small << 16
                                   : small;
}

static void stored(int row, const uint32_t *from, uint8_t *to)
{
    uint32_t value = stores[row].half == 2 ? from[0] >> 16 : from[0];
    memcpy(to, stores[row].bytes > 4 ? (const void *)from : &value, (size_t)stores[row].bytes);
}

static void expect(const test *t, lanes in[4], lanes want[4])
{
    bool strided = t->space == SCRATCH || t->space == LDS; /* a lane's bytes are its own registers */
    for (int l = 0; l < chip_wave(); l++) {
        uint32_t mine[4], result[4] = {in[3][l], 0, 0, 0};
        for (int k = 0; k < 4; k++) mine[k] = in[k][l];
        if (!t->store) {
            loaded(t->row, strided ? (const uint8_t *)mine : (const uint8_t *)in + 16 * l, in[3][l], result);
            for (int k = 0; k < 4; k++) want[k][l] = result[k];
        } else if (strided) {
            memset(result, 0, sizeof result);
            stored(t->row, mine, (uint8_t *)result);
            for (int k = 0; k < 4; k++) want[k][l] = result[k];
        } else {
            stored(t->row, mine, (uint8_t *)want + 16 * l);
        }
    }
}

static void run(void *module, const test *t)
{
    static lanes in[4], out[4], want[4];
    char error[1024];
    memset(in, 0, sizeof in);
    memset(want, 0, sizeof want);
    for (int k = 0; k < 4; k++)
        for (int l = 0; l < chip_wave(); l++) in[k][l] = 0x9e3779b9u * (uint32_t)(64 * k + l + 1);
    expect(t, in, want);
    bool ran = run_once(module, &t->p, (const lanes *)in, out, error, sizeof error);
    bool strided = t->space == SCRATCH || t->space == LDS || !t->store;
    size_t bytes = strided ? sizeof out : 16 * (size_t)chip_wave(), wrong = 0;
    for (size_t b = 0; ran && b < bytes; b++)
        wrong += (b / 4 % LANES < (size_t)chip_wave() || !strided) && ((uint8_t *)out)[b] != ((uint8_t *)want)[b];
    check(ran && !wrong, "%s (%s): %zu bytes are wrong%s%s", t->name, t->store ? stores[t->row].nine : loads[t->row].nine, wrong,
          ran ? "" : ", ", ran ? "" : error);
}

void access_tests(void)
{
    static test tests[MOST];
    static piece pieces[MOST];
    int count = 0;
    for (int space = 0; space < SPACES; space++) {
        for (int row = 0; row < LOADS; row++)
            if (exists(space, false, row)) make(&tests[count++], space, false, row);
        for (int row = 0; row < STORES; row++)
            if (exists(space, true, row) && space < TO_LDS) make(&tests[count++], space, true, row);
    }
    for (int k = 0; k < count; k++) pieces[k] = tests[k].p;
    void *module = assemble(pieces, count);
    check(module != NULL, "access: the pieces could not be assembled");
    for (int k = 0; module && k < count; k++) run(module, &tests[k]);
}
