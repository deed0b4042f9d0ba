/* Images on AMD: all of it is shared. */
#include "backends/hip/target.h"

/* The compute unit has registers for as many. */
#define TRINE_CROWDED_KERNEL(threads, blocks) TRINE_KERNEL(threads)

#include "backends/simt/image.h"
