/* MFMA and WMMA of every shape, on small integers, so that results are exact; layouts by the formulas of AMD's matrix instruction
 * calculator and the RDNA3 manual, from lane and register to row, column and step. */
#include <stdlib.h>

#include "matrix.h"

typedef struct shape {
    const char *name, *chips;
    int m, n, k, blocks;
    type a, b, d;
    int cbsz, abid, blgp, neg_lo, neg_hi; /* neg of f64: neg_lo */
} shape;

static const shape shapes[] = {
    {"v_mfma_f32_32x32x1f32", "gfx90a", 32, 32, 1, 2, T_F32, T_F32, T_F32},
    {"v_mfma_f32_16x16x1f32", "gfx90a", 16, 16, 1, 4, T_F32, T_F32, T_F32},
    {"v_mfma_f32_4x4x1f32", "gfx90a", 4, 4, 1, 16, T_F32, T_F32, T_F32},
    {"v_mfma_f32_32x32x2f32", "gfx90a", 32, 32, 2, 1, T_F32, T_F32, T_F32},
    {"v_mfma_f32_16x16x4f32", "gfx90a", 16, 16, 4, 1, T_F32, T_F32, T_F32},
    {"v_mfma_f32_32x32x4f16", "gfx90a", 32, 32, 4, 2, T_F16, T_F16, T_F32},
    {"v_mfma_f32_16x16x4f16", "gfx90a", 16, 16, 4, 4, T_F16, T_F16, T_F32},
    {"v_mfma_f32_4x4x4f16", "gfx90a", 4, 4, 4, 16, T_F16, T_F16, T_F32},
    {"v_mfma_f32_32x32x8f16", "gfx90a", 32, 32, 8, 1, T_F16, T_F16, T_F32},
    {"v_mfma_f32_16x16x16f16", "gfx90a", 16, 16, 16, 1, T_F16, T_F16, T_F32},
    {"v_mfma_f32_32x32x2bf16", "gfx90a", 32, 32, 2, 2, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_32x32x4bf16", "gfx90a", 32, 32, 4, 1, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_16x16x8bf16", "gfx90a", 16, 16, 8, 1, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_32x32x4bf16_1k", "gfx90a", 32, 32, 4, 2, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_16x16x4bf16_1k", "gfx90a", 16, 16, 4, 4, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_4x4x4bf16_1k", "gfx90a", 4, 4, 4, 16, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_32x32x8bf16_1k", "gfx90a", 32, 32, 8, 1, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_16x16x16bf16_1k", "gfx90a", 16, 16, 16, 1, T_BF16, T_BF16, T_F32},
    {"v_mfma_i32_32x32x8i8", "gfx90a", 32, 32, 8, 1, T_I8, T_I8, T_I32},
    {"v_mfma_i32_16x16x16i8", "gfx90a", 16, 16, 16, 1, T_I8, T_I8, T_I32},
    {"v_mfma_i32_4x4x4i8", "gfx90a", 4, 4, 4, 16, T_I8, T_I8, T_I32},
    {"v_mfma_f64_16x16x4f64", "gfx90a", 16, 16, 4, 1, T_F64, T_F64, T_F64},
    {"v_mfma_f64_4x4x4f64", "gfx90a", 4, 4, 4, 4, T_F64, T_F64, T_F64},
    {"v_mfma_f32_32x32x1_2b_f32", "gfx94", 32, 32, 1, 2, T_F32, T_F32, T_F32},
    {"v_mfma_f32_16x16x1_4b_f32", "gfx94", 16, 16, 1, 4, T_F32, T_F32, T_F32},
    {"v_mfma_f32_4x4x1_16b_f32", "gfx94", 4, 4, 1, 16, T_F32, T_F32, T_F32},
    {"v_mfma_f32_32x32x2_f32", "gfx94", 32, 32, 2, 1, T_F32, T_F32, T_F32},
    {"v_mfma_f32_16x16x4_f32", "gfx94", 16, 16, 4, 1, T_F32, T_F32, T_F32},
    {"v_mfma_f32_32x32x4_2b_f16", "gfx94", 32, 32, 4, 2, T_F16, T_F16, T_F32},
    {"v_mfma_f32_16x16x4_4b_f16", "gfx94", 16, 16, 4, 4, T_F16, T_F16, T_F32},
    {"v_mfma_f32_4x4x4_16b_f16", "gfx94", 4, 4, 4, 16, T_F16, T_F16, T_F32},
    {"v_mfma_f32_32x32x8_f16", "gfx94", 32, 32, 8, 1, T_F16, T_F16, T_F32},
    {"v_mfma_f32_16x16x16_f16", "gfx94", 16, 16, 16, 1, T_F16, T_F16, T_F32},
    {"v_mfma_f32_32x32x8_bf16", "gfx94", 32, 32, 8, 1, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_16x16x16_bf16", "gfx94", 16, 16, 16, 1, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_32x32x4_2b_bf16", "gfx94", 32, 32, 4, 2, T_BF16, T_BF16, T_F32},
    {"v_mfma_i32_32x32x16_i8", "gfx94", 32, 32, 16, 1, T_I8, T_I8, T_I32},
    {"v_mfma_i32_16x16x32_i8", "gfx94", 16, 16, 32, 1, T_I8, T_I8, T_I32},
    {"v_mfma_f32_16x16x8_xf32", "gfx94", 16, 16, 8, 1, T_F32, T_F32, T_F32},
    {"v_mfma_f32_32x32x4_xf32", "gfx94", 32, 32, 4, 1, T_F32, T_F32, T_F32},
    {"v_mfma_f32_16x16x32_fp8_fp8", "gfx94", 16, 16, 32, 1, T_FP8, T_FP8, T_F32},
    {"v_mfma_f32_16x16x32_fp8_bf8", "gfx94", 16, 16, 32, 1, T_FP8, T_BF8, T_F32},
    {"v_mfma_f32_16x16x32_bf8_fp8", "gfx94", 16, 16, 32, 1, T_BF8, T_FP8, T_F32},
    {"v_mfma_f32_16x16x32_bf8_bf8", "gfx94", 16, 16, 32, 1, T_BF8, T_BF8, T_F32},
    {"v_mfma_f32_32x32x16_fp8_fp8", "gfx94", 32, 32, 16, 1, T_FP8, T_FP8, T_F32},
    {"v_mfma_f32_32x32x16_bf8_fp8", "gfx94", 32, 32, 16, 1, T_BF8, T_FP8, T_F32},
    {"v_mfma_f64_16x16x4_f64", "gfx94", 16, 16, 4, 1, T_F64, T_F64, T_F64},
    {"v_mfma_f64_4x4x4_4b_f64", "gfx94", 4, 4, 4, 4, T_F64, T_F64, T_F64},
    {"v_mfma_f32_16x16x2bf16", "gfx90a", 16, 16, 2, 4, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_4x4x2bf16", "gfx90a", 4, 4, 2, 16, T_BF16, T_BF16, T_F32},
    {"v_mfma_i32_32x32x4i8", "gfx90a", 32, 32, 4, 2, T_I8, T_I8, T_I32},
    {"v_mfma_i32_16x16x4i8", "gfx90a", 16, 16, 4, 4, T_I8, T_I8, T_I32},
    {"v_mfma_f32_16x16x4_4b_bf16", "gfx94", 16, 16, 4, 4, T_BF16, T_BF16, T_F32},
    {"v_mfma_f32_4x4x4_16b_bf16", "gfx94", 4, 4, 4, 16, T_BF16, T_BF16, T_F32},
    {"v_mfma_i32_32x32x4_2b_i8", "gfx94", 32, 32, 4, 2, T_I8, T_I8, T_I32},
    {"v_mfma_i32_16x16x4_4b_i8", "gfx94", 16, 16, 4, 4, T_I8, T_I8, T_I32},
    {"v_mfma_i32_4x4x4_16b_i8", "gfx94", 4, 4, 4, 16, T_I8, T_I8, T_I32},
    {"v_mfma_f32_32x32x16_fp8_bf8", "gfx94", 32, 32, 16, 1, T_FP8, T_BF8, T_F32},
    {"v_mfma_f32_32x32x16_bf8_bf8", "gfx94", 32, 32, 16, 1, T_BF8, T_BF8, T_F32},
    {"v_wmma_f32_16x16x16_f16", "gfx11", 16, 16, 16, 1, T_F16, T_F16, T_F32},
    {"v_wmma_f32_16x16x16_bf16", "gfx11", 16, 16, 16, 1, T_BF16, T_BF16, T_F32},
    {"v_wmma_f16_16x16x16_f16", "gfx11", 16, 16, 16, 1, T_F16, T_F16, T_F16},
    {"v_wmma_bf16_16x16x16_bf16", "gfx11", 16, 16, 16, 1, T_BF16, T_BF16, T_BF16},
    {"v_wmma_i32_16x16x16_iu8", "gfx11", 16, 16, 16, 1, T_I8, T_I8, T_I32},
    {"v_wmma_i32_16x16x16_iu4", "gfx11", 16, 16, 16, 1, T_IU4, T_IU4, T_I32},
    /* modifiers */
    {"v_mfma_f32_32x32x1f32", "gfx90a", 32, 32, 1, 2, T_F32, T_F32, T_F32, .cbsz = 1, .abid = 1},
    {"v_mfma_f32_16x16x4f16", "gfx90a", 16, 16, 4, 4, T_F16, T_F16, T_F32, .cbsz = 1, .abid = 1, .blgp = 1},
    {"v_mfma_f32_16x16x4f16", "gfx90a", 16, 16, 4, 4, T_F16, T_F16, T_F32, .cbsz = 2, .abid = 2, .blgp = 7},
    {"v_mfma_f32_4x4x4bf16_1k", "gfx90a", 4, 4, 4, 16, T_BF16, T_BF16, T_F32, .cbsz = 3, .abid = 5, .blgp = 3},
    {"v_mfma_i32_16x16x4i8", "gfx90a", 16, 16, 4, 4, T_I8, T_I8, T_I32, .cbsz = 2, .abid = 1, .blgp = 6},
    {"v_mfma_f32_32x32x8f16", "gfx90a", 32, 32, 8, 1, T_F16, T_F16, T_F32, .blgp = 2},
    {"v_mfma_f32_16x16x16f16", "gfx90a", 16, 16, 16, 1, T_F16, T_F16, T_F32, .blgp = 3},
    {"v_mfma_f32_32x32x4bf16", "gfx90a", 32, 32, 4, 1, T_BF16, T_BF16, T_F32, .blgp = 5},
    {"v_mfma_f32_4x4x1_16b_f32", "gfx94", 4, 4, 1, 16, T_F32, T_F32, T_F32, .cbsz = 4, .abid = 13},
    {"v_mfma_f32_16x16x1_4b_f32", "gfx94", 16, 16, 1, 4, T_F32, T_F32, T_F32, .cbsz = 1, .abid = 1, .blgp = 4},
    {"v_mfma_f32_32x32x2_f32", "gfx94", 32, 32, 2, 1, T_F32, T_F32, T_F32, .blgp = 3},
    {"v_mfma_f32_4x4x4_16b_bf16", "gfx94", 4, 4, 4, 16, T_BF16, T_BF16, T_F32, .cbsz = 2, .abid = 3, .blgp = 2},
    {"v_mfma_i32_32x32x4_2b_i8", "gfx94", 32, 32, 4, 2, T_I8, T_I8, T_I32, .cbsz = 1, .blgp = 3},
    {"v_mfma_f64_16x16x4_f64", "gfx94", 16, 16, 4, 1, T_F64, T_F64, T_F64, .neg_lo = 5},
    {"v_mfma_f64_4x4x4_4b_f64", "gfx94", 4, 4, 4, 4, T_F64, T_F64, T_F64, .neg_lo = 2},
    {"v_wmma_f32_16x16x16_f16", "gfx11", 16, 16, 16, 1, T_F16, T_F16, T_F32, .neg_lo = 1, .neg_hi = 2},
    {"v_wmma_f32_16x16x16_bf16", "gfx11", 16, 16, 16, 1, T_BF16, T_BF16, T_F32, .neg_lo = 6, .neg_hi = 4},
};

static bool is_wmma(const shape *s) { return s->name[2] == 'w'; }

/* Registers of an operand. */
static int inputs(const shape *s, bool b)
{
    int bits = type_bits[b ? s->b : s->a], all = (b ? s->n : s->m) * s->k * s->blocks;
    return is_wmma(s) ? s->k * bits / 32 : (all / 64) * bits / 32;
}
static int results(const shape *s) { return is_wmma(s) ? 8 : s->m * s->n * s->blocks / 64 * (s->d == T_F64 ? 2 : 1); }

/* ---- The layouts ---- */

/* Item `item` of a lane of A (edge M) or B (edge N): its row or column, its step of K, its block. */
static void input_place(const shape *s, int edge, int per_lane, int lane, int item, int *x, int *k, int *block)
{
    *x = lane % edge;
    *block = 0;
    *k = item;
    if (is_wmma(s))
        *x = lane % 16;
    else if (s->a == T_F64 && edge == 4)
        *k = lane / 16, *block = lane / 4 % 4;
    else if (s->blocks > 1)
        *block = lane / edge;
    else
        *k = item + per_lane * (lane / edge);
}

/* Item of D: row, column, block. */
static void output_place(const shape *s, int lane, int item, int *i, int *j, int *block)
{
    *j = lane % s->n;
    *block = 0;
    if (is_wmma(s))
        *i = 2 * item + lane / 16, *j = lane % 16;
    else if (s->d == T_F64 && s->m == 4)
        *i = lane / 16, *block = lane / 4 % 4;
    else if (s->d == T_F64)
        *i = 4 * item + lane / 16;
    else if (s->m == 4)
        *i = item, *block = lane / 4;
    else if (s->m == 16)
        *i = 4 * (lane / 16) + item % 4, *block = item / 4;
    else
        *i = 8 * (item / 4 % 4) + 4 * (lane / 32) + item % 4, *block = item / 16;
}

/* ---- One shape ---- */

static int value_a(int i, int k, int block) { return (i * 3 + k * 5 + block * 7) % 9 - 4; }
static int value_b(int k, int j, int block) { return (k * 7 + j * 2 + block * 5 + 3) % 8 - 3; }
static int value_c(int i, int j, int block) { return (i * 11 + j * 13 + block) % 50 - 25; }

static void fill_side(const shape *s, bool b, lanes *registers)
{
    type t = b ? s->b : s->a;
    int bits = type_bits[t], per_lane = inputs(s, b) * 32 / bits, x, k, block;
    for (int lane = 0; lane < chip_wave(); lane++)
        for (int item = 0; item < per_lane; item++) {
            input_place(s, b ? s->n : s->m, per_lane, lane, item, &x, &k, &block);
            element_put(registers, lane, item, bits, element_code(t, b ? value_b(k, x, block) : value_a(x, k, block)));
        }
}

/* The matrix instruction calculator's words for BLGP, as the lane that lane l gets its data of B from. */
static int lane_of_b(int blgp, int l)
{
    switch (blgp) {
    case 0: return l;
    case 1: return l < 32 ? l : l - 32;
    case 2: return l < 32 ? l + 32 : l;
    case 3: return l < 48 ? l + 16 : l - 48; /* rotated down: lane 16's data is put into lane 0 */
    default: return 16 * (blgp - 4) + l % 16;
    }
}

/* What the instruction takes for B[k][j] of a block: the place's own value, or that of another lane. */
static int used_b(const shape *s, int k, int j, int block)
{
    int per_lane = inputs(s, true) * 32 / type_bits[s->b], x, step, of;
    for (int lane = 0; lane < chip_wave(); lane++)
        for (int item = 0; item < per_lane; item++) {
            input_place(s, s->n, per_lane, lane, item, &x, &step, &of);
            if (x != j || step != k || of != block) continue;
            input_place(s, s->n, per_lane, lane_of_b(s->blgp, lane), item, &x, &step, &of);
            return value_b(step, x, of);
        }
    return 0;
}

/* CBSZ: one block of A for 2^CBSZ blocks, ABID says which of them. */
static int used_a(const shape *s, int i, int k, int block)
{
    int together = 1 << s->cbsz;
    return value_a(i, k, block - block % together + (s->cbsz ? s->abid : 0));
}

static int negated(const shape *s, int operand, int k, int value)
{
    bool integers = s->d == T_I32; /* there neg_lo means signed */
    return !integers && (is_wmma(s) && k % 2 ? s->neg_hi : s->neg_lo) >> operand & 1 ? -value : value;
}

static int used_c(const shape *s, int i, int j, int block)
{
    int c = value_c(i, j, block);
    if (is_wmma(s) && s->neg_hi & 4) c = abs(c);
    return s->d != T_I32 && s->neg_lo & 4 ? -c : c;
}

static int expected(const shape *s, int i, int j, int block)
{
    int sum = used_c(s, i, j, block);
    for (int k = 0; k < s->k; k++) sum += negated(s, 0, k, used_a(s, i, k, block)) * negated(s, 1, k, used_b(s, k, j, block));
    return sum;
}

static void fill_result(const shape *s, lanes *registers, bool c)
{
    int wide = s->d == T_F64 ? 2 : 1, i, j, block;
    for (int lane = 0; lane < chip_wave(); lane++)
        for (int item = 0; item < results(s) / wide; item++) {
            output_place(s, lane, item, &i, &j, &block);
            element_put(registers, lane, item, 32 * wide,
                        element_code(s->d, c ? value_c(i, j, block) : expected(s, i, j, block)));
        }
}

static void range(char *text, size_t room, char file, int first, int count)
{
    snprintf(text, room, count > 1 ? "%c[%d:%d]" : "%c%d", file, first, first + count - 1);
}

/* A, B and C are v16 ..., the result starts as C's place; half of the shapes go through accumulation registers. */
static void make_options(const shape *s, char *text, size_t room)
{
    int lo = strstr(s->name, "_iu") ? 3 : s->neg_lo, hi = s->neg_hi, used = 0;
    text[0] = '\0';
    if (s->cbsz || s->abid || s->blgp)
        snprintf(text, room, " cbsz:%d abid:%d blgp:%d", s->cbsz, s->abid, s->blgp);
    else if (lo && s->d == T_F64)
        snprintf(text, room, " neg:[%d,%d,%d]", lo & 1, lo >> 1 & 1, lo >> 2);
    else if (lo | hi)
        used = snprintf(text, room, " neg_lo:[%d,%d,%d]", lo & 1, lo >> 1 & 1, lo >> 2);
    if (hi) snprintf(text + used, room - (size_t)used, " neg_hi:[%d,%d,%d]", hi & 1, hi >> 1 & 1, hi >> 2);
}

static void make_piece(const shape *s, piece *p, char *name, char *text, size_t room)
{
    char a[16], b[16], c[16], d[16];
    int na = inputs(s, false), nb = inputs(s, true), nc = results(s);
    bool accumulators = chip_is("gfx9") && nc == 16;
    range(a, sizeof a, 'v', 16, na);
    range(b, sizeof b, 'v', 16 + na, nb);
    range(c, sizeof c, accumulators ? 'a' : 'v', accumulators ? 0 : 16 + na + nb, nc);
    range(d, sizeof d, accumulators ? 'a' : 'v', accumulators ? 0 : 80, nc);
    size_t used = 0;
    char options[64];
    make_options(s, options, sizeof options);
    for (int k = 0; accumulators && k < nc; k++)
        used += (size_t)snprintf(text + used, room - used, "v_accvgpr_write_b32 a%d, v%d\n", k, 16 + na + nb + k);
    used += (size_t)snprintf(text + used, room - used, "s_nop 7\n%s %s, %s, %s, %s%s\ns_nop 7\ns_nop 7\ns_nop 7\n", s->name, d, a,
                             b, c, options);
    for (int k = 0; accumulators && k < nc; k++)
        used += (size_t)snprintf(text + used, room - used, "v_accvgpr_read_b32 v%d, a%d\n", 80 + k, k);
    snprintf(name, 64, "k_%s_%d_%d_%d_%d_%d", s->name + 2, s->cbsz, s->abid, s->blgp, s->neg_lo, s->neg_hi);
    *p = (piece){.name = name, .chips = s->chips, .text = text, .inputs = na + nb + nc, .outputs = nc};
}

static void run_shape(void *module, const shape *s, const piece *p)
{
    static lanes in[REGISTERS + 32], out[REGISTERS], want[REGISTERS];
    char error[1024];
    memset(in, 0, sizeof in);
    memset(want, 0, sizeof want);
    fill_side(s, false, in);
    fill_side(s, true, in + inputs(s, false));
    fill_result(s, in + inputs(s, false) + inputs(s, true), true);
    fill_result(s, want, false);
    if (!run_once(module, p, in, out, error, sizeof error)) {
        check(false, "matrix %s: %s", s->name, error);
        return;
    }
    for (int k = 0; k < results(s); k++)
        for (int l = 0; l < chip_wave(); l++)
            if (out[k][l] != want[k][l]) {
                check(false, "matrix %s: register %d of lane %d is %08x and should be %08x", s->name, k, l, out[k][l],
                      want[k][l]);
                return;
            }
    check(true, "%s", s->name);
}

void matrix_tests(void)
{
    enum { COUNT = sizeof shapes / sizeof shapes[0] };
    static char names[COUNT][64], texts[COUNT][2048];
    static piece pieces[COUNT];
    for (int k = 0; k < COUNT; k++) make_piece(&shapes[k], &pieces[k], names[k], texts[k], sizeof texts[k]);
    void *module = assemble(pieces, COUNT);
    check(module != NULL, "matrix: the pieces could not be assembled");
    for (int k = 0; module && k < COUNT; k++)
        if (chip_is(shapes[k].chips)) run_shape(module, &shapes[k], &pieces[k]);
    sparse_tests();
}
