#include "tests/driver/check_report.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "tools/describe.h"

enum { FORMAT = 1, KEPT = 10 };

static bool write_report(const check_report *r)
{
    char *text = cJSON_Print(r->root);
    FILE *file = text ? fopen(r->path, "w") : NULL;
    bool written = file && fprintf(file, "%s\n", text) > 0;
    if (file && fclose(file) != 0) written = false;
    cJSON_free(text);
    return written;
}

static void add_backends(cJSON *list)
{
    for (int32_t i = 0; trine_backend_name(i); i++) {
        int32_t devices = 0;
        cJSON *o = cJSON_CreateObject();
        trine_status status = trine_device_count(trine_backend_name(i), &devices);
        cJSON_AddStringToObject(o, "name", trine_backend_name(i));
        cJSON_AddNumberToObject(o, "devices", devices);
        cJSON_AddStringToObject(o, "why", status == TRINE_OK ? "" : trine_error_text());
        cJSON_AddItemToArray(list, o);
    }
}

bool check_report_begin(check_report *r, const char *path, int argc, char **argv)
{
    struct utsname system;
    char text[sizeof system] = "";
    *r = (check_report){.path = path};
    if (!path) return true;
    r->root = cJSON_CreateObject();
    cJSON_AddStringToObject(r->root, "type", "check");
    cJSON_AddNumberToObject(r->root, "format", FORMAT);
    describe_build(r->root);
    if (uname(&system) == 0) snprintf(text, sizeof text, "%s %s %s", system.sysname, system.release, system.machine);
    cJSON_AddStringToObject(r->root, "system", text); /* without the host's name */
    cJSON *options = cJSON_AddArrayToObject(r->root, "options");
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") != 0 && argv[i] != path) cJSON_AddItemToArray(options, cJSON_CreateString(argv[i]));
    add_backends(cJSON_AddArrayToObject(r->root, "backends"));
    cJSON_AddBoolToObject(r->root, "complete", false);
    cJSON_AddArrayToObject(r->root, "targets");
    if (write_report(r)) return true;
    cJSON_Delete(r->root);
    return false;
}

void check_report_target(check_report *r, int k, const target *t)
{
    if (!r->path) return;
    cJSON *o = r->target[k] = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "backend", t->backend);
    describe_device(o, &t->props);
    cJSON_AddArrayToObject(o, "ops");
    cJSON_AddItemToArray(cJSON_GetObjectItem(r->root, "targets"), o);
}

void check_report_op(check_report *r, trine_op op)
{
    const trine_op_info *info = trine_op_get_info(op);
    if (!r->path) return;
    for (int k = 0; k < TARGETS_MAX && r->target[k]; k++) {
        cJSON *o = r->op[k] = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "family", info->family);
        cJSON_AddStringToObject(o, "op", info->name);
        cJSON_AddItemToArray(cJSON_GetObjectItem(r->target[k], "ops"), o);
    }
    write_report(r); /* an op without counts is where the run ended */
}

void check_report_case(check_report *r, int k, const char *kind, const test_case *c, const char *variant, const char *text)
{
    if (!r->path) return;
    cJSON *list = cJSON_GetObjectItem(r->op[k], kind);
    if (!list) list = cJSON_AddArrayToObject(r->op[k], kind);
    if (cJSON_GetArraySize(list) >= KEPT) return;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "case", c->name);
    cJSON_AddStringToObject(o, "variant", variant);
    cJSON_AddStringToObject(o, "text", text);
    cJSON_AddItemToArray(list, o);
}

static void add_tally(cJSON *object, const check_tally *sum)
{
    cJSON_AddNumberToObject(object, "passed", (double)sum->passed);
    cJSON_AddNumberToObject(object, "failed", (double)sum->failed);
    cJSON_AddNumberToObject(object, "refused", (double)sum->refused);
    cJSON_AddNumberToObject(object, "left_out", (double)sum->left_out);
    cJSON_AddNumberToObject(object, "worst_error", sum->worst);
    cJSON_AddStringToObject(object, "worst_case", sum->worst_case);
}

void check_report_op_end(check_report *r, int k, const check_tally *sum)
{
    if (r->path) add_tally(r->op[k], sum);
}

bool check_report_end(check_report *r, const check_tally *all)
{
    if (!r->path) return true;
    add_tally(r->root, all);
    cJSON_ReplaceItemInObject(r->root, "complete", cJSON_CreateTrue());
    bool written = write_report(r);
    cJSON_Delete(r->root);
    return written;
}
