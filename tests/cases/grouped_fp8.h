/* Cases of grouped_matmul with fp8. A part of grouped.c. */
#ifndef TRINE_TESTS_CASES_GROUPED_FP8_H
#define TRINE_TESTS_CASES_GROUPED_FP8_H

/* fp8: every scaling with rows and masked groups; formats, sizes and what d is go round. */
static void fp8_cases(case_list *list)
{
    static const trine_dtype codes[] = {TRINE_F8_E4M3FN, TRINE_F8_E5M2, TRINE_F8_E4M3FNUZ, TRINE_F8_E5M2FNUZ};
    static const trine_dtype to[] = {TRINE_BF16, TRINE_F32, TRINE_F16};
    static const int64_t shapes[][4] = {{3, 40, 24, 16},  {1, 17, 19, 23},    {5, 300, 72, 144}, {8, 7, 33, 5},
                                        {4, 0, 8, 8},     {0, 8, 8, 8},       {4, 12, 0, 8},     {4, 12, 8, 0},
                                        {70, 211, 12, 8}, {2, 260, 264, 400}, {3, 6, 264, 272},  {6, 700, 136, 272},
                                        {2, 5, 12, 272},  {9, 333, 160, 528}, {3, 9, 8, 144},    {2, 531, 400, 640}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int scaling = 0; scaling < PRODUCT_SCALINGS; scaling++)
            for (int kind = 0; kind < 4; kind++) { /* rows and masked; e4m3fn along K, any */
                const size_t turn = i + (size_t)(scaling + kind);
                const bool masked = kind % 2;
                if (!masked && product_scalings[scaling].a_rows == BLOCKS) continue;
                if (shapes[i][0] > 64 && scaling % 3) continue; /* more groups than a wave's threads: that is of the sizes */
                grouped_spec s = {.dtype = TRINE_F8_E4M3FN,
                                  .layout = masked ? MASKED : ROWS,
                                  .groups = shapes[i][0],
                                  .m = masked && shapes[i][0] > 8 ? shapes[i][1] / 4 : shapes[i][1],
                                  .n = shapes[i][2],
                                  .k = shapes[i][3],
                                  .sizes = (group_sizes)(turn % 4),
                                  .out = to[turn / 2 % 3],
                                  .b_layout = LAYOUT_TRANSPOSED,
                                  .index = turn % 3 ? TRINE_I32 : TRINE_I64,
                                  .scaling = &product_scalings[scaling],
                                  .scale_layout = turn % 5 == 1 ? LAYOUT_TRANSPOSED : LAYOUT_DENSE,
                                  .one_set = turn % 7 == 3};
                if (s.sizes == EVEN && !masked) s.m = s.groups ? s.m / s.groups * s.groups : 0;
                if (kind > 1) {
                    s.dtype = codes[turn % 4];
                    s.b = codes[(turn / 2 + i) % 4];
                    if ((turn + i) % 2) s.b_layout = LAYOUT_DENSE;
                }
                new_grouped(list, &s);
            }
}

static void fp8_epilogue_cases(case_list *list)
{
    static const trine_activation_kind kinds[] = {TRINE_ACT_RELU, TRINE_ACT_SILU, TRINE_ACT_GELU};
    for (int i = 0; i < 12; i++) {
        grouped_spec s = {.dtype = i % 4 < 2 ? TRINE_F8_E4M3FN : TRINE_F8_E4M3FNUZ,
                          .layout = i % 2 ? MASKED : ROWS,
                          .groups = 4,
                          .m = 150,
                          .n = i % 3 ? 72 : 77,
                          .k = 272,
                          .sizes = SORTED,
                          .out = i / 2 % 2 ? TRINE_F32 : TRINE_BF16,
                          .b_layout = LAYOUT_TRANSPOSED,
                          .scaling = &product_scalings[i % 3]};
        if (i < 6) s.bias = i / 3 ? TRINE_F32 : s.out;
        if (i % 3 == 1) s.activation = kinds[i / 4];
        s.what = s.bias ? "bias" : "epilogue";
        new_grouped(list, &s);
        for (int view = 1; view < LAYOUT_COUNT && i < 4; view++) {
            s.a_layout = s.b_layout = s.scale_layout = s.d_layout = (case_layout)view;
            s.what = case_layout_name((case_layout)view);
            new_grouped(list, &s)->may_refuse = view == LAYOUT_STRIDED || view == LAYOUT_TRANSPOSED;
            s.d_layout = LAYOUT_DENSE;
            s.what = "strided operands";
            if (view == LAYOUT_STRIDED || view == LAYOUT_TRANSPOSED) new_grouped(list, &s);
        }
    }
    for (int i = 0; i < 4; i++) { /* NaN reaches no other group */
        const grouped_spec s = {.dtype = i / 2 ? TRINE_F8_E4M3FNUZ : TRINE_F8_E4M3FN,
                                .layout = i % 2 ? MASKED : ROWS,
                                .groups = 5,
                                .m = 200,
                                .n = 136,
                                .k = 4,
                                .sizes = SORTED,
                                .b_layout = LAYOUT_TRANSPOSED,
                                .scaling = &product_scalings[i % 3],
                                .what = "special a"};
        test_case *c = new_grouped(list, &s);
        case_set_fill(&c->tensor[0], FILL_SPECIAL, 0, 1);
        case_set_fill(&c->tensor[1], FILL_UNIFORM, 0.01, 0.2);
    }
}

/* Block scales as column-major a_scale, which is what quantizing for cuBLASLt makes. */
static void fp8_bench_cases(case_list *list)
{
    static const int64_t shapes[][4] = {{32, 8192, 4096, 7168}, {32, 8192, 7168, 2048}, {64, 512, 4096, 2048},
                                        {4, 32768, 4096, 7168}, {8, 32768, 4096, 7168}, {4, 1024, 4096, 7168},
                                        {4, 1024, 2048, 2048}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int way = 0; way < (i < 2 ? 5 : 4); way++) { /* the last: b along N */
            const bool masked = way == 1;
            const grouped_spec s = {.dtype = TRINE_F8_E4M3FN,
                                    .layout = masked ? MASKED : ROWS,
                                    .groups = shapes[i][0],
                                    .m = masked ? shapes[i][1] / shapes[i][0] : shapes[i][1],
                                    .n = shapes[i][2],
                                    .k = shapes[i][3],
                                    .sizes = way == 2 ? SORTED : EVEN,
                                    .out = TRINE_BF16,
                                    .b_layout = way == 4 ? LAYOUT_DENSE : LAYOUT_TRANSPOSED,
                                    .scaling = &product_scalings[way == 3 ? ROW : BLOCK],
                                    .scale_layout = way == 3 ? LAYOUT_DENSE : LAYOUT_TRANSPOSED,
                                    .what = way == 4 ? "b along N" : NULL};
            new_grouped(list, &s);
        }
}

#endif
