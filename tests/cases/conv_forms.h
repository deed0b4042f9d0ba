/* Shapes of convolutions: those that tests/cases/conv.c checks, and those that it times. */
#ifndef TRINE_TESTS_CONV_FORMS_H
#define TRINE_TESTS_CONV_FORMS_H

#include "tests/cases/cases.h"

typedef struct conv_case {
    trine_dtype dtype, out, bias; /* NONE: dtype; no bias */
    bool tf32;                    /* f32 that may be rounded first */
    bool last;
    int64_t n, c, k, h, w; /* h 0: rank 1 */
    int32_t r, s, stride, padding, dilation, groups;
    bool other; /* stride, padding and dilation are one larger along the height */
    trine_activation_kind activation;
    const char *what; /* ends the name */
} conv_case;

/* Odd, prime, 0, 1; filters that reach over the edges; strides, dilation, groups; one axis. */
static const conv_case forms[] = {
    {.n = 2, .c = 3, .k = 5, .h = 7, .w = 9, .r = 3, .s = 3, .padding = 1},
    {.n = 1, .c = 8, .k = 16, .h = 8, .w = 6, .r = 3, .s = 3, .stride = 1, .padding = 1, .dilation = 1, .groups = 1},
    {.n = 2, .c = 16, .k = 24, .h = 6, .w = 5, .r = 1, .s = 1},
    {.n = 1, .c = 64, .k = 72, .h = 9, .w = 11, .r = 3, .s = 3, .padding = 1},
    {.n = 2, .c = 3, .k = 8, .h = 17, .w = 18, .r = 7, .s = 7, .stride = 2, .padding = 3},
    {.n = 1, .c = 40, .k = 12, .h = 9, .w = 7, .r = 3, .s = 2, .stride = 2, .padding = 1, .dilation = 2, .other = true},
    {.n = 2, .c = 12, .k = 18, .h = 7, .w = 8, .r = 3, .s = 3, .stride = 2, .padding = 2, .groups = 3},
    {.n = 1, .c = 128, .k = 128, .h = 5, .w = 6, .r = 3, .s = 3, .padding = 1, .groups = 2},
    {.n = 2, .c = 9, .k = 9, .h = 8, .w = 9, .r = 3, .s = 3, .padding = 1, .groups = 9},
    {.n = 1, .c = 16, .k = 16, .h = 11, .w = 10, .r = 5, .s = 3, .stride = 2, .padding = 2, .groups = 16, .other = true},
    {.n = 1, .c = 8, .k = 24, .h = 6, .w = 6, .r = 3, .s = 3, .padding = 1, .dilation = 2, .groups = 8},
    {.n = 2, .c = 5, .k = 7, .w = 33, .s = 4, .r = 1, .stride = 3, .padding = 2},
    {.n = 3, .c = 16, .k = 32, .w = 20, .s = 3, .r = 1, .padding = 1, .dilation = 2},
    {.n = 1, .c = 32, .k = 32, .w = 19, .s = 4, .r = 1, .padding = 3, .groups = 32},
    {.n = 1, .c = 1, .k = 1, .h = 1, .w = 1, .r = 1, .s = 1},
    {.n = 1, .c = 2, .k = 3, .h = 2, .w = 2, .r = 3, .s = 3, .stride = 4, .padding = 5, .dilation = 3}, /* mostly padding */
    {.n = 2, .c = 8, .k = 8, .h = 9, .w = 9, .r = 2, .s = 2, .stride = 3}, /* elements that no tap meets */
    {.n = 1, .c = 3, .k = 2, .h = 2, .w = 2, .r = 4, .s = 4},              /* no output */
    {.n = 0, .c = 3, .k = 4, .h = 5, .w = 5, .r = 3, .s = 3, .padding = 1},
    {.n = 2, .c = 0, .k = 4, .h = 5, .w = 5, .r = 3, .s = 3, .padding = 1},
    {.n = 1, .c = 16, .k = 8, .h = 12, .w = 12, .r = 4, .s = 4, .stride = 4},
    {.n = 3, .c = 72, .k = 200, .h = 6, .w = 7, .r = 2, .s = 3, .padding = 1},
    {.n = 2, .c = 4, .k = 64, .h = 30, .w = 35, .r = 5, .s = 5, .stride = 1, .padding = 2},
    {.n = 1, .c = 64, .k = 64, .h = 17, .w = 23, .r = 3, .s = 3, .stride = 2, .padding = 1, .dilation = 1},
    {.n = 2, .c = 72, .k = 40, .h = 14, .w = 12, .r = 1, .s = 1, .stride = 2},
    {.n = 2, .c = 136, .k = 72, .h = 14, .w = 13, .r = 3, .s = 3, .stride = 2, .padding = 1},
    {.n = 2, .c = 16, .k = 72, .h = 13, .w = 12, .r = 3, .s = 3, .stride = 2, .padding = 1},
    {.n = 2, .c = 24, .k = 24, .h = 17, .w = 16, .r = 3, .s = 3, .padding = 1, .groups = 24},
    {.n = 1, .c = 70, .k = 70, .h = 16, .w = 10, .r = 7, .s = 7, .padding = 3, .groups = 70},
    {.n = 2, .c = 18, .k = 18, .h = 11, .w = 9, .r = 5, .s = 5, .padding = 2, .groups = 18},
    {.n = 2, .c = 20, .k = 20, .h = 13, .w = 16, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 20},
    {.n = 1, .c = 34, .k = 34, .h = 12, .w = 19, .r = 5, .s = 5, .stride = 2, .padding = 2, .groups = 34},
    {.n = 1, .c = 6, .k = 6, .h = 5, .w = 18, .r = 2, .s = 3, .padding = 4, .groups = 6},
    /* channels of whole pieces of 16 bytes, a filter each */
    {.n = 1, .c = 40, .k = 40, .h = 19, .w = 30, .r = 7, .s = 7, .padding = 3, .groups = 40},
    {.n = 2, .c = 16, .k = 16, .h = 9, .w = 121, .r = 5, .s = 5, .padding = 1, .groups = 16},
    {.n = 1, .c = 24, .k = 24, .h = 18, .w = 61, .r = 5, .s = 5, .stride = 2, .padding = 2, .groups = 24},
    {.n = 1, .c = 72, .k = 72, .h = 12, .w = 57, .r = 3, .s = 3, .padding = 2, .groups = 72},
    {.n = 2, .c = 8, .k = 8, .h = 15, .w = 36, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 8},
    {.n = 1, .c = 24, .k = 40, .h = 13, .w = 9, .r = 4, .s = 4, .stride = 4, .other = true},
    {.n = 3, .c = 16, .k = 72, .h = 8, .w = 16, .r = 3, .s = 3, .padding = 1}, /* planes of whole lines of 64 */
    {.n = 3, .c = 24, .k = 20, .h = 6, .w = 8, .r = 3, .s = 3, .padding = 1},  /* and of pieces of 16 bytes */
    {.n = 2, .c = 3, .k = 20, .h = 12, .w = 24, .r = 3, .s = 3, .padding = 1},
    {.n = 2, .c = 8, .k = 24, .h = 8, .w = 8, .r = 1, .s = 1},
    {.n = 3, .c = 136, .k = 72, .h = 9, .w = 8, .r = 1, .s = 1}, /* planes of a step and a part of one */
    {.n = 2, .c = 3, .k = 24, .h = 11, .w = 130, .r = 7, .s = 7, .stride = 2, .padding = 3}, /* outputs in rows of more than 64 */
    {.n = 1, .c = 4, .k = 10, .h = 9, .w = 77, .r = 4, .s = 5, .stride = 2, .padding = 1},
    {.n = 2, .c = 12, .k = 12, .h = 9, .w = 11, .r = 3, .s = 3, .padding = 1, .groups = 3}, /* four channels a group */
    {.n = 1, .c = 72, .k = 72, .h = 7, .w = 65, .r = 3, .s = 3, .stride = 2, .padding = 2, .groups = 18},
    {.n = 2, .c = 16, .k = 16, .h = 12, .w = 10, .r = 3, .s = 3, .padding = 2, .dilation = 2, .groups = 4},
    {.n = 2, .c = 72, .k = 72, .h = 19, .w = 34, .r = 3, .s = 3, .padding = 1, .groups = 18},
    {.n = 2, .c = 80, .k = 80, .h = 8, .w = 11, .r = 3, .s = 3, .padding = 1, .groups = 10}, /* eight */
    {.n = 1, .c = 24, .k = 24, .h = 9, .w = 35, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 3},
    {.n = 2, .c = 80, .k = 80, .h = 7, .w = 9, .r = 3, .s = 3, .padding = 2, .groups = 5}, /* sixteen */
    {.n = 1, .c = 32, .k = 32, .h = 12, .w = 10, .r = 3, .s = 3, .padding = 2, .dilation = 2, .groups = 2},
    {.n = 1, .c = 32, .k = 32, .h = 10, .w = 9, .r = 2, .s = 3, .stride = 2, .padding = 1, .groups = 2},
    {.n = 2, .c = 32, .k = 32, .w = 37, .r = 1, .s = 3, .padding = 1, .groups = 4}, /* eight, along one axis */
    {.n = 1, .c = 16, .k = 1, .h = 5, .w = 9, .r = 3, .s = 3, .padding = 1},        /* one plane, that ends anywhere */
};
enum { FORMS = sizeof forms / sizeof forms[0] };

