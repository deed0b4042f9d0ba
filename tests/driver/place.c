#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/driver/place.h"

enum { GUARD = 256 };

static int64_t size_of(const case_tensor *t) { return trine_dtype_bits(t->dtype) / 8; }

trine_tensor place_view(const case_tensor *t, int64_t *offset)
{
    trine_tensor v = trine_tensor_make(NULL, t->dtype, t->ndim, t->shape);
    int32_t last = t->ndim - 1;
    case_layout layout = t->layout == LAYOUT_TRANSPOSED && t->ndim < 2 ? LAYOUT_STRIDED : t->layout;
    *offset = layout == LAYOUT_OFFSET;
    if (t->ndim == 0 || layout == LAYOUT_DENSE || layout == LAYOUT_OFFSET) return v;
    int64_t pitch;
    if (layout == LAYOUT_TRANSPOSED) {
        v.stride[last - 1] = 1;
        v.stride[last] = t->shape[last - 1] ? t->shape[last - 1] : 1;
        pitch = v.stride[last] * t->shape[last];
        last--;
    } else {
        v.stride[last] = layout == LAYOUT_STRIDED ? 2 : 1;
        pitch = v.stride[last] * t->shape[last] + 3;
    }
    for (int32_t d = last - 1; d >= 0; d--) {
        v.stride[d] = pitch;
        pitch *= t->shape[d] ? t->shape[d] : 1;
    }
    return v;
}

void place_shape_args(const test_case *c, unsigned char args[CASE_ARGS_MAX])
{
    const trine_op_info *info = trine_op_get_info(c->op);
    memcpy(args, c->args, info->args_size);
    for (int32_t k = 0; k < c->tensor_count; k++) {
        int64_t offset;
        trine_tensor view = place_view(&c->tensor[k], &offset);
        memcpy(args + info->fields[c->tensor[k].field].offset, &view, sizeof view);
    }
}

static unsigned char canary(size_t i) { return (unsigned char)(0xc3 ^ i * 7); }

/* Calls back with the byte offset (in the image) of every element, in row-major order. */
typedef void (*element_fn)(unsigned char *at, int64_t index, int64_t size, void *user);

static void each_element(const case_tensor *t, const placed_tensor *p, unsigned char *image, element_fn fn, void *user)
{
    int64_t index[TRINE_MAX_DIMS] = {0}, size = size_of(t);
    for (int64_t i = 0; i < t->numel; i++) {
        int64_t offset = 0;
        for (int32_t d = 0; d < t->ndim; d++) offset += index[d] * p->view.stride[d];
        fn(image + p->begin + offset * size, i, size, user);
        for (int32_t d = t->ndim - 1; d >= 0 && ++index[d] == t->shape[d]; d--) index[d] = 0;
    }
}

static void put(unsigned char *at, int64_t index, int64_t size, void *user)
{
    memcpy(at, case_element(user, index), (size_t)size);
}

static void take(unsigned char *at, int64_t index, int64_t size, void *user)
{
    memcpy((unsigned char *)user + index * size, at, (size_t)size);
}

static void poison_element(unsigned char *at, int64_t index, int64_t size, void *user)
{
    (void)index;
    memset(at, *(unsigned char *)user, (size_t)size);
}

static trine_status create_tensor(placement *p, int32_t k)
{
    const case_tensor *t = &p->c->tensor[k];
    placed_tensor *q = &p->tensor[k];
    int64_t offset;
    q->view = place_view(t, &offset);
    if (t->inplace_of >= 0) {
        q->borrowed = true;
        q->view = p->tensor[t->inplace_of].view;
        return TRINE_OK;
    }
    int64_t extent = trine_tensor_extent_bytes(&q->view);
    q->begin = (size_t)(GUARD + offset * size_of(t));
    q->bytes = q->begin + (size_t)extent + GUARD;
    q->image = malloc(q->bytes);
    q->back = malloc(q->bytes);
    if (!q->image || !q->back) return TRINE_ERROR_OUT_OF_MEMORY;
    trine_status status = trine_malloc(p->stream, q->bytes, &q->device);
    if (status == TRINE_OK) q->view.data = (unsigned char *)q->device + q->begin;
    return status;
}

trine_status place_create(placement *p, trine_stream *stream, const test_case *c)
{
    const trine_op_info *info = trine_op_get_info(c->op);
    memset(p, 0, sizeof *p);
    p->stream = stream;
    p->c = c;
    memcpy(p->args, c->args, info->args_size);
    for (int32_t k = 0; k < c->tensor_count; k++) {
        trine_status status = create_tensor(p, k);
        if (status != TRINE_OK) return status;
        memcpy(p->args + info->fields[c->tensor[k].field].offset, &p->tensor[k].view, sizeof(trine_tensor));
    }
    return TRINE_OK;
}

trine_status place_upload(placement *p, unsigned char poison)
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        const case_tensor *t = &p->c->tensor[k];
        placed_tensor *q = &p->tensor[k];
        if (q->borrowed) continue;
        for (size_t i = 0; i < q->bytes; i++) q->image[i] = canary(i);
        if (t->output)
            each_element(t, q, q->image, poison_element, &poison);
        else
            each_element(t, q, q->image, put, (void *)t);
        trine_status status = trine_memcpy(p->stream, q->device, q->image, q->bytes, TRINE_HOST_TO_DEVICE);
        if (status != TRINE_OK) return status;
    }
    return trine_stream_synchronize(p->stream);
}

trine_status place_download(placement *p)
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        placed_tensor *q = &p->tensor[k];
        if (q->borrowed) continue;
        trine_status status = trine_memcpy(p->stream, q->back, q->device, q->bytes, TRINE_DEVICE_TO_HOST);
        if (status != TRINE_OK) return status;
    }
    return trine_stream_synchronize(p->stream);
}

static const placed_tensor *memory_of(const placement *p, int32_t k)
{
    return &p->tensor[p->tensor[k].borrowed ? p->c->tensor[k].inplace_of : k];
}

void place_gather(const placement *p, int32_t k, void *dense)
{
    const placed_tensor *q = memory_of(p, k);
    each_element(&p->c->tensor[k], q, q->back, take, dense);
}

static bool written_in_place(const placement *p, int32_t k)
{
    for (int32_t j = 0; j < p->c->tensor_count; j++)
        if (p->c->tensor[j].inplace_of == k) return true;
    return p->c->tensor[k].output;
}

const char *place_damage(placement *p, char text[160])
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        placed_tensor *q = &p->tensor[k];
        unsigned char same = 0;
        if (q->borrowed) continue;
        if (written_in_place(p, k)) {
            each_element(&p->c->tensor[k], q, q->image, poison_element, &same);
            each_element(&p->c->tensor[k], q, q->back, poison_element, &same);
        }
        if (memcmp(q->image, q->back, q->bytes) == 0) continue;
        size_t i = 0;
        while (q->image[i] == q->back[i]) i++;
        snprintf(text, 160, "%s: byte %lld of its memory (element 0 is at 0) was overwritten",
                 trine_op_get_info(p->c->op)->fields[p->c->tensor[k].field].name, (long long)i - (long long)q->begin);
        return text;
    }
    return NULL;
}

void place_destroy(placement *p)
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        placed_tensor *q = &p->tensor[k];
        if (q->device) trine_free(p->stream, q->device);
        free(q->image);
        free(q->back);
    }
}
