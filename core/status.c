#include <stdarg.h>
#include <stdio.h>

#include "core/internal.h"

#define TEXT(x) #x
#define STRING(x) TEXT(x)

static _Thread_local char error_text[1024];

static const char *const status_names[TRINE_STATUS_COUNT] = {
#define NAME(status) [status] = #status
    NAME(TRINE_OK),
    NAME(TRINE_ERROR_INVALID_ARGUMENT),
    NAME(TRINE_ERROR_UNSUPPORTED),
    NAME(TRINE_ERROR_UNKNOWN_BACKEND),
    NAME(TRINE_ERROR_UNAVAILABLE),
    NAME(TRINE_ERROR_ABI_MISMATCH),
    NAME(TRINE_ERROR_OUT_OF_MEMORY),
    NAME(TRINE_ERROR_WORKSPACE_TOO_SMALL),
    NAME(TRINE_ERROR_CAPTURE),
    NAME(TRINE_ERROR_DEVICE),
#undef NAME
};

const char *trine_status_name(trine_status status)
{
    return (unsigned)status < TRINE_STATUS_COUNT ? status_names[status] : "TRINE_ERROR_?";
}

const char *trine_error_text(void) { return error_text; }

trine_status trine_fail(trine_status status, const char *format, ...)
{
    char text[sizeof error_text]; /* the arguments may point into error_text */
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    memcpy(error_text, text, sizeof text);
    trine_log(TRINE_LOG_ERROR, "%s: %s", trine_status_name(status), text);
    return status;
}

const char *trine_version(void)
{
    return STRING(TRINE_VERSION_MAJOR) "." STRING(TRINE_VERSION_MINOR) "." STRING(TRINE_VERSION_PATCH);
}
