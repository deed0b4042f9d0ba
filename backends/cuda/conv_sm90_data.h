/* The sm90 data gradient: a convolution of dy with the filter's taps backwards; with a stride, one for each phase of the input's
 * elements, all in one launch. The filters are read where they lie if their channels are dense, each phase its own taps.
 *
 * Where all phases' channels fit into one tile (an image's three), phases are columns side by side: every column has the taps that
 * any of them has, zeros where its own has none, and dy is read for all at once. */
#ifndef TRINE_CUDA_CONV_SM90_DATA_H
#define TRINE_CUDA_CONV_SM90_DATA_H

#include "backends/cuda/conv_sm90.h"

namespace sm90 {

enum { data_phases = 64 };

/* Everything but taps and places, of the input as a whole. */
inline conv_task data_task(const trine_conv_shape &s, const trine_conv_backward_data_args *a)
{
    conv_task t = {};
    t.dtype = a->dy.dtype;
    t.exact = a->precision != TRINE_MATMUL_TF32;
    t.x = images_of_y(s, a->dy.data);
    t.f = conv_filters{a->weight.data, s.c, s.f_c, s.f_k, {s.f_at[0], s.f_at[1]}, {s.taps[0], s.taps[1]}};
    t.step[0] = t.step[1] = 1;
    conv_finish f = {};
    f.d = a->dx.data;
    f.image = s.x_n;
    f.row = s.stride[0] * s.x_at[0];
    f.column = s.stride[1] * s.x_at[1];
    f.channel = s.x_c;
    f.wide = a->dx.dtype == TRINE_F32;
    t.finish = f;
    t.outputs[0] = s.in[0];
    t.outputs[1] = s.in[1];
    return t;
}

/* Taps from the lowest place on, which is the last one's. */
inline conv_task phase_task(const conv_task &all, const trine_conv_shape &s, int64_t phase_h, int64_t phase_w)
{
    const trine_conv_phase p[2] = {trine_conv_phase_of(&s, 0, phase_h), trine_conv_phase_of(&s, 1, phase_w)};
    const int64_t line[2] = {s.taps[1], 1};
    const bool met = p[0].taps > 0 && p[1].taps > 0;
    conv_task t = all;
    t.turned = t.dtype != TRINE_F32; /* f32 is multiplied along dense terms */
    t.backwards = true;
    for (int i = 0; i < 2; i++) {
        t.taps[i] = met ? p[i].taps : 0;
        t.outputs[i] = p[i].count;
        t.first[i] = met ? p[i].begin - (p[i].taps - 1) * p[i].apart : 0;
        t.apart[i] = p[i].apart;
        t.filter += met ? (p[i].tap + (p[i].taps - 1) * p[i].step) * line[i] : 0;
        t.filter_step[i] = -p[i].step * line[i];
        t.d += p[i].first * s.x_at[i];
    }
    t.finish.packs = stores_packs(t);
    return t;
}

/* One phase of few channels: windows, and filters copied with their taps backwards. */
inline conv_task window_task(conv_task t)
{
    int64_t first = 0;
    for (int i = 0; i < 2; i++) {
        first += (t.taps[i] - 1) * t.f.tap[i];
        t.f.tap[i] = -t.f.tap[i];
    }
    if (t.f.data) t.f.data = static_cast<const char *>(t.f.data) + first * bytes_of(t);
    t.turned = t.backwards = false;
    t.filter = 0;
    t.filter_step[0] = t.taps[1];
    t.filter_step[1] = 1;
    return t;
}

/* Those of one size share a map, which begins where the first of them does. */
inline void share_planes(conv_task *tasks, int phases)
{
    for (int i = 0; i < phases; i++) {
        conv_task &t = tasks[i];
        t.plane = (t.outputs[0] != tasks[0].outputs[0]) * 2 + (t.outputs[1] != tasks[0].outputs[1]);
    }
    for (int plane = 0; plane < conv_planes; plane++)
        for (int axis = 0; axis < 2; axis++) {
            int64_t least = INT64_MAX;
            for (int i = 0; i < phases; i++)
                if (tasks[i].plane == plane && tasks[i].taps[0] && tasks[i].first[axis] < least) least = tasks[i].first[axis];
            for (int i = 0; i < phases; i++) {
                if (tasks[i].plane != plane || !tasks[i].taps[0]) continue;
                tasks[i].tap_at[axis] = tasks[i].first[axis] - least;
                tasks[i].first[axis] = least;
            }
        }
}

/* The phases that have elements, those of most taps first; their number. */
inline int phase_tasks(const trine_conv_shape &s, const conv_task &all, conv_task *tasks)
{
    int n = 0;
    for (int64_t h = 0; h < trine_conv_phases(&s, 0); h++)
        for (int64_t w = 0; w < trine_conv_phases(&s, 1); w++) {
            const conv_task t = phase_task(all, s, h, w);
            int at = n++;
            for (; at > 0 && tasks[at - 1].taps[0] * tasks[at - 1].taps[1] < t.taps[0] * t.taps[1]; at--)
                tasks[at] = tasks[at - 1];
            tasks[at] = t;
        }
    share_planes(tasks, n);
    return n;
}

/* Phases as columns. False if they don't fit. */
inline bool spread_task(const trine_conv_shape &s, const conv_task &all, conv_task *task, spread_pack *pack)
{
    const int64_t phases = s.stride[0] * s.stride[1];
    if (phases == 1 || phases * s.c > 64 || s.stride[0] > spread_most || s.stride[1] > spread_most) return false;
    conv_task t = all;
    spread_pack p = {};
    int64_t columns = s.c;
    for (int i = 0; i < 2; i++) {
        int64_t low = INT64_MAX, high = INT64_MIN;
        for (int64_t j = 0; j < s.stride[i]; j++) {
            const trine_conv_phase f = trine_conv_phase_of(&s, i, j);
            if (f.apart != 1) return false;
            p.tap[i][j] = int(f.tap);
            p.taps[i][j] = int(f.taps);
            p.begin[i][j] = int(f.begin);
            p.step[i] = int(f.step);
            if (f.taps == 0) continue;
            if (f.begin - f.taps + 1 < low) low = f.begin - f.taps + 1;
            if (f.begin > high) high = f.begin;
        }
        if (low > high) return false;
        for (int64_t j = 0; j < s.stride[i]; j++) p.begin[i][j] -= int(low);
        t.taps[i] = t.f.taps[i] = p.all[i] = int(high - low + 1);
        t.first[i] = low;
        t.apart[i] = 1;
        t.outputs[i] = simt::ceil_div(s.in[i], s.stride[i]);
        p.phases[i] = int(s.stride[i]);
        p.stride[i] = s.f_at[i];
        columns *= s.stride[i];
    }
    p.from = all.f.data;
    p.k = s.f_k;
    p.c = s.f_c;
    p.terms = int(s.k);
    p.channels = int(s.c);
    t.f.rows = columns;
    t.f.channel = 0; /* they must be copied */
    t.filter_step[0] = t.taps[1];
    t.filter_step[1] = 1;
    t.finish.spread = conv_spread{simt::divider32(s.c),
                                  simt::divider32(s.stride[1]),
                                  {int(s.stride[0]), int(s.stride[1])},
                                  {int(s.in[0]), int(s.in[1])},
                                  {s.x_at[0], s.x_at[1]}};
    t.finish.packs = s.c % 8 == 0 && s.x_at[0] % 8 == 0 && s.x_at[1] % 8 == 0 && stores_packs(t);
    *task = t;
    *pack = p;
    return true;
}

/* The gradient's tasks: phases, or (spread) one whose columns they are. */
struct data_plan {
    conv_task tasks[data_phases];
    spread_pack pack;
    int phases;
    bool spread;
};

inline void plan_data(data_plan *p, const trine_conv_shape &s, const trine_conv_backward_data_args *a)
{
    const conv_task all = data_task(s, a);
    p->phases = 1;
    p->spread = spread_task(s, all, p->tasks, &p->pack);
    if (p->spread) return;
    p->phases = phase_tasks(s, all, p->tasks);
    if (p->phases == 1 && takes_windows(window_task(p->tasks[0]))) p->tasks[0] = window_task(p->tasks[0]);
}

template <int tile> trine_status conv_data(trine_call *call, const void *args)
{
    const trine_conv_backward_data_args *a = static_cast<const trine_conv_backward_data_args *>(args);
    trine_conv_shape s = trine_conv_shape_make(&a->dx, &a->weight, &a->dy, &a->window, a->channels_last);
    trine_status status = check_task(call, data_task(s, a), s.groups);
    if (status != TRINE_OK) return status;
    TRINE_REQUIRE_THAT(call, trine_conv_phases(&s, 0) * trine_conv_phases(&s, 1) <= data_phases, "needs strides of at most 8");
    TRINE_REQUIRE_THAT(call, s.out[0] > 0 && s.out[1] > 0, "needs an output");
    if (s.n == 0 || s.c == 0 || s.in[0] == 0 || s.in[1] == 0) {
        TRINE_END_OF_QUERY(call, 0);
        return TRINE_OK;
    }
    data_plan p = {};
    plan_data(&p, s, a);
    TRINE_REQUIRE_THAT(call, p.tasks[0].taps[0] > 0, "needs a tap that meets an element");
    const conv_images dx = images_of_x(s, a->dx.data);
    conv_images made = dx;
    conv_layout l = layout_of(p.tasks[0]);
    if (turn_d(&l, p.tasks[0], p.phases, dx, &made)) {
        s.x_n = made.image;
        s.x_c = made.channel;
        for (int i = 0; i < 2; i++) s.x_at[i] = made.stride[i];
        plan_data(&p, s, a);
    }
    for (int i = 0; i < p.phases && status == TRINE_OK; i++)
        if (p.tasks[i].taps[0]) status = check_layout(call, p.tasks[i], l);
    if (status != TRINE_OK) return status;
    /* a query accepted the strides without the addresses */
    if (!aligned_for(p.tasks[0], l)) return trine_cuda_conv_data_portable(call, args);
    TRINE_END_OF_QUERY(call, workspace_of(l));
    return run_tasks(call, p.tasks, p.phases, l, tile, dx, p.spread ? &p.pack : nullptr);
}

} // namespace sm90

#endif
