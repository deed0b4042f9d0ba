#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fields.h"
#include "tests/driver/place.h"

enum { GUARD = 256 };

static int64_t size_of(const case_tensor *t) { return trine_dtype_bits(t->dtype) / 8; }

/* Any order of axes, most often their own; gaps behind any of them, most often none behind the innermost. */
static trine_tensor random_view(const case_tensor *t, int64_t *offset)
{
    enum { GAPS = 8, OFFSETS = 8 };
    static const int64_t gaps[GAPS] = {0, 0, 0, 0, 1, 3, 8, 16}, offsets[OFFSETS] = {0, 0, 0, 1, 2, 4, 8, 15};
    trine_tensor v = trine_tensor_make(NULL, t->dtype, t->ndim, t->shape);
    int32_t order[TRINE_MAX_DIMS];
    uint64_t n = 0;
    for (int32_t d = 0; d < t->ndim; d++) order[d] = d;
    if (case_hash(t->layout_seed, n++) % 4 == 0)
        for (int32_t d = t->ndim - 1; d > 0; d--) {
            const int32_t other = (int32_t)(case_hash(t->layout_seed, n++) % (uint64_t)(d + 1)), was = order[d];
            order[d] = order[other];
            order[other] = was;
        }
    *offset = offsets[case_hash(t->layout_seed, n++) % OFFSETS];
    int64_t pitch = case_hash(t->layout_seed, n++) % 8 ? 1 : 2;
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
        const int32_t axis = order[d];
        v.stride[axis] = pitch;
        if (axis == t->repeated) {
            v.stride[axis] = 0;
            continue;
        }
        pitch *= t->shape[axis] > 0 ? t->shape[axis] : 1;
        pitch += gaps[case_hash(t->layout_seed, n++) % GAPS];
    }
    return v;
}

trine_tensor place_view(const case_tensor *t, int64_t *offset)
{
    trine_tensor v = trine_tensor_make(NULL, t->dtype, t->ndim, t->shape);
    int32_t last = t->ndim - 1;
    case_layout layout = t->layout == LAYOUT_TRANSPOSED && t->ndim < 2 ? LAYOUT_STRIDED : t->layout;
    if (layout == LAYOUT_RANDOM) return random_view(t, offset);
    *offset = layout == LAYOUT_OFFSET;
    if (layout == LAYOUT_APART && t->ndim > 0) v.stride[0] += 16;
    if (t->ndim == 0 || layout == LAYOUT_DENSE || layout == LAYOUT_OFFSET || layout == LAYOUT_APART) return v;
    int64_t pitch;
    if (layout == LAYOUT_TRANSPOSED) {
        v.stride[last - 1] = 1;
        v.stride[last] = t->shape[last - 1] ? t->shape[last - 1] : 1;
        pitch = v.stride[last] * t->shape[last];
        last--;
    } else {
        v.stride[last] = layout == LAYOUT_STRIDED ? 2 : 1;
        pitch = v.stride[last] * t->shape[last] + 3;
        if (layout == LAYOUT_GAPPED) pitch = (t->shape[last] + 31) / 16 * 16;
    }
    for (int32_t d = last - 1; d >= 0; d--) {
        v.stride[d] = pitch;
        pitch *= layout == LAYOUT_GAPPED ? t->shape[d] + 1 : t->shape[d] ? t->shape[d] : 1;
    }
    return v;
}

/* The struct, each of its lists as long as the case has tensors for it, or says itself. */
static void list_lengths(const test_case *c, unsigned char head[CASE_ARGS_MAX])
{
    const trine_op_info *info = trine_op_get_info(c->op);
    memcpy(head, c->args, info->args_size);
    for (int32_t k = 0; k < c->tensor_count; k++) {
        const trine_op_field *field = &info->fields[c->tensor[k].field];
        if (!(field->flags & TRINE_FIELD_LIST)) continue;
        trine_tensor_list *list = trine_field_list(head, field);
        if (list->count <= c->tensor[k].item) list->count = c->tensor[k].item + 1;
    }
}

trine_tensor *place_tensor_of(const test_case *c, void *args, int32_t k)
{
    return trine_field_tensor(args, &trine_op_get_info(c->op)->fields[c->tensor[k].field], c->tensor[k].item);
}

void *place_shape_args(const test_case *c, size_t *bytes)
{
    const trine_op_info *info = trine_op_get_info(c->op);
    _Alignas(16) unsigned char head[CASE_ARGS_MAX];
    list_lengths(c, head);
    const size_t size = trine_args_copy_bytes(info, head);
    char *args = calloc(1, size), *end = args + (info->args_size + 15) / 16 * 16;
    if (!args) exit(3);
    memcpy(args, head, info->args_size);
    for (int32_t f = 0; f < info->field_count; f++) {
        if (!(info->fields[f].flags & TRINE_FIELD_LIST)) continue;
        trine_tensor_list *list = trine_field_list(args, &info->fields[f]);
        list->at = list->count ? (trine_tensor *)(void *)end : NULL;
        end += (size_t)list->count * sizeof(trine_tensor);
    }
    for (int32_t k = 0; k < c->tensor_count; k++) {
        int64_t offset;
        *place_tensor_of(c, args, k) = place_view(&c->tensor[k], &offset);
    }
    if (bytes) *bytes = size;
    return args;
}

