/* What a family's own rules refuse: attributes out of range, dtypes and shapes that don't go together. Each row starts from a
 * valid call of the op and breaks one thing; the text must name the op and the argument, and nothing may be written. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/api/calls.h"
#include "tests/unit/expect.h"

typedef struct row {
    trine_op op;
    const char *what;
    const char *argument; /* that the text must name */
    trine_status status;
    void (*apply)(void *args);
} row;

/* ROW(number, op, status, argument, statement): the statement changes *a, the op's arguments. The number makes a function's name.
 */
#define APPLY(number, name_, statement) \
    static void apply_##number(void *args) \
    { \
        trine_##name_##_args *a = args; \
        statement; \
    }

#define BAD TRINE_ERROR_INVALID_ARGUMENT
#define NOT TRINE_ERROR_UNSUPPORTED

/* An input whose last axis has gaps, within the memory that it had: the outer axes repeat. */
static void stretch(trine_tensor *t)
{
    for (int32_t d = 0; d < t->ndim; d++) t->stride[d] = d == t->ndim - 1 ? 2 : 0;
}

/* An output with gaps, which goes beyond its memory: it is refused before it is touched. */
static void stretch_output(trine_tensor *t)
{
    for (int32_t d = 0; d < t->ndim; d++) t->stride[d] *= 2;
}

/* The first tensor of a list. */
static trine_tensor *first(const trine_tensor_list *list) { return (trine_tensor *)list->at; }

