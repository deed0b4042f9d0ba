/* in_place: products with an operand that is dense along K and of which many rows share the other's columns (matmul_in_place.h):
 * it is read as it lies, the other is packed, whole. Bound by multiply-adds. Where only b is dense along K, or both are and a is
 * the smaller one, b's columns are the rows, and d's transpose is made. Of large products a is turned where neither is. */
#ifndef TRINE_CPU_MATMUL_PLACES_H
#define TRINE_CPU_MATMUL_PLACES_H

#include "backends/cpu/matmul_in_place.h"
#include "core/inner_call.h"

/* PLACE_LEAST: rows and columns: fewer are for dots. PLACE_SHARE: so many times as many columns as rows at most, else packing is
 * too much of the work. PLACE_TURNED_LEAST: rows and columns where a is turned first. */
enum { PLACE_LEAST = 17, PLACE_SHARE = 4, PLACE_TURNED_LEAST = 1536 };

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

/* ---- Neither operand is dense along K: a is turned first ---- */

trine_status TRINE_CPU(permute)(trine_call *call, const trine_permute_args *a);

static inline bool should_turn_a(const trine_product *p)
{
    return p->a_m == 1 && p->a_k != 1 && p->b_k != 1 && p->batch.numel == 1 && p->n >= PLACE_TURNED_LEAST &&
           p->m >= PLACE_TURNED_LEAST && p->k <= PLACED_MOST / p->m;
}

/* a's rows, dense along K, go to `to`. */
static trine_status turn_a(trine_call *inner, const trine_product *p, void *to)
{
    const int64_t from_shape[2] = {p->k, p->m}, to_shape[2] = {p->m, p->k};
    trine_permute_args turn = {.axes = {1, 0}};
    turn.x = trine_tensor_make((void *)(uintptr_t)p->a, p->dtype, 2, from_shape);
    turn.x.stride[0] = p->a_k;
    turn.y = trine_tensor_make(to, p->dtype, 2, to_shape);
    return TRINE_CPU(permute)(inner, &turn);
}

/* The product p; `given` is the same with a as it lies, which is turned if `turns`. */
static trine_status run_in_place(trine_call *call, trine_product *p, const trine_product *given, bool turns)
{
    const bool b = is_b_in_place(p);
    const trine_conv_operand matrix = matrix_in_place(p);
    const place_plan plan = place_plan_make(p, &matrix, b);
    const size_t turned = turns ? ((size_t)(p->m * p->k * size_of(p->dtype)) + 255) / 256 * 256 : 0;
    team_plan team = team_plan_make(p);
    team.memory = place_floats(&plan, &team) * sizeof(float);
    size_t needed = team_workspace(&team);
    if (turns) {
        trine_call asked = trine_inner_call(call, turned, true);
        const trine_status status = trine_inner_done(call, &needed, &asked, turn_a(&asked, given, NULL));
        if (status != TRINE_OK) return status;
    }
    TRINE_END_OF_QUERY(call, turned + needed);
    trine_call inner = trine_inner_call(call, turned, false);
    if (turns) {
        const trine_status status = trine_inner_done(call, &needed, &inner, turn_a(&inner, given, call->workspace));
        if (status != TRINE_OK) return status;
        p->a = call->workspace;
    }
    run_products(&inner, p, &team, matmul_places);
    return TRINE_OK;
}

static inline trine_status matmul_in_place(trine_call *call, const void *args)
{
    trine_product p, given;
    TRINE_REQUIRE_THAT(call, trine_product_make(&p, args), "needs d with stride 1 along N or M");
    given = p;
    const bool turns = should_turn_a(&p);
    if (turns) {
        p.a_m = p.k;
        p.a_k = 1;
    }
    const bool b = is_b_in_place(&p);
    const int64_t rows = b ? p.n : p.m, columns = b ? p.m : p.n;
    TRINE_REQUIRE_THAT(call, rows >= PLACE_LEAST && columns >= PLACE_LEAST, "needs M and N of at least 17");
    const trine_conv_operand matrix = matrix_in_place(&p);
    TRINE_REQUIRE_THAT(call, lies_in_place(&matrix, p.dtype),
                       "needs an operand dense along K, of f32, or of bf16 with AVX512-BF16 and even K, and at least 32 terms");
    TRINE_REQUIRE_THAT(call, columns <= PLACE_SHARE * rows && columns <= PLACED_MOST / p.k,
                       "needs more rows that share what is packed");
    return run_in_place(call, &p, &given, turns);
}

#endif
