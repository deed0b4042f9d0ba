/* Version of the library. Meson reads the three numbers from this file: they stand nowhere else. */
#ifndef TRINE_VERSION_H
#define TRINE_VERSION_H

#define TRINE_VERSION_MAJOR 0
#define TRINE_VERSION_MINOR 1
#define TRINE_VERSION_PATCH 0

#include "trine/status.h"

/* Version of the library that is loaded, "0.1.0"; may differ from the macros a program was compiled with. */
TRINE_API const char *trine_version(void);

#endif