/* Bytes that repeat every 256: what surrounds the elements. */
static void fill_canary(unsigned char *image, size_t bytes)
{
    size_t filled = bytes < 256 ? bytes : 256;
    for (size_t i = 0; i < filled; i++) image[i] = (unsigned char)(0xc3 ^ i * 7);
    for (size_t n; filled < bytes; filled += n) {
        n = bytes - filled < filled ? bytes - filled : filled;
        memcpy(image + filled, image, n);
    }
}

/* n elements that lie `step` bytes apart: the first of them, element `index` of the tensor, `at` bytes into its memory. */
typedef struct element_run {
    int64_t at, index, n, step, size;
} element_run;
typedef void (*run_fn)(const element_run *run, unsigned char *memory, void *user);

/* Calls back with all elements in row-major order, in runs as long as they are evenly apart. */
static void each_run(const case_tensor *t, const placed_tensor *p, unsigned char *memory, run_fn fn, void *user)
{
    int64_t index[TRINE_MAX_DIMS] = {0}, size = size_of(t), n = 1, step = 1;
    int32_t outer = t->ndim;
    while (outer > 0 && (n == 1 || t->shape[outer - 1] == 1 || p->view.stride[outer - 1] == step * n)) {
        outer--;
        if (n == 1) step = p->view.stride[outer];
        n *= t->shape[outer];
    }
    for (int64_t i = 0; i < t->numel; i += n) {
        int64_t offset = 0;
        for (int32_t d = 0; d < outer; d++) offset += index[d] * p->view.stride[d];
        const element_run run = {(int64_t)p->begin + offset * size, i, n, step * size, size};
        fn(&run, memory, user);
        for (int32_t d = outer - 1; d >= 0 && ++index[d] == t->shape[d]; d--) index[d] = 0;
    }
}

static void copy_apart(unsigned char *to, int64_t to_step, const unsigned char *from, int64_t from_step, int64_t size, int64_t n)
{
    if (to_step == size && from_step == size) {
        memcpy(to, from, (size_t)(n * size));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        unsigned char *a = to + i * to_step;
        const unsigned char *b = from + i * from_step;
        switch (size) {
        case 1: *a = *b; break;
        case 2: memcpy(a, b, 2); break;
        case 4: memcpy(a, b, 4); break;
        case 8: memcpy(a, b, 8); break;
        default: memcpy(a, b, (size_t)size); break;
        }
    }
}

/* From the case's elements. */
static void put(const element_run *run, unsigned char *memory, void *user)
{
    const case_tensor *t = user;
    for (int64_t done = 0, m; done < run->n; done += m) {
        const int64_t left = t->period - (run->index + done) % t->period;
        m = run->n - done < left ? run->n - done : left;
        copy_apart(memory + run->at + done * run->step, run->step, case_element(t, run->index + done), run->size, run->size, m);
    }
}

/* To dense elements. */
static void take(const element_run *run, unsigned char *memory, void *user)
{
    copy_apart((unsigned char *)user + run->index * run->size, run->size, memory + run->at, run->step, run->size, run->n);
}

/* From memory of the same layout. */
static void restore(const element_run *run, unsigned char *memory, void *user)
{
    copy_apart(memory + run->at, run->step, (unsigned char *)user + run->at, run->step, run->size, run->n);
}

static void poison_run(const element_run *run, unsigned char *memory, void *user)
{
    const unsigned char poison = *(unsigned char *)user;
    unsigned char *to = memory + run->at;
    if (run->step == run->size) {
        memset(to, poison, (size_t)(run->n * run->size));
        return;
    }
    for (int64_t i = 0; i < run->n; i++)
        for (int64_t b = 0; b < run->size; b++) to[i * run->step + b] = poison;
}

static trine_status prepare_tensor(placement *p, int32_t k)
{
    const case_tensor *t = &p->c->tensor[k];
    placed_tensor *q = &p->tensor[k];
    int64_t offset;
    q->view = place_view(t, &offset);
    q->written = t->output;
    if (t->inplace_of >= 0) {
        q->borrowed = p->tensor[t->inplace_of].written = true;
        q->view = p->tensor[t->inplace_of].view;
        return TRINE_OK;
    }
    int64_t extent = trine_tensor_extent_bytes(&q->view);
    q->begin = (size_t)(GUARD + offset * size_of(t));
    q->bytes = q->begin + (size_t)extent + GUARD;
    q->image = malloc(q->bytes);
    q->back = malloc(q->bytes);
    return q->image && q->back ? TRINE_OK : TRINE_ERROR_OUT_OF_MEMORY;
}

