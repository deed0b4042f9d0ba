/* Just enough MessagePack to read the metadata note of a code object. */
#ifndef AMDSIM_MSGPACK_H
#define AMDSIM_MSGPACK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct msgpack {
    const uint8_t *at, *end;
} msgpack;

/* Each consumes one item; of a map or an array only its head. A wrong type gives 0 and consumes the item. */
uint32_t msgpack_map(msgpack *m);
uint32_t msgpack_array(msgpack *m);
uint64_t msgpack_number(msgpack *m);
uint32_t msgpack_string(msgpack *m, const char **text); /* its length */
void msgpack_skip(msgpack *m);
/* Consumes a string; false if it had to be cut. */
bool msgpack_copy(msgpack *m, char *out, uint32_t room);

#endif
