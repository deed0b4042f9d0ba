/* Shapes, types and layouts of MFMA and WMMA (AMD's matrix instruction calculator; ISA manuals of MI200, MI300, RDNA3). */
#include <stdio.h>
#include <string.h>

#include "matrix.h"

/* Bits, and flops a clock of one SIMD: gfx90a, gfx942, gfx1100 (CDNA2, CDNA3 and RDNA3 white papers). 0: the chip has none. */
static const struct {
    const char *name;
    int bits, rate[3];
} elements[ELEMENTS] = {
    [E_F32] = {"f32", 32, {64, 64, 0}},       [E_F64] = {"f64", 64, {64, 64, 0}},   [E_F16] = {"f16", 16, {256, 512, 256}},
    [E_BF16] = {"bf16", 16, {256, 512, 256}}, [E_FP8] = {"fp8", 8, {0, 1024, 0}},   [E_BF8] = {"bf8", 8, {0, 1024, 0}},
    [E_I8] = {"i8", 8, {256, 1024, 0}},       [E_XF32] = {"xf32", 32, {0, 256, 0}}, [E_IU8] = {"iu8", 8, {0, 0, 256}},
    [E_IU4] = {"iu4", 4, {0, 0, 512}},        [E_I32] = {"i32", 32, {0, 0, 0}},
};

int matrix_bits(element e) { return elements[e].bits; }

static bool element_at(const char **text, uint8_t *e)
{
    for (int k = 0; k < ELEMENTS; k++) {
        size_t length = strlen(elements[k].name);
        char after = (*text)[strncmp(*text, elements[k].name, length) == 0 ? length : 0];
        if (strncmp(*text, elements[k].name, length) != 0 || (after && after != '_')) continue;
        *text += length;
        *e = (uint8_t)k;
        return true;
    }
    return false;
}

/* After the kind: f32_16x16x16f16, f32_32x32x8bf16_1k, f32_4x4x4_16b_f16, f32_16x16x32_fp8_bf8. */
bool matrix_parse(const char *name, unsigned result_registers, matrix_format *f)
{
    static const char *const kinds[] = {"v_mfma_", "v_wmma_", "v_smfmac_"};
    size_t kind = 0;
    while (kind < 3 && strncmp(name, kinds[kind], strlen(kinds[kind])) != 0) kind++;
    if (kind == 3) return false;
    name += strlen(kinds[kind]);
    unsigned m, n, k, blocks;
    int used = 0;
    *f = (matrix_format){.wmma = kind == 1, .sparse = kind == 2};
    if (!element_at(&name, &f->out) || sscanf(name, "_%ux%ux%u%n", &m, &n, &k, &used) != 3) return false;
    name += used;
    if (*name == '_') name++;
    if (sscanf(name, "%ub_%n", &blocks, &used) == 1 && used > 1 && name[used - 1] == '_') name += used;
    if (!element_at(&name, &f->a)) return false;
    f->b = f->a;
    if (strcmp(name, "_1k") == 0) name += 3;
    if (*name == '_') {
        name++;
        if (!element_at(&name, &f->b)) return false;
    }
    f->m = (uint8_t)m;
    f->n = (uint8_t)n;
    f->k = (uint8_t)k;
    f->blocks = (uint8_t)(f->wmma ? 1 : result_registers * LANES / (f->out == E_F64 ? 2 : 1) / (m * n));
    return *name == '\0' && f->blocks > 0;
}

static bool is_small_double(const matrix_format *f) { return f->a == E_F64 && f->m == 4; }

/* MFMA: lane x, then x + M, ... hold the next steps of K (one block) or the next blocks. WMMA: all of K in a lane, twice over the
 * wave. */
element_place matrix_input(const matrix_format *f, bool is_b, int x, int k, int block)
{
    int edge = is_b ? f->n : f->m;
    if (f->wmma) return (element_place){x, k};
    if (is_small_double(f)) return (element_place){16 * k + 4 * block + x, 0};
    if (f->blocks > 1) return (element_place){x + edge * block, k};
    int each = f->k * edge / LANES; /* steps a lane */
    return (element_place){x + edge * (k / each), k % each};
}

/* MFMA: groups of four rows go round the lanes, then on in the registers; f64: single rows. */
element_place matrix_output(const matrix_format *f, int i, int j, int block)
{
    int n = f->n, groups = LANES / n;
    if (f->wmma) return (element_place){j + 16 * (i % 2), i / 2};
    if (is_small_double(f)) return (element_place){16 * i + 4 * block + j, 0};
    if (f->out == E_F64) return (element_place){j + n * (i % groups), i / groups};
    if (f->m == 4) return (element_place){j + n * block, i};
    int rows = 4 * groups; /* that one round covers */
    return (element_place){j + n * (i % rows / 4), i % 4 + 4 * (i / rows) + block * (f->m * n / LANES)};
}

bool matrix_has_blgp(const matrix_format *f, const chip *c)
{
    bool old = f->blocks > 1 || f->a == E_F32; /* what gfx942 took over from gfx908 */
    return !f->wmma && !f->sparse && f->a != E_F64 && (!c->cdna3 || old);
}

/* The matrix instruction calculator's cycles. */
int matrix_cycles(const matrix_format *f, const chip *c)
{
    bool small_double = is_small_double(f);
    bool old = c->cdna3 && f->blocks > 1 && f->a != E_F32 && !small_double; /* several blocks: no faster than on gfx90a */
    int rate = elements[f->a].rate[c->major != 9 ? 2 : c->cdna3 && !old];
    int flops = 2 * f->m * f->n * f->k * f->blocks / (f->sparse ? 2 : 1);
    bool slow_bf16 = f->a == E_BF16 && !f->wmma && !c->cdna3 &&
                     f->k * f->blocks * f->m == 128; /* without _1k: half the steps at half the rate */
    if (!rate) return 16;
    int cycles = flops / (slow_bf16 || small_double ? rate / 2 : rate);
    return cycles < 8 ? 8 : cycles;
}
