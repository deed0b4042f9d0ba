#include "tests/api/calls.h"

#include "core/fields.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -1: no good as a starting point, or without a tensor `wanted`. Many tensors first, then enough elements in the smallest. */
static int64_t score(const test_case *c, const char *wanted)
{
    enum { ENOUGH = 64, WORK_MAX = 1000000 };
    int64_t least = ENOUGH;
    bool has = wanted == NULL;
    if (c->may_refuse || c->work > WORK_MAX) return -1;
    for (int32_t k = 0; k < c->tensor_count; k++) {
        const case_tensor *t = &c->tensor[k];
        if (wanted && strcmp(trine_op_get_info(c->op)->fields[t->field].name, wanted) == 0) has = true;
        if (t->layout != LAYOUT_DENSE || t->inplace_of >= 0 || t->numel == 0) return -1;
        if (t->numel < least) least = t->numel;
    }
    return has ? c->tensor_count * (ENOUGH + 1) + least : -1;
}

bool valid_call_open_with(valid_call *v, trine_stream *stream, trine_op op, const char *field)
{
    int64_t best = -1;
    memset(v, 0, sizeof *v);
    v->stream = stream;
    v->op = op;
    v->info = trine_op_get_info(op);
    cases_of(op, &v->list, CASES_CHECK);
    for (int64_t i = 0; i < v->list.count; i++) {
        int64_t s = score(v->list.items[i], field);
        if (s <= best) continue;
        best = s;
        v->c = v->list.items[i];
    }
    bool made = v->c && case_prepare(v->c, 0) && place_create(&v->place, stream, v->c) == TRINE_OK &&
                place_upload(&v->place, 0xa5) == TRINE_OK && (v->args = malloc(v->place.args_bytes));
    if (made)
        valid_call_reset(v, 0);
    else
        valid_call_close(v);
    return made;
}

bool valid_call_open(valid_call *v, trine_stream *stream, trine_op op) { return valid_call_open_with(v, stream, op, NULL); }

void valid_call_close(valid_call *v)
{
    if (v->place.c) place_destroy(&v->place);
    free(v->args);
    cases_free(&v->list);
    memset(v, 0, sizeof *v);
}

bool valid_call_untouched(const valid_call *v)
{
    for (int32_t k = 0; k < v->c->tensor_count; k++) {
        const placed_tensor *t = &v->place.tensor[k];
        if (memcmp(t->device, t->image, t->bytes) != 0) return false;
    }
    return true;
}

void valid_call_restore(valid_call *v)
{
    for (int32_t k = 0; k < v->c->tensor_count; k++)
        memcpy(v->place.tensor[k].device, v->place.tensor[k].image, v->place.tensor[k].bytes);
}

trine_tensor *valid_call_reset(valid_call *v, int32_t i)
{
    trine_args_copy(v->info, v->place.args, v->args);
    return call_tensor(v->args, v->op, i);
}

trine_tensor *call_tensor(void *args, trine_op op, int32_t i)
{
    return trine_field_tensor(args, &trine_op_get_info(op)->fields[i], 0);
}

trine_status call_by_name(trine_stream *stream, trine_op op, const void *args)
{
    switch (op) {
#define OP(family, name) \
    case TRINE_OP_##name: \
        return trine_##name(stream, args);
#include "trine/ops.def"
#undef OP
    default: return TRINE_ERROR_INVALID_ARGUMENT;
    }
}

static bool is_part_of_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

bool names_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at++)
        if ((at == text || !is_part_of_word(at[-1])) && !is_part_of_word(at[length])) return true;
    return false;
}

trine_stream *cpu_stream(void)
{
    trine_stream *stream;
    const trine_stream_options options = {.backend = "cpu", .variant = "", .flags = TRINE_STREAM_NO_FALLBACK};
    if (trine_stream_create(&options, &stream) == TRINE_OK) return stream;
    printf("no stream on the CPU: %s\n0 passed, 1 failed\n", trine_error_text());
    exit(1);
}
