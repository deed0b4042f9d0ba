/* How the core reports an error: a status and the thread's text. */
#ifndef TRINE_CORE_ERROR_H
#define TRINE_CORE_ERROR_H

#include "trine/status.h"

/* Sets the thread's error text, logs it at level error, returns `status`. */
trine_status trine_fail(trine_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