trine_status place_prepare(placement *p, const test_case *c)
{
    memset(p, 0, sizeof *p);
    p->tensor = calloc((size_t)c->tensor_count + 1, sizeof *p->tensor);
    if (!p->tensor) return TRINE_ERROR_OUT_OF_MEMORY;
    p->c = c;
    p->args = place_shape_args(c, &p->args_bytes);
    for (int32_t k = 0; k < c->tensor_count; k++) {
        trine_status status = prepare_tensor(p, k);
        if (status != TRINE_OK) return status;
    }
    return TRINE_OK;
}

trine_status place_attach(placement *p, trine_stream *stream)
{
    p->stream = stream;
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        const int32_t owner = p->c->tensor[k].inplace_of;
        placed_tensor *q = &p->tensor[k];
        trine_status status = q->borrowed ? TRINE_OK : trine_malloc(stream, q->bytes, &q->device);
        if (status != TRINE_OK) return status;
        q->view.data = q->borrowed ? p->tensor[owner].view.data : (unsigned char *)q->device + q->begin;
        *place_tensor_of(p->c, p->args, k) = q->view;
    }
    return TRINE_OK;
}

void place_detach(placement *p)
{
    for (int32_t k = 0; p->tensor && k < p->c->tensor_count; k++) {
        if (p->tensor[k].device) trine_free(p->stream, p->tensor[k].device);
        p->tensor[k].device = NULL;
    }
}

trine_status place_create(placement *p, trine_stream *stream, const test_case *c)
{
    trine_status status = place_prepare(p, c);
    return status == TRINE_OK ? place_attach(p, stream) : status;
}

/* Canaries and inputs are put there once; outputs get each poison that differs from the last. */
static void make_image(placed_tensor *q, const case_tensor *t, unsigned char poison)
{
    const bool poisoned = t->output && !t->updated, made = q->made;
    if (!made) fill_canary(q->image, q->bytes);
    if (!made && !poisoned) each_run(t, q, q->image, put, (void *)t);
    if (poisoned && !(made && q->poison == poison)) each_run(t, q, q->image, poison_run, &poison);
    q->made = true;
    q->poison = poison;
}

static trine_status upload(placement *p, unsigned char poison, bool all)
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        placed_tensor *q = &p->tensor[k];
        if (q->borrowed || !(all || q->written)) continue;
        make_image(q, &p->c->tensor[k], poison);
        trine_status status = trine_memcpy(p->stream, q->device, q->image, q->bytes, TRINE_HOST_TO_DEVICE);
        if (status != TRINE_OK) return status;
    }
    return trine_stream_synchronize(p->stream);
}

static trine_status download(placement *p, bool all)
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        placed_tensor *q = &p->tensor[k];
        if (q->borrowed || !(all || q->written)) continue;
        trine_status status = trine_memcpy(p->stream, q->back, q->device, q->bytes, TRINE_DEVICE_TO_HOST);
        if (status != TRINE_OK) return status;
    }
    return trine_stream_synchronize(p->stream);
}

trine_status place_upload(placement *p, unsigned char poison) { return upload(p, poison, true); }

trine_status place_download(placement *p) { return download(p, true); }

trine_status place_upload_outputs(placement *p, unsigned char poison) { return upload(p, poison, false); }

trine_status place_download_outputs(placement *p) { return download(p, false); }

static const placed_tensor *memory_of(const placement *p, int32_t k)
{
    return &p->tensor[p->tensor[k].borrowed ? p->c->tensor[k].inplace_of : k];
}

void place_gather(const placement *p, int32_t k, void *dense)
{
    const placed_tensor *q = memory_of(p, k);
    each_run(&p->c->tensor[k], q, q->back, take, dense);
}

const char *place_damage(placement *p, char text[160])
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        placed_tensor *q = &p->tensor[k];
        if (q->borrowed) continue;
        if (q->written) each_run(&p->c->tensor[k], q, q->back, restore, q->image);
        if (memcmp(q->image, q->back, q->bytes) == 0) continue;
        size_t i = 0;
        while (q->image[i] == q->back[i]) i++;
        char name[CASE_TEXT];
        snprintf(text, 160, "%s: byte %lld of its memory (element 0 is at 0) was overwritten",
                 case_tensor_name(p->c, &p->c->tensor[k], name), (long long)i - (long long)q->begin);
        return text;
    }
    return NULL;
}

void place_destroy(placement *p)
{
    place_detach(p);
    for (int32_t k = 0; p->tensor && k < p->c->tensor_count; k++) {
        free(p->tensor[k].image);
        free(p->tensor[k].back);
    }
    free(p->tensor);
    free(p->args);
    memset(p, 0, sizeof *p);
}
