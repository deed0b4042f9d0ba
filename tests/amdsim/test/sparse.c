/* SMFMAC: of four steps of A two are held; the layout is that of the matrix instruction calculator: a lane holds K M / 64 steps
 * of B and half as many of A, whose places two bits each of the index give, in sets of 8 or 16 bits. */
#include "matrix.h"

typedef struct sparse {
    const char *name;
    int m, k;
    type a, b, d;
    int cbsz, abid;
} sparse;

static const sparse shapes[] = {
    {"v_smfmac_f32_16x16x32_f16", 16, 32, T_F16, T_F16, T_F32, 0, 2},
    {"v_smfmac_f32_16x16x32_f16", 16, 32, T_F16, T_F16, T_F32, 1, 3}, /* then abid says nothing */
    {"v_smfmac_f32_32x32x16_f16", 32, 16, T_F16, T_F16, T_F32, 0, 0},
    {"v_smfmac_f32_16x16x32_bf16", 16, 32, T_BF16, T_BF16, T_F32, 0, 3},
    {"v_smfmac_f32_32x32x16_bf16", 32, 16, T_BF16, T_BF16, T_F32, 0, 1},
    {"v_smfmac_i32_16x16x64_i8", 16, 64, T_I8, T_I8, T_I32, 0, 1},
    {"v_smfmac_i32_32x32x32_i8", 32, 32, T_I8, T_I8, T_I32, 0, 0},
    {"v_smfmac_f32_16x16x64_fp8_fp8", 16, 64, T_FP8, T_FP8, T_F32, 0, 1},
    {"v_smfmac_f32_16x16x64_bf8_fp8", 16, 64, T_BF8, T_FP8, T_F32, 0, 0},
    {"v_smfmac_f32_16x16x64_fp8_bf8", 16, 64, T_FP8, T_BF8, T_F32, 0, 0},
    {"v_smfmac_f32_16x16x64_bf8_bf8", 16, 64, T_BF8, T_BF8, T_F32, 2, 1},
    {"v_smfmac_f32_32x32x32_fp8_fp8", 32, 32, T_FP8, T_FP8, T_F32, 0, 1},
    {"v_smfmac_f32_32x32x32_bf8_fp8", 32, 32, T_BF8, T_FP8, T_F32, 0, 0},
    {"v_smfmac_f32_32x32x32_fp8_bf8", 32, 32, T_FP8, T_BF8, T_F32, 0, 0},
    {"v_smfmac_f32_32x32x32_bf8_bf8", 32, 32, T_BF8, T_BF8, T_F32, 0, 0},
};

static int steps(const sparse *s) { return s->k * s->m / 64; } /* of B, a lane */
static int registers_a(const sparse *s) { return steps(s) / 2 * type_bits[s->a] / 32; }
static int registers_b(const sparse *s) { return steps(s) * type_bits[s->b] / 32; }
static int registers_d(const sparse *s) { return s->m * s->m / 64; }

/* A: which steps of group g of row i are held, the lower one first; and their values. */
static const int kept[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
static const int *held(int i, int g) { return kept[(i * 5 + g * 7) % 6]; }
static int value_a(int i, int k) { return (i * 3 + k * 5) % 9 - 4; }
static int value_b(int k, int j) { return (k * 7 + j * 2 + 3) % 8 - 3; }
static int value_c(int i, int j) { return (i * 11 + j * 13) % 50 - 25; }

static void fill(const sparse *s, lanes *a, lanes *b, lanes *index)
{
    int set = s->cbsz ? 0 : s->abid * steps(s);
    for (int lane = 0; lane < 64; lane++) {
        int x = lane % s->m, first = lane / s->m * steps(s);
        index[0][lane] = 0xa5a5a5a5u & ~(uint32_t)(((1ull << steps(s)) - 1) << set); /* the other sets hold anything */
        for (int k = 0; k < steps(s); k++) element_put(b, lane, k, type_bits[s->b], element_code(s->b, value_b(first + k, x)));
        for (int item = 0; item < steps(s) / 2; item++) {
            int group = first / 4 + item / 2, place = held(x, group)[item % 2];
            element_put(a, lane, item, type_bits[s->a], element_code(s->a, value_a(x, 4 * group + place)));
            index[0][lane] |= (uint32_t)place << (set + 2 * item);
        }
    }
}

static int expected(const sparse *s, int i, int j)
{
    int sum = value_c(i, j);
    for (int g = 0; g < s->k / 4; g++)
        for (int h = 0; h < 2; h++) sum += value_a(i, 4 * g + held(i, g)[h]) * value_b(4 * g + held(i, g)[h], j);
    return sum;
}

static void fill_c(const sparse *s, lanes *d, bool result)
{
    for (int lane = 0; lane < 64; lane++)
        for (int item = 0; item < registers_d(s); item++) {
            int j = lane % s->m, i = s->m == 16 ? 4 * (lane / 16) + item : 8 * (item / 4) + 4 * (lane / 32) + item % 4;
            element_put(d, lane, item, 32, element_code(s->d, result ? expected(s, i, j) : value_c(i, j)));
        }
}

static void make_piece(const sparse *s, piece *p, char *name, char *text, size_t room)
{
    int b = 16 + registers_a(s), index = b + registers_b(s), c = index + 1;
    size_t used = 0;
    for (int k = 0; k < registers_d(s); k++)
        used += (size_t)snprintf(text + used, room - used, "v_mov_b32 v%d, v%d\n", 80 + k, c + k);
    snprintf(text + used, room - used, "%s v[80:%d], v[16:%d], v[%d:%d], v%d cbsz:%d abid:%d", s->name, 79 + registers_d(s),
             b - 1, b, index - 1, index, s->cbsz, s->abid);
    snprintf(name, 64, "k_%s_%d_%d", s->name + 2, s->cbsz, s->abid);
    *p = (piece){.name = name, .chips = "gfx94", .text = text, .inputs = c - 16 + registers_d(s), .outputs = registers_d(s)};
}

static void run(void *module, const sparse *s, const piece *p)
{
    static lanes in[REGISTERS], out[REGISTERS], want[REGISTERS];
    char error[1024];
    int b = registers_a(s), index = b + registers_b(s), wrong = 0;
    memset(in, 0, sizeof in);
    memset(want, 0, sizeof want);
    fill(s, in, in + b, in + index);
    fill_c(s, in + index + 1, false);
    fill_c(s, want, true);
    bool ran = run_once(module, p, in, out, error, sizeof error);
    for (int k = 0; ran && k < registers_d(s); k++)
        for (int l = 0; l < 64; l++) wrong += out[k][l] != want[k][l];
    check(ran && !wrong, "sparse %s: %d elements are wrong%s%s", p->name, wrong, ran ? "" : ", ", ran ? "" : error);
}

void sparse_tests(void)
{
    enum { COUNT = sizeof shapes / sizeof shapes[0] };
    static char names[COUNT][64], texts[COUNT][1024];
    static piece pieces[COUNT];
    if (!chip_is("gfx94")) return;
    for (int k = 0; k < COUNT; k++) make_piece(&shapes[k], &pieces[k], names[k], texts[k], sizeof texts[k]);
    void *module = assemble(pieces, COUNT);
    check(module != NULL, "sparse: the pieces could not be assembled");
    for (int k = 0; module && k < COUNT; k++) run(module, &shapes[k], &pieces[k]);
}
