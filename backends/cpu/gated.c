/* Gated activations on the CPU: spans, the activation's own loops and a product. Bound as the activations are: by bytes or, with
 * 16-bit elements, by the exponentials. */
#include "backends/cpu/activation_math.h"
#include "backends/cpu/lanes_store.h"
#include "backends/cpu/walk.h"
#include "core/gated_halves.h"

typedef struct context {
    trine_dtype dtype;
    trine_activation_kind kind;
    float alpha;
} context;

/* Operands: y, gate, up. */
static void forward_run(const void *user, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const context *c = user;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(gate_buffer);
    SPAN_BUFFER(up_buffer);
    SPAN_BUFFER(y);
    const bool dense = LANES_PUTS && step[0] == 1 && step[1] == 1 && step[2] == 1;
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        const int64_t lines = lanes_to_put(dense, to, c->dtype, n - i, &m);
        if (lines > 0 && activate_product_put(c->kind, c->alpha, to, p[1] + i * size, p[2] + i * size, c->dtype, lines, stream)) {
            m = lines;
            continue;
        }
        const float *gate = cpu_load(gate_buffer, p[1] + i * step[1] * size, c->dtype, m, step[1]);
        const float *up = cpu_load(up_buffer, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        activate_values(c->kind, c->alpha, c->dtype, y, gate, m);
        for (int64_t j = 0; j < m; j++) y[j] *= up[j];
        cpu_store(to, c->dtype, y, m, step[0], stream);
    }
}

/* Operands: dgate, dup, gate, up, dy. */
static void backward_run(const void *user, char *const *p, const int64_t *step, int64_t n, bool stream)
{
    const context *c = user;
    const int64_t size = trine_dtype_bits(c->dtype) / 8;
    SPAN_BUFFER(gate_buffer);
    SPAN_BUFFER(up_buffer);
    SPAN_BUFFER(dy_buffer);
    SPAN_BUFFER(dgate);
    SPAN_BUFFER(dup);
    bool may_put = ((uintptr_t)p[0] - (uintptr_t)p[1]) % 64 == 0;
    for (int k = 0; k < 5; k++) may_put = may_put && step[k] == 1;
    for (int64_t i = 0, m; i < n; i += m) {
        char *to = p[0] + i * step[0] * size;
        m = span_length(to, c->dtype, n - i);
        if (may_put) {
            int64_t before;
            const int64_t lines = lanes_to_put(true, to, c->dtype, n - i, &before);
            char *at[5];
            for (int k = 0; k < 5; k++) at[k] = p[k] + i * size;
            m = lines > 0 ? lines : before;
            if (lines > 0 && activate_gated_put(c->kind, at[0], at[1], at[2], at[3], at[4], c->dtype, lines, stream)) continue;
            m = m < SPAN_MAX ? m : SPAN_MAX;
        }
        const float *gate = cpu_load(gate_buffer, p[2] + i * step[2] * size, c->dtype, m, step[2]);
        const float *up = cpu_load(up_buffer, p[3] + i * step[3] * size, c->dtype, m, step[3]);
        const float *dy = cpu_load(dy_buffer, p[4] + i * step[4] * size, c->dtype, m, step[4]);
        activate_gated(c->kind, c->alpha, c->dtype, dgate, dup, gate, up, dy, m);
        cpu_store(to, c->dtype, dgate, m, step[0], stream);
        cpu_store(p[1] + i * step[1] * size, c->dtype, dup, m, step[1], stream);
    }
}

trine_status TRINE_CPU(gated)(trine_call *call, const trine_gated_args *a)
{
    trine_tensor gate = a->gate, up = a->up;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (!trine_is_given(&up)) trine_gated_split(&gate, &up, a->up_first);
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&a->y, &gate, &up}, 3);
    cpu_walk_run(&w, forward_run, &(context){a->y.dtype, a->kind, a->alpha});
    return TRINE_OK;
}

trine_status TRINE_CPU(gated_backward)(trine_call *call, const trine_gated_backward_args *a)
{
    trine_tensor gate = a->gate, up = a->up, dgate = a->dgate, dup = a->dup;
    call->variant = TRINE_CPU_VARIANT;
    TRINE_END_OF_QUERY(call, 0);
    if (!trine_is_given(&up)) {
        trine_gated_split(&gate, &up, a->up_first);
        trine_gated_split(&dgate, &dup, a->up_first);
    }
    const cpu_walk w = cpu_walk_make((const trine_tensor *[]){&dgate, &dup, &gate, &up, &a->dy}, 5);
    cpu_walk_run(&w, backward_run, &(context){a->dy.dtype, a->kind, a->alpha});
    return TRINE_OK;
}
