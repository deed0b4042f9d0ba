/* trine_query against trine_run, for every case of every op on the CPU: the same status, and a workspace that is enough to the
 * byte and not a byte too large. */
#include <stdlib.h>
#include <string.h>

#include "core/fields.h"
#include "tests/api/calls.h"
#include "tests/unit/expect.h"

static double work_max = 200000; /* longer cases ask the same questions */

/* To be freed. */
static void *without_data(const test_case *c, const placement *p)
{
    void *args = malloc(p->args_bytes);
    if (!args) exit(3);
    trine_args_copy(trine_op_get_info(c->op), p->args, args);
    for (int32_t k = 0; k < c->tensor_count; k++) place_tensor_of(c, args, k)->data = NULL;
    return args;
}

static bool same_memory(const placement *p, bool image)
{
    for (int32_t k = 0; k < p->c->tensor_count; k++) {
        const placed_tensor *t = &p->tensor[k];
        if (!t->borrowed && memcmp(t->device, image ? t->image : t->back, t->bytes) != 0) return false;
    }
    return true;
}

/* What trine_run gives on a stream with a workspace of `bytes` bytes of the caller's. The bytes behind it must stay as they are.
 */
static trine_status run_with(const test_case *c, const placement *p, size_t bytes, bool *overrun)
{
    enum { BEHIND = 256 };
    trine_stream *s = NULL;
    unsigned char *workspace = aligned_alloc(256, (bytes + BEHIND + 255) / 256 * 256);
    *overrun = false;
    if (!workspace) return TRINE_ERROR_OUT_OF_MEMORY;
    memset(workspace, 0xff, bytes); /* NaN, in case that somebody reads it before it is written */
    memset(workspace + bytes, 0xc3, BEHIND);
    const trine_stream_options options = {
        .backend = "cpu", .variant = "", .workspace = workspace, .workspace_size = bytes, .flags = TRINE_STREAM_NO_FALLBACK};
    trine_status status = trine_stream_create(&options, &s);
    if (status == TRINE_OK) status = trine_run(s, c->op, p->args);
    for (int i = 0; i < BEHIND; i++) *overrun |= workspace[bytes + (size_t)i] != 0xc3;
    trine_stream_destroy(s);
    free(workspace);
    return status;
}

/* p->back holds the result of a plain run. */
static void test_workspace(const test_case *c, placement *p, size_t bytes)
{
    bool overrun;
    if (place_upload(p, 0xff) != TRINE_OK) return;
    trine_status status = run_with(c, p, bytes, &overrun);
    CHECK(status == TRINE_OK, "%s: %zu bytes of workspace should be enough: %s", c->name, bytes, trine_error_text());
    CHECK(!overrun, "%s: writes behind its %zu bytes of workspace", c->name, bytes);
    CHECK(status != TRINE_OK || same_memory(p, false), "%s: other bits with the caller's workspace", c->name);
    if (bytes == 0) return;
    if (place_upload(p, 0xff) != TRINE_OK) return;
    status = run_with(c, p, bytes - 1, &overrun);
    CHECK(status == TRINE_ERROR_WORKSPACE_TOO_SMALL, "%s: %zu bytes of workspace should be too few: %s", c->name, bytes - 1,
          trine_status_name(status));
    CHECK(names_word(trine_error_text(), trine_op_get_info(c->op)->name), "%s: the text names no op: %s", c->name,
          trine_error_text());
    CHECK(!overrun && same_memory(p, true), "%s: memory was written without enough workspace", c->name);
}

static void test_answer(const test_case *c, trine_status status, const trine_query_result *q)
{
    if (status == TRINE_OK) {
        CHECK(q->variant[0] && strncmp(q->accepted, q->variant, strlen(q->variant)) == 0, "%s: variant '%s', accepted '%s'",
              c->name, q->variant, q->accepted);
    } else {
        CHECK(status == TRINE_ERROR_UNSUPPORTED && c->may_refuse, "%s: query: %s", c->name, trine_error_text());
        CHECK(q->why[0] && !q->variant[0] && !q->accepted[0] && q->workspace == 0, "%s: refused with variant '%s', why '%s'",
              c->name, q->variant, q->why);
    }
}

/* Returns whether it needs workspace. */
static bool test_case_of_op(trine_stream *s, test_case *c)
{
    placement p;
    trine_query_result with, without;
    bool needs = false;
    if (!case_prepare(c, 0) || place_create(&p, s, c) != TRINE_OK || place_upload(&p, 0xff) != TRINE_OK) {
        fail("%s: no memory", c->name);
        return false;
    }
    void *args = without_data(c, &p);
    trine_status asked = trine_query(s, c->op, args, &without), again = trine_query(s, c->op, p.args, &with);
    CHECK(same_memory(&p, true), "%s: a query wrote memory", c->name);
    test_answer(c, again, &with);
    CHECK(asked == again && memcmp(&with, &without, sizeof with) == 0, "%s: another answer without data: %s", c->name,
          trine_status_name(asked));
    trine_status ran = trine_run(s, c->op, p.args);
    CHECK(ran == again, "%s: query %s, run %s", c->name, trine_status_name(again), trine_status_name(ran));
    CHECK(ran == TRINE_OK || same_memory(&p, true), "%s: refused, but memory was written", c->name);
    if (ran == TRINE_OK && place_download(&p) == TRINE_OK) {
        test_workspace(c, &p, with.workspace);
        needs = with.workspace > 0;
    }
    place_destroy(&p);
    free(args);
    case_release(c);
    return needs;
}

int main(void)
{
    trine_stream *s = cpu_stream();
    for (int op = 0; op < TRINE_OP_COUNT; op++) {
        case_list list = {0};
        long tested = 0, needs = 0;
        cases_of((trine_op)op, &list, CASES_CHECK);
        for (int64_t i = 0; i < list.count; i++) {
            if (list.items[i]->work > work_max) continue;
            needs += test_case_of_op(s, list.items[i]);
            tested++;
        }
        CHECK(tested > 0, "%s: no case", trine_op_get_info((trine_op)op)->name);
        if (needs) printf("%s: %ld of %ld cases need workspace\n", trine_op_get_info((trine_op)op)->name, needs, tested);
        cases_free(&list);
    }
    trine_stream_destroy(s);
    return finish();
}
