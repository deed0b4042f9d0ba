/* The sm89 variants of fp8_matmul: a file of its own, because its instructions need code for compute capability 8.9. */
#include "backends/cuda/target.h"

#include "backends/cuda/fp8_sm89.h"
#include "backends/cuda/fp8_variants.h"
#include "backends/cuda/operand_copy.h"

namespace sm89 {

/* A product with all that its launch needs. given: as the caller has it; p: with operands that are copied first. */
struct request {
    trine_product given, p;
    size_t copied[2]; /* bytes of a's and b's */
    bool fast;
};

/* The operand as it lies, or a copy of it that is to be made if `copies`. */
static bool take_operand(request *r, int which, bool copies)
{
    const operand_copy::operand_view v = operand_copy::view_of(r->p, which);
    if (sm80::copies_fit(r->p, which, r->p.k == 1 ? 1 : v.k_stride, v.rows == 1 ? 0 : v.row_stride)) return true;
    if (copies) r->copied[which == TRINE_PRODUCT_B] = operand_copy::plan_copy(&r->p, which);
    return copies;
}

static trine_status run(trine_call *call, request *r, int tile)
{
    const size_t copied = operand_copy::workspace_of(r->copied[0] + r->copied[1]);
    if ((!r->copied[0] && uintptr_t(r->p.a) % 16 != 0) || (!r->copied[1] && uintptr_t(r->p.b) % 16 != 0))
        return trine_cuda_fp8_matmul_portable(call, &r->given);
    const sm80::plan chosen = sm80::choose(tiles, call, r->p, tile);
    TRINE_END_OF_QUERY(call, copied + simt::split_workspace(r->p, chosen.splits));
    if (simt::product_is_empty(r->p)) return TRINE_OK;
    trine_call after = *call; /* parts of sums lie behind the copies */
    if (copied) after.workspace = static_cast<char *>(call->workspace) + copied;
    const split_sink sink(&after, r->p, chosen.splits, TRINE_FP8_BLOCK);
    const trine_status status = operand_copy::make(call, r->given, &r->p, r->copied[0], r->copied[1]);
    if (status != TRINE_OK) return status;
    return chosen.tile == 0 ? launch_tile<square>(call, r->p, sink, r->fast) : launch_tile<small>(call, r->p, sink, r->fast);
}

static trine_status run_any(trine_call *call, const void *args, int tile)
{
    const double worth_copies = double(1 << 27); /* multiply-adds */
    TRINE_FP8_MATMUL_BEGIN(call, args, p);
    TRINE_REQUIRE_THAT(call, atoi(call->device->props.arch + sizeof "sm_" - 1) >= 89, "needs compute capability 8.9");
    TRINE_REQUIRE_THAT(call, is_ocp_f8(p.dtype) && is_ocp_f8(p.b_dtype), "needs e4m3fn or e5m2");
    TRINE_REQUIRE_THAT(call, p.k > 0 && p.k <= 1 << 30, "needs K from 1 to 2^30");
    TRINE_REQUIRE_THAT(call, p.b_scale.k_step == 0 || p.b_scale.row == 0 || p.b_scale.row_block != 1,
                       "needs b_scale in blocks of 128 columns where it depends on k");
    request r = {p, p, {0, 0}, false};
    r.fast = static_cast<const trine_fp8_matmul_args *>(args)->fast_accumulate && !p.a_scale.k_step && !p.b_scale.k_step;
    const bool copies = tile != sm80::any_tile || double(p.m) * double(p.n) * double(p.k) * double(p.batch.numel) >= worth_copies;
    TRINE_REQUIRE_THAT(call, take_operand(&r, TRINE_PRODUCT_A, copies) && take_operand(&r, TRINE_PRODUCT_B, copies),
                       "needs a and b with stride 1 along K and other strides of multiples of 16 bytes, or 2^27 multiply-adds, "
                       "which pay for a copy");
    return run(call, &r, tile);
}

trine_status fp8_matmul(trine_call *call, const void *args) { return run_any(call, args, sm80::any_tile); }
template <int tile> trine_status fp8_matmul_of_tile(trine_call *call, const void *args) { return run_any(call, args, tile); }
template trine_status fp8_matmul_of_tile<0>(trine_call *, const void *);
template trine_status fp8_matmul_of_tile<1>(trine_call *, const void *);

} // namespace sm89
