/* What ranges.sh puts in the place of AMD's roctx: prints what it is told. */
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))
EXPORT int roctxRangePushA(const char *name);
EXPORT int roctxRangePop(void);

static _Thread_local int depth;

int roctxRangePushA(const char *name)
{
    fprintf(stderr, "range %s at %d\n", name, depth);
    return depth++;
}

int roctxRangePop(void)
{
    fprintf(stderr, "range ends at %d\n", depth - 1);
    return --depth;
}
