#include <stdlib.h>

#include "core/internal.h"

static const char *unless_empty(const char *value) { return value && value[0] ? value : NULL; }

const char *trine_env(const char *name) { return unless_empty(getenv(name)); }

const char *trine_env_trusted(const char *name) { return unless_empty(secure_getenv(name)); }
