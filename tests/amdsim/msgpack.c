#include "msgpack.h"

#include <string.h>

enum type { NOTHING, NUMBER, STRING, ARRAY, MAP };

typedef struct item {
    enum type type;
    uint64_t value; /* of a number; else the length */
} item;

static uint64_t big_endian(msgpack *m, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes && m->at < m->end; i++) value = value << 8 | *m->at++;
    return value;
}

/* Formats 0xc0 to 0xdf, by the specification's table: type and bytes of the length or value. */
static const struct {
    uint8_t type, bytes;
} formats[32] = {
    [0x00] = {NOTHING, 0}, [0x02] = {NUMBER, 0}, [0x03] = {NUMBER, 0}, [0x04] = {STRING, 1}, [0x05] = {STRING, 2},
    [0x06] = {STRING, 4},  [0x0a] = {NUMBER, 4}, [0x0b] = {NUMBER, 8}, [0x0c] = {NUMBER, 1}, [0x0d] = {NUMBER, 2},
    [0x0e] = {NUMBER, 4},  [0x0f] = {NUMBER, 8}, [0x10] = {NUMBER, 1}, [0x11] = {NUMBER, 2}, [0x12] = {NUMBER, 4},
    [0x13] = {NUMBER, 8},  [0x19] = {STRING, 1}, [0x1a] = {STRING, 2}, [0x1b] = {STRING, 4}, [0x1c] = {ARRAY, 2},
    [0x1d] = {ARRAY, 4},   [0x1e] = {MAP, 2},    [0x1f] = {MAP, 4},
};

static item head(msgpack *m)
{
    if (m->at >= m->end) return (item){NOTHING, 0};
    uint8_t b = *m->at++;
    if (b < 0x80) return (item){NUMBER, b};
    if (b < 0x90) return (item){MAP, b & 15u};
    if (b < 0xa0) return (item){ARRAY, b & 15u};
    if (b < 0xc0) return (item){STRING, b & 31u};
    if (b >= 0xe0) return (item){NUMBER, (uint64_t)(int8_t)b};
    item i = {formats[b & 31].type, 0};
    i.value = formats[b & 31].bytes ? big_endian(m, formats[b & 31].bytes) : b & 1;
    return i;
}

static void skip_rest(msgpack *m, item i)
{
    if (i.type == STRING) m->at += i.value;
    uint64_t inner = i.type == ARRAY ? i.value : i.type == MAP ? 2 * i.value : 0;
    for (; inner && m->at < m->end; inner--) skip_rest(m, head(m));
}

void msgpack_skip(msgpack *m) { skip_rest(m, head(m)); }

static uint64_t want(msgpack *m, enum type type)
{
    item i = head(m);
    if (i.type == type) return i.value;
    skip_rest(m, i);
    return 0;
}

uint32_t msgpack_map(msgpack *m) { return (uint32_t)want(m, MAP); }

uint32_t msgpack_array(msgpack *m) { return (uint32_t)want(m, ARRAY); }

uint64_t msgpack_number(msgpack *m) { return want(m, NUMBER); }

uint32_t msgpack_string(msgpack *m, const char **text)
{
    uint32_t length = (uint32_t)want(m, STRING);
    *text = (const char *)m->at;
    m->at += length;
    return length;
}

bool msgpack_copy(msgpack *m, char *out, uint32_t room)
{
    const char *text;
    uint32_t length = msgpack_string(m, &text), kept = length < room ? length : room - 1;
    memcpy(out, text, kept);
    out[kept] = '\0';
    return kept == length;
}