/* ResNet's first layer, 3x3 and 1x1, and those with a stride; MobileNet's and ConvNeXt's depthwise; ResNeXt's groups of 4
 * to 32 channels; WaveNet's dilated one along one axis. */
static const conv_case bench[] = {
    {.n = 64, .c = 64, .k = 64, .h = 56, .w = 56, .r = 3, .s = 3, .padding = 1},
    {.n = 32, .c = 512, .k = 512, .h = 28, .w = 28, .r = 3, .s = 3, .padding = 1},
    {.n = 64, .c = 256, .k = 64, .h = 56, .w = 56, .r = 1, .s = 1},
    {.n = 64, .c = 3, .k = 64, .h = 224, .w = 224, .r = 7, .s = 7, .stride = 2, .padding = 3},
    {.n = 64, .c = 128, .k = 128, .h = 56, .w = 56, .r = 3, .s = 3, .stride = 2, .padding = 1},
    {.n = 64, .c = 256, .k = 512, .h = 56, .w = 56, .r = 1, .s = 1, .stride = 2},
    {.n = 64, .c = 256, .k = 256, .h = 14, .w = 14, .r = 3, .s = 3, .padding = 1},
    {.n = 64, .c = 144, .k = 144, .h = 56, .w = 56, .r = 3, .s = 3, .padding = 1, .groups = 144},
    {.n = 64, .c = 96, .k = 96, .h = 112, .w = 112, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 96},
    {.n = 64, .c = 96, .k = 96, .h = 56, .w = 56, .r = 7, .s = 7, .padding = 3, .groups = 96},
    {.n = 32, .c = 128, .k = 128, .h = 56, .w = 56, .r = 3, .s = 3, .padding = 1, .groups = 32},
    {.n = 32, .c = 256, .k = 256, .h = 28, .w = 28, .r = 3, .s = 3, .padding = 1, .groups = 32},
    {.n = 32, .c = 512, .k = 512, .h = 14, .w = 14, .r = 3, .s = 3, .padding = 1, .groups = 32},
    {.n = 32, .c = 1024, .k = 1024, .h = 7, .w = 7, .r = 3, .s = 3, .padding = 1, .groups = 32},
    {.n = 32, .c = 256, .k = 256, .h = 56, .w = 56, .r = 3, .s = 3, .stride = 2, .padding = 1, .groups = 32},
    {.n = 16, .c = 128, .k = 128, .w = 8192, .r = 1, .s = 3, .padding = 4, .dilation = 4},
};

#endif