#define ROWS(ROW) \
    ROW(1, activation, BAD, kind, a->kind = TRINE_ACT_COUNT) \
    ROW(2, activation, BAD, kind, a->kind = (trine_activation_kind)-1) \
    ROW(3, activation_backward, BAD, kind, a->kind = TRINE_ACT_COUNT) \
    ROW(4, permute, BAD, axes, a->axes[0] = a->axes[1]) \
    ROW(5, permute, BAD, axes, a->axes[0] = -1) \
    ROW(6, permute, BAD, axes, a->axes[0] = a->x.ndim) \
    ROW(7, permute, BAD, axes, a->axes[0] = INT32_MAX) \
    ROW(8, transpose, BAD, x, (a->x.ndim = 1, a->y.ndim = 1)) \
    ROW(9, swap, BAD, x, a->x.ndim = a->y.ndim = 0) \
    ROW(10, sum, BAD, axis, a->axis = a->x.ndim) \
    ROW(11, mean, BAD, axis, a->axis = -a->x.ndim - 1) \
    ROW(12, amax, BAD, axis, a->axis = INT32_MAX) \
    ROW(13, argmax, BAD, axis, a->axis = INT32_MIN + 1) \
    ROW(14, dot, BAD, axis, a->axis = TRINE_MAX_DIMS) \
    ROW(15, argmax, BAD, y, a->y.dtype = TRINE_F32) \
    ROW(16, amin, BAD, x, (a->x = trine_tensor_1d(a->x.data, a->x.dtype, 0), a->y.ndim = 0, a->axis = 0)) \
    ROW(17, amax, BAD, x, (a->x = trine_tensor_1d(a->x.data, a->x.dtype, 0), a->y.ndim = 0, a->axis = TRINE_AXIS_ALL)) \
    ROW(18, argmax, BAD, x, \
        (a->x = trine_tensor_2d(a->x.data, a->x.dtype, 3, 0), a->y = trine_tensor_1d(a->y.data, a->y.dtype, 3), a->axis = 1)) \
    ROW(19, sum, BAD, y, (a->axis = TRINE_AXIS_ALL, a->y = trine_tensor_1d(a->y.data, a->y.dtype, 2))) \
    ROW(20, norm_l1, BAD, x, a->x.dtype = a->y.dtype = TRINE_I32) \
    ROW(21, norm_l2, BAD, x, a->x.dtype = a->y.dtype = TRINE_F64) \
    ROW(22, softmax, BAD, x, a->x.ndim = a->y.ndim = 0) \
    ROW(23, log_softmax, BAD, x, a->x.dtype = a->y.dtype = TRINE_F8_E5M2) \
    ROW(24, softmax, NOT, stride, stretch(&a->x)) \
    ROW(25, log_softmax, NOT, stride, stretch(&a->x)) \
    ROW(26, softmax_backward, NOT, stride, (stretch(&a->y), stretch(&a->dy))) \
    ROW(27, log_softmax_backward, NOT, stride, (stretch(&a->y), stretch(&a->dy))) \
    ROW(28, layernorm, BAD, eps, a->eps = 0) \
    ROW(29, layernorm, BAD, eps, a->eps = -1e-5f) \
    ROW(30, rmsnorm, BAD, eps, a->eps = NAN) \
    ROW(31, layernorm, NOT, stride, stretch(&a->x)) \
    ROW(32, rmsnorm, NOT, stride, stretch(&a->x)) \
    ROW(33, layernorm, BAD, weight, stretch(&a->weight)) \
    ROW(34, layernorm, BAD, bias, a->bias.shape[0]++) \
    ROW(35, layernorm, BAD, mean, stretch_output(&a->mean)) \
    ROW(36, rmsnorm, BAD, rstd, stretch_output(&a->rstd)) \
    ROW(37, rmsnorm, BAD, rstd, a->rstd.dtype = TRINE_F16) \
    ROW(38, layernorm, BAD, sum, a->residual.dtype = TRINE_DTYPE_NONE) \
    ROW(39, rmsnorm, BAD, residual, a->residual.shape[0]++) \
    ROW(40, rmsnorm, NOT, stride, stretch(&a->residual)) \
    ROW(41, layernorm_backward, BAD, mean, a->rstd.dtype = TRINE_DTYPE_NONE) \
    ROW(42, layernorm_backward, BAD, eps, a->eps = 0) \
    ROW(43, layernorm_backward, NOT, stride, stretch(&a->dy)) \
    ROW(44, layernorm_backward, BAD, dweight, stretch_output(&a->dweight)) \
    ROW(45, layernorm_backward, BAD, dbias, a->dbias.shape[0]++) \
    ROW(46, rmsnorm_backward, BAD, eps, a->eps = NAN) \
    ROW(47, rmsnorm_backward, BAD, dsum, a->dsum.ndim = 1) \
    ROW(48, rmsnorm_backward, BAD, rstd, a->rstd.dtype = TRINE_F16) \
    ROW(49, dropout, BAD, p, a->p = 1) \
    ROW(50, dropout, BAD, p, a->p = -0.1f) \
    ROW(51, dropout, BAD, p, a->p = NAN) \
    ROW(52, dropout, BAD, mask, stretch_output(&a->mask)) \
    ROW(53, dropout, BAD, mask, a->mask.dtype = TRINE_I8) \
    ROW(54, uniform, BAD, low, (a->low = 1, a->high = 0)) \
    ROW(55, uniform, BAD, high, a->high = INFINITY) \
    ROW(56, uniform, BAD, low, a->low = NAN) \
    ROW(57, normal, BAD, std, a->std = -1) \
    ROW(58, normal, BAD, std, a->std = NAN) \
    ROW(59, normal, BAD, mean, a->mean = INFINITY) \
    ROW(60, rgb_to_gray, BAD, layout, a->layout = (trine_image_layout)2) \
    ROW(61, rgb_to_gray, BAD, weights, a->weights = (trine_gray_weights)2) \
    ROW(62, rgb_to_gray, BAD, x, a->x.shape[a->layout == TRINE_IMAGE_HWC ? a->x.ndim - 1 : a->x.ndim - 3] = 2) \
    ROW(63, rgb_to_gray, NOT, contiguous, stretch(&a->x)) \
    ROW(64, box_blur, BAD, radius, a->radius = -1) \
    ROW(65, box_blur, BAD, radius, a->radius = 65) \
    ROW(66, box_blur, BAD, layout, a->layout = (trine_image_layout)-1) \
    ROW(67, box_blur, NOT, contiguous, stretch(&a->x)) \
    ROW(68, gaussian_blur, BAD, sigma, a->sigma = 0) \
    ROW(69, gaussian_blur, BAD, sigma, a->sigma = INFINITY) \
    ROW(70, gaussian_blur, BAD, sigma, a->sigma = NAN) \
    ROW(71, gaussian_blur, NOT, contiguous, stretch(&a->x)) \
    ROW(72, gaussian_blur, BAD, x, a->x.ndim = a->y.ndim = 2) \
    ROW(73, invert, BAD, keep_alpha, \
        (a->keep_alpha = 1, a->x = trine_tensor_1d(a->x.data, a->x.dtype, 3), a->y = trine_tensor_1d(a->y.data, a->y.dtype, 3))) \
    ROW(74, invert, BAD, x, a->x.dtype = a->y.dtype = TRINE_I8) \
    ROW(75, invert, NOT, contiguous, stretch(&a->x)) \
    ROW(76, color_pattern, BAD, y, a->y.shape[2] = 2) \
    ROW(77, color_pattern, BAD, y, a->y.ndim = 2) \
    ROW(78, color_pattern, NOT, contiguous, stretch_output(&a->y)) \
    ROW(79, matmul, BAD, activation, a->activation = TRINE_ACT_COUNT) \
    ROW(80, matmul, BAD, precision, a->precision = (trine_matmul_precision)9) \
    ROW(81, matmul, BAD, bias, stretch(&a->bias)) \
    ROW(82, matmul, BAD, a, a->a.ndim = 1) \
    ROW(83, matmul, BAD, b, a->b.ndim = 1) \
    ROW(84, matmul, BAD, d, a->d.ndim = 1) \
    ROW(85, matmul, BAD, d, a->d.dtype = TRINE_F64) \
    ROW(86, matmul, BAD, a, a->a.dtype = a->b.dtype = TRINE_F64) \
    ROW(87, matmul, BAD, c, a->c.dtype = TRINE_F64) \
    ROW(88, add, BAD, y, a->a.dtype = a->b.dtype = a->y.dtype = TRINE_BOOL) \
    ROW(89, scale, BAD, y, a->x.dtype = a->y.dtype = TRINE_F8_E4M3FN) \
    ROW(90, mul, BAD, a, (a->y.ndim = 0, a->b.ndim = 0)) \
    ROW(91, copy, BAD, x, a->y.ndim = 0) \
    ROW(92, uniform, BAD, high, (a->low = -FLT_MAX, a->high = FLT_MAX)) \
    ROW(93, concat, BAD, axis, a->axis = a->y.ndim) \
    ROW(94, split, BAD, axis, a->axis = -a->x.ndim - 1) \
    ROW(95, gather, BAD, axis, a->axis = INT32_MAX) \
    ROW(96, scatter_add, BAD, axis, a->axis = INT32_MIN) \
    ROW(97, gather, BAD, ids, a->ids.dtype = TRINE_F32) \
    ROW(98, scatter_add, BAD, src, a->src.dtype = a->y.dtype = a->x.dtype = TRINE_F64) \
    ROW(99, embedding, BAD, weight, a->weight.ndim = 1) \
    ROW(100, embedding_backward, BAD, dweight, a->dweight.dtype = TRINE_F64) \
    ROW(101, segment_sum, BAD, sorted, a->sorted = 2) \
    ROW(102, segment_sum, BAD, ids, a->ids.dtype = TRINE_U8) \
    ROW(103, scan, BAD, axis, a->axis = a->x.ndim) \
    ROW(104, scan, BAD, kind, a->kind = TRINE_SCAN_COUNT) \
    ROW(105, scan, BAD, exclusive, a->exclusive = 2) \
    ROW(106, scan, BAD, reverse, a->reverse = -1) \
    ROW(107, cross_entropy, BAD, label_smoothing, a->options.label_smoothing = 1.5f) \
    ROW(108, cross_entropy, BAD, z_loss, a->options.z_loss = -1) \
    ROW(109, cross_entropy_backward, BAD, softcap, a->options.softcap = NAN) \
    ROW(110, cross_entropy_backward, BAD, ignore, a->options.ignore = 2) \
    ROW(111, cross_entropy, BAD, reduction, a->options.reduction = TRINE_LOSS_BATCH_MEAN) \
    ROW(112, cross_entropy, BAD, labels, a->labels.dtype = TRINE_F32) \
    ROW(113, cross_entropy, NOT, stride, stretch(&a->logits)) \
    ROW(114, cross_entropy_backward, NOT, stride, stretch(&a->logits)) \
    ROW(115, huber, BAD, delta, a->delta = 0) \
    ROW(116, huber_backward, BAD, delta, a->delta = NAN) \
    ROW(117, kl_div, BAD, log_target, a->log_target = 2) \
    ROW(118, mse, BAD, reduction, a->reduction = TRINE_LOSS_BATCH_MEAN) \
    ROW(119, kl_div_backward, BAD, reduction, a->reduction = TRINE_LOSS_REDUCTION_COUNT) \
    ROW(120, mse_backward, BAD, dloss, a->dloss.dtype = TRINE_F16) \
    ROW(121, linear_cross_entropy, BAD, chunk, a->chunk = -1) \
    ROW(122, linear_cross_entropy, BAD, weight, a->weight.ndim = 3) \
    ROW(123, linear_cross_entropy, BAD, softcap, a->options.softcap = -1) \
    ROW(124, linear_cross_entropy, BAD, dweight, a->dweight.dtype = TRINE_F64) \
    ROW(125, gated, BAD, kind, a->kind = TRINE_ACT_COUNT) \
    ROW(126, gated_backward, BAD, kind, a->kind = (trine_activation_kind)-1) \
    ROW(127, gated, BAD, gate, (a->up = (trine_tensor){0}, a->gate.shape[a->gate.ndim - 1]++)) \
    ROW(128, gated_backward, BAD, dup, a->up = (trine_tensor){0}) \
    ROW(129, dyt, BAD, alpha, a->alpha.dtype = TRINE_F64) \
    ROW(130, dyt, BAD, gamma, stretch(&a->gamma)) \
    ROW(131, dyt, BAD, x, a->x.ndim = a->y.ndim = 0) \
    ROW(132, dyt_backward, BAD, dgamma, a->dgamma.dtype = TRINE_F64) \
    ROW(133, dyt_backward, BAD, dalpha, a->dalpha.dtype = TRINE_F16) \
    ROW(134, rope, BAD, axis, a->axis = a->x.ndim - 1) \
    ROW(135, rope, BAD, rotary_dims, a->rotary_dims = 3) \
    ROW(136, rope, BAD, base, (a->cos.dtype = a->sin.dtype = TRINE_DTYPE_NONE, a->base = 0.5)) \
    ROW(137, rope, BAD, scaling, (a->cos.dtype = a->sin.dtype = TRINE_DTYPE_NONE, a->base = 10, a->scaling = NAN)) \
    ROW(138, rope, BAD, offset, (a->positions.dtype = TRINE_DTYPE_NONE, a->offset = -1)) \
    ROW(139, pool, BAD, kind, a->kind = (trine_pool_kind)2) \
    ROW(140, pool, BAD, window, a->window.kernel[0] = 0) \
    ROW(141, pool, BAD, window, a->window.stride[0] = -1) \
    ROW(142, pool, BAD, window, a->window.padding[0] = 1000) \
    ROW(143, pool, BAD, window, a->window.rank = 3) \
    ROW(144, pool, BAD, indices, a->indices.dtype = TRINE_F32) \
    ROW(145, pool_backward, BAD, indices, a->indices.dtype = TRINE_DTYPE_NONE) \
    ROW(146, pool_backward, BAD, dy, a->window.stride[0] += 3) \
    ROW(147, nf4_quantize, BAD, x, stretch(&a->x)) \
    ROW(148, nf4_quantize, BAD, codes, a->codes.dtype = TRINE_I8) \
    ROW(149, nf4_dequantize, BAD, y, a->offset = -1) \
    ROW(150, nf4_dequantize, BAD, y, a->offset = INT64_MAX) \
    ROW(151, nf4_dequantize, BAD, absmax, a->absmax.shape[0]++) \
    ROW(152, absmax_quantize, BAD, kind, a->kind = (trine_absmax_kind)2) \
    ROW(153, absmax_quantize, BAD, mean, a->kind = TRINE_ABSMAX_LINEAR) \
    ROW(154, absmax_dequantize, BAD, mean, a->kind = TRINE_ABSMAX_LINEAR) \
    ROW(155, int8_quantize, BAD, q, a->q.dtype = TRINE_U8) \
    ROW(156, int8_quantize, BAD, scale, a->scale.dtype = TRINE_F16) \
    ROW(157, int8_dequantize, BAD, scale, stretch(&a->scale)) \
    ROW(158, fake_quantize, BAD, low, a->low = -(1 << 21)) \
    ROW(159, fake_quantize, BAD, zero_point, a->zero_point = a->high + 1) \
    ROW(160, fake_quantize_backward, BAD, scale, a->scale.dtype = TRINE_F16) \
    ROW(161, adamw, BAD, lr, a->lr = -1e-3) \
    ROW(162, adamw, BAD, lr, a->lr = NAN) \
    ROW(163, adamw, BAD, lr, a->lr = INFINITY) \
    ROW(164, adamw, BAD, beta1, a->beta1 = 1) \
    ROW(165, adamw, BAD, beta1, a->beta1 = -0.1) \
    ROW(166, adamw, BAD, beta2, a->beta2 = 1.5) \
    ROW(167, adamw, BAD, beta2, a->beta2 = NAN) \
    ROW(168, adamw, BAD, eps, a->eps = -1e-8) \
    ROW(169, adamw, BAD, weight_decay, a->weight_decay = -0.1) \
    ROW(170, adamw, BAD, step, a->step = 0) \
    ROW(171, adamw, BAD, step, a->step = INT64_MIN) \
    ROW(172, adamw, BAD, grad_scale, a->grad_scale.dtype = TRINE_F64) \
    ROW(173, adamw, BAD, found_inf, a->found_inf.ndim = 0) \
    ROW(174, adamw, BAD, m, first(&a->m)->dtype = TRINE_BF16) \
    ROW(175, adamw, BAD, master, first(&a->master)->dtype = TRINE_F16) \
    ROW(176, adamw, BAD, master, first(&a->param)->dtype = first(&a->master)->dtype) \
    ROW(177, sgd, BAD, lr, a->lr = -1) \
    ROW(178, sgd, BAD, momentum, a->momentum = -0.5) \
    ROW(179, sgd, BAD, buffer, a->momentum = 0) \
    ROW(180, sgd, BAD, buffer, a->buffer.count = 0) \
    ROW(181, sgd, BAD, dampening, a->dampening = INFINITY) \
    ROW(182, sgd, BAD, dampening, (a->nesterov = 1, a->dampening = 0.1)) \
    ROW(183, sgd, BAD, weight_decay, a->weight_decay = NAN) \
    ROW(184, sgd, BAD, step, a->step = 0) \
    ROW(185, global_norm, BAD, max_norm, a->max_norm = -1) \
    ROW(186, global_norm, BAD, max_norm, a->max_norm = NAN) \
    ROW(187, global_norm, BAD, norm, a->norm.dtype = TRINE_F16) \
    ROW(188, scale_list, BAD, factor, a->factor.ndim = 0) \
    ROW(189, int8_quantize, BAD, scale, a->scale.dtype = a->given_scale.dtype = TRINE_DTYPE_NONE) \
    ROW(190, int8_quantize, BAD, given_scale, a->scale = a->given_scale = trine_tensor_1d(a->q.data, TRINE_F32, 1)) \
    ROW(191, fp8_quantize, BAD, scale, a->scale.dtype = a->given_scale.dtype = TRINE_DTYPE_NONE) \
    ROW(192, fp8_quantize, BAD, given_scale, a->scale = a->given_scale = trine_tensor_1d(a->q.data, TRINE_F32, 1)) \
    ROW(193, fp8_quantize, BAD, scaling, a->scaling = TRINE_FP8_SCALING_COUNT) \
    ROW(194, fp8_quantize, BAD, amax_least, a->amax_least = NAN) \
    ROW(195, fp8_quantize, BAD, amax_least, a->amax_least = 1e-38f) \
    ROW(196, fp8_quantize, BAD, amax_least, a->amax_least = INFINITY) \
    ROW(197, fp8_quantize, BAD, amax_least, a->amax_least = -1) \
    ROW(198, fp8_quantize, BAD, power_of_two, a->power_of_two = 2) \
    ROW(199, fp8_quantize, BAD, q, a->q.dtype = TRINE_I8) \
    ROW(200, fp8_quantize, BAD, x, a->x.dtype = TRINE_F64) \
    ROW(201, fp8_quantize, BAD, x, (a->scaling = TRINE_FP8_PER_128X128, a->x.ndim = a->q.ndim = 1)) \
    ROW(202, fp8_dequantize, BAD, scale, a->scale = trine_tensor_1d(a->scale.data, TRINE_F32, 0)) \
    ROW(203, fp8_dequantize, BAD, scale, a->scale.dtype = TRINE_F16) \
    ROW(204, fp8_dequantize, BAD, q, a->q.dtype = TRINE_U8) \
    ROW(205, fp8_dequantize, BAD, scaling, a->scaling = (trine_fp8_scaling)-1) \
    ROW(206, fp8_dequantize, BAD, y, a->y.dtype = TRINE_F8_E4M3FN) \
    ROW(207, l2_normalize, BAD, eps, a->eps = 0) \
    ROW(208, l2_normalize_backward, BAD, eps, a->eps = NAN) \
    ROW(209, l2_normalize_backward, BAD, dy, a->dy.shape[0]++) \
    ROW(210, batchnorm, BAD, eps, a->eps = 0) \
    ROW(211, batchnorm, BAD, momentum, a->momentum = 1.5f) \
    ROW(212, batchnorm, BAD, weight, stretch(&a->weight)) \
    ROW(213, batchnorm, BAD, x, a->x.ndim = a->y.ndim = 1) \
    ROW(214, batchnorm, BAD, new_running_mean, a->running_mean.dtype = TRINE_DTYPE_NONE) \
    ROW(215, batchnorm, BAD, new_running_var, a->new_running_var.data = a->running_mean.data) \
    ROW(216, batchnorm, BAD, mean, (a->inference = 1, a->new_running_mean.dtype = a->new_running_var.dtype = TRINE_DTYPE_NONE)) \
    ROW(217, batchnorm_backward, BAD, rstd, a->rstd.dtype = TRINE_DTYPE_NONE) \
    ROW(218, batchnorm_backward, BAD, dweight, stretch_output(&a->dweight)) \
    ROW(219, groupnorm, BAD, groups, a->groups = 0) \
    ROW(220, groupnorm, BAD, mean, stretch_output(&a->mean)) \
    ROW(221, groupnorm_backward, BAD, groups, a->groups = (int32_t)a->weight.shape[0] + 1) \
    ROW(222, groupnorm_backward, BAD, mean, a->mean.dtype = TRINE_F16) \
    ROW(300, conv, BAD, window, a->window.rank = 3) \
    ROW(301, conv, BAD, window, a->window.stride[0] = -1) \
    ROW(302, conv, BAD, window, a->window.dilation[0] = INT32_MAX) \
    ROW(303, conv, BAD, window, a->window.padding[0] = -1) \
    ROW(304, conv, BAD, window, a->window.groups = -1) \
    ROW(305, conv, BAD, window, a->window.groups = 7919) \
    ROW(306, conv, BAD, y, a->window.padding[0] += 3) \
    ROW(307, conv, BAD, weight, a->weight.ndim--) \
    ROW(308, conv, BAD, weight, a->weight.dtype = TRINE_F64) \
    ROW(309, conv, BAD, y, a->y.dtype = TRINE_I32) \
    ROW(310, conv, BAD, bias, stretch(&a->bias)) \
    ROW(311, conv, BAD, activation, a->activation = TRINE_ACT_COUNT) \
    ROW(312, conv_backward_data, BAD, dy, a->dy.shape[0]++) \
    ROW(313, conv_backward_data, BAD, dy, a->window.stride[0] += 5) \
    ROW(314, conv_backward_weight, BAD, dy, a->window.padding[0] += 9) \
    ROW(315, conv_backward_weight, BAD, dbias, stretch_output(&a->dbias))

