/* in_place: products with an operand that is dense along K and of which many rows share the other's columns (matmul_in_place.h):
 * it is read as it lies, the other is packed, whole. Bound by multiply-adds. Where only b is dense along K, or both are and a is
 * the smaller one, b's columns are the rows, and d's transpose is made. */
#ifndef TRINE_CPU_MATMUL_PLACES_H
#define TRINE_CPU_MATMUL_PLACES_H

#include "backends/cpu/matmul_in_place.h"

/* PLACE_LEAST: rows and columns: fewer are for dots. PLACE_SHARE: so many times as many columns as rows at most, else packing is
 * too much of the work. */
enum { PLACE_LEAST = 17, PLACE_SHARE = 4 };

static inline bool is_b_in_place(const trine_product *p) { return p->b_k == 1 && (p->a_k != 1 || p->m < p->n); }

/* The operand that is read as it lies, as the pixels of a convolution of one tap. */
static trine_conv_operand matrix_in_place(const trine_product *p)
{
    const bool b = is_b_in_place(p);
    return trine_conv_plain(b ? p->b : p->a, 0, 0, trine_conv_line(b ? p->n : p->m, b ? p->b_n : p->a_m),
                            trine_conv_line(p->k, b ? p->b_k : p->a_k));
}

static void matmul_places(const trine_product *p, const product_place *at, cpu_team *team)
{
    const bool b = is_b_in_place(p);
    const trine_conv_operand matrix = matrix_in_place(p);
    const place_plan plan = place_plan_make(p, &matrix, b);
    place_product(p, at, team, &plan, b ? at->b : at->a);
}

static inline trine_status matmul_in_place(trine_call *call, const void *args)
{
    trine_product p;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    const bool b = is_b_in_place(&p);
    const int64_t rows = b ? p.n : p.m, columns = b ? p.m : p.n;
    TRINE_REQUIRE_THAT(call, rows >= PLACE_LEAST && columns >= PLACE_LEAST, "needs M and N of at least 17");
    const trine_conv_operand matrix = matrix_in_place(&p);
    TRINE_REQUIRE_THAT(call, lies_in_place(&matrix, p.dtype),
                       "needs an operand dense along K, of f32, or of bf16 with AVX512-BF16 and even K, and at least 32 terms");
    TRINE_REQUIRE_THAT(call, columns <= PLACE_SHARE * rows && columns <= PLACED_MOST / p.k,
                       "needs more rows that share what is packed");
    const place_plan plan = place_plan_make(&p, &matrix, b);
    team_plan team = team_plan_make(&p);
    team.memory = place_floats(&plan, &team) * sizeof(float);
    TRINE_END_OF_QUERY(call, team_workspace(&team));
    run_products(call, &p, &team, matmul_places);
    return TRINE_OK;
}

#endif
