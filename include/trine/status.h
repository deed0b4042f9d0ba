/* Statuses and the text that goes with them.
 *
 * Every function that can fail returns a trine_status. When it is not TRINE_OK, trine_error_text() of the
 * same thread says which backend, op and argument were concerned and why. The library never aborts and
 * never prints unless TRINE_LOG asks for it. */
#ifndef TRINE_STATUS_H
#define TRINE_STATUS_H

#if defined _WIN32
#error "Trine has no Windows port"
#endif
#define TRINE_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum trine_status {
    TRINE_OK = 0,
    TRINE_ERROR_INVALID_ARGUMENT,    /* the call breaks the contract of the function: refused on every backend */
    TRINE_ERROR_UNSUPPORTED,         /* the call is right, but this backend, device or variant refuses it */
    TRINE_ERROR_UNKNOWN_BACKEND,     /* no backend has that name */
    TRINE_ERROR_UNAVAILABLE,         /* the backend's plugin, driver or device is not there */
    TRINE_ERROR_ABI_MISMATCH,        /* a plugin was found but belongs to another build of Trine */
    TRINE_ERROR_OUT_OF_MEMORY,       /* host or device memory */
    TRINE_ERROR_WORKSPACE_TOO_SMALL, /* the caller's workspace, or the stream's while a graph is captured */
    TRINE_ERROR_CAPTURE,             /* not possible while a graph is captured, or nothing is being captured */
    TRINE_ERROR_DEVICE               /* the vendor's run time reported an error */
} trine_status;

enum { TRINE_STATUS_COUNT = TRINE_ERROR_DEVICE + 1 };

/* Name of a status, "TRINE_ERROR_UNSUPPORTED"; "TRINE_ERROR_?" for a number that is none. Never NULL. */
TRINE_API const char *trine_status_name(trine_status status);

/* Text of the last error of the calling thread, "" if there was none. Valid until the thread's next call
 * into Trine that fails. A call that succeeds leaves it alone. */
TRINE_API const char *trine_error_text(void);

#ifdef __cplusplus
}
#endif
#endif