#define DEFINE(number, name_, status, argument, statement) APPLY(number, name_, statement)
ROWS(DEFINE)
#define LIST(number, name_, status, argument, statement) {TRINE_OP_##name_, #statement, #argument, status, apply_##number},
static const row rows[] = {ROWS(LIST)};

static void test_row(trine_stream *s, const row *r)
{
    valid_call v;
    trine_query_result answer;
    const char *op = trine_op_get_info(r->op)->name;
    if (!valid_call_open(&v, s, r->op)) {
        fail("%s: no case to start from", op);
        return;
    }
    r->apply(v.args);
    for (int asked = 0; asked < 2; asked++) {
        trine_status status = asked ? trine_query(s, r->op, v.args, &answer) : trine_run(s, r->op, v.args);
        const char *text = trine_error_text();
        CHECK(status == r->status, "%s: %s: status %s", op, r->what, trine_status_name(status));
        CHECK(names_word(text, "cpu") && names_word(text, op), "%s: %s: the text names no backend or op: %s", op, r->what, text);
        /* the reason of a refusal is the backend's own words */
        CHECK(r->status == NOT || names_word(text, r->argument), "%s: %s: the text does not name %s: %s", op, r->what,
              r->argument, text);
        CHECK(r->status == BAD || strlen(text) > strlen("cpu (x86-64-v4): : ") + strlen(op), "%s: %s: no reason: %s", op, r->what,
              text);
    }
    CHECK(valid_call_untouched(&v), "%s: %s: memory was written", op, r->what);
    valid_call_close(&v);
}

