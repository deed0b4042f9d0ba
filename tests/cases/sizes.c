/* The same ops at sizes from 4 KiB to 64 MiB, for `trine bench --sizes`. */
#include "tests/cases/sizes.h"

#include "tests/cases/cases.h"

typedef void (*size_maker)(case_list *list, trine_dtype dtype, int64_t rows, int64_t n);

/* How many row lengths an op is tried with: one where only the number of elements counts. */
enum { ANY_ROWS = 1, ROWS = 2 };

static const struct {
    trine_op op;
    size_maker make;
    int lengths;
} swept[] = {
    {TRINE_OP_copy, sizes_copy, ANY_ROWS},
    {TRINE_OP_add, sizes_add, ANY_ROWS},
    {TRINE_OP_activation, sizes_activation, ANY_ROWS},
    {TRINE_OP_gated, sizes_gated, ANY_ROWS},
    {TRINE_OP_softmax, sizes_softmax, ROWS},
    {TRINE_OP_softmax_backward, sizes_softmax_backward, ROWS},
    {TRINE_OP_layernorm, sizes_layernorm, ROWS},
    {TRINE_OP_rmsnorm, sizes_rmsnorm, ROWS},
    {TRINE_OP_layernorm_backward, sizes_layernorm_backward, ROWS},
    {TRINE_OP_sum, sizes_sum, ROWS},
    {TRINE_OP_cross_entropy, sizes_cross_entropy, ROWS},
    {TRINE_OP_cross_entropy_backward, sizes_cross_entropy_backward, ROWS},
    {TRINE_OP_embedding, sizes_embedding, ROWS},
    {TRINE_OP_transpose, sizes_transpose, ANY_ROWS},
    {TRINE_OP_dropout, sizes_dropout, ANY_ROWS},
    {TRINE_OP_rope, sizes_rope, ANY_ROWS},
    {TRINE_OP_fp8_quantize, sizes_fp8_quantize, ROWS},
    {TRINE_OP_adamw, sizes_adamw, ANY_ROWS},
};

void cases_of_sizes(trine_op op, case_list *list)
{
    static const int64_t bytes[] = {4 << 10, 64 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}, lengths[] = {1024, 8192};
    for (size_t k = 0; k < sizeof swept / sizeof swept[0]; k++)
        for (int d = 0; d < 3 && swept[k].op == op; d += 2) /* f32 and bf16 */
            for (int l = 0; l < swept[k].lengths; l++)
                for (size_t s = 0; s < sizeof bytes / sizeof bytes[0]; s++) {
                    const int64_t row = lengths[l] * (trine_dtype_bits(case_floats[d]) / 8);
                    if (bytes[s] >= row) swept[k].make(list, case_floats[d], bytes[s] / row, lengths[l]);
                }
}