/* Sizes that no memory has: only asked for. */
static void test_index_of_i32(trine_stream *s)
{
    trine_query_result answer;
    trine_argmax_args a = {.x = trine_tensor_1d(NULL, TRINE_F32, (int64_t)INT32_MAX + 1),
                           .y = trine_tensor_make(NULL, TRINE_I32, 0, NULL),
                           .axis = TRINE_AXIS_ALL};
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_ERROR_INVALID_ARGUMENT && names_word(trine_error_text(), "i32"));
    a.y.dtype = TRINE_I64;
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_OK);
    a.y.dtype = TRINE_I32;
    a.x.shape[0]--;
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_OK);
    a.x = trine_tensor_2d(NULL, TRINE_F32, (int64_t)1 << 32, 2);
    a.y = trine_tensor_1d(NULL, TRINE_I32, (int64_t)1 << 32);
    a.axis = 1;
    EXPECT(trine_query(s, TRINE_OP_argmax, &a, &answer) == TRINE_OK);
}

/* The query states what linear_cross_entropy needs at its peak: far less than all logits; a chunk of them at least. */
static void test_peak_memory(trine_stream *s)
{
    enum { N = 65536, D = 1024, C = 131072 };
    trine_query_result chosen, small, narrow;
    trine_linear_cross_entropy_args a = {.x = trine_tensor_2d(NULL, TRINE_BF16, N, D),
                                         .weight = trine_tensor_2d(NULL, TRINE_BF16, C, D),
                                         .labels = trine_tensor_1d(NULL, TRINE_I64, N),
                                         .loss = trine_tensor_make(NULL, TRINE_F32, 0, NULL),
                                         .dx = trine_tensor_2d(NULL, TRINE_BF16, N, D),
                                         .dweight = trine_tensor_2d(NULL, TRINE_F32, C, D)};
    EXPECT(trine_query(s, TRINE_OP_linear_cross_entropy, &a, &chosen) == TRINE_OK);
    EXPECT(chosen.workspace < (size_t)N * C * 2 / 32);
    a.chunk = 128;
    EXPECT(trine_query(s, TRINE_OP_linear_cross_entropy, &a, &small) == TRINE_OK);
    EXPECT(small.workspace >= (size_t)128 * C * 2 && small.workspace < chosen.workspace);
    a.dweight.dtype = TRINE_BF16; /* summed up in f32 elsewhere */
    EXPECT(trine_query(s, TRINE_OP_linear_cross_entropy, &a, &narrow) == TRINE_OK);
    EXPECT(narrow.workspace == small.workspace + (size_t)C * D * 4);
}

int main(void)
{
    trine_stream *s = cpu_stream();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) test_row(s, &rows[i]);
    test_index_of_i32(s);
    test_peak_memory(s);
    trine_stream_destroy(s);
    return finish();
}
