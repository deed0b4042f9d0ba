/* Values of scalar instructions with what is undefined of them, and scc. */
#ifndef AMDSIM_SCALAR_BITS_H
#define AMDSIM_SCALAR_BITS_H

#include "valu.h"

typedef struct bits {
    uint64_t value, undefined;
} bits;

/* ---- scc ---- */

static inline void set_scc(wave *w, bool value, bool undefined)
{
    w->scc = value;
    w->scc_undef = undefined;
}
static inline void scc_if_not_zero(wave *w, bits r) { set_scc(w, r.value != 0, r.undefined && !(r.value & ~r.undefined)); }
static inline bool need_scc(wave *w)
{
    if (w->scc_undef) fault(w, -1, "an undefined value decides scc, which is read");
    return w->scc;
}

/* ---- Operands ---- */

static inline bool is_wide(const operand *o) { return o->kind == 'q'; }
static inline bits get(wave *w, const inst *i, int k)
{
    bits r = {0, 0};
    if (is_wide(&i->src[k])) {
        r.value = scalar_read64(w, &i->src[k], &r.undefined);
    } else {
        uint32_t u;
        r.value = scalar_read(w, &i->src[k], &u);
        r.undefined = u;
    }
    return r;
}
static inline void put(wave *w, const inst *i, bits r)
{
    if (is_wide(&i->dst))
        scalar_write64(w, &i->dst, r.value, r.undefined);
    else
        scalar_write(w, &i->dst, (uint32_t)r.value, (uint32_t)r.undefined);
}
static inline uint64_t spread(uint64_t undefined) { return undefined ? ~0ull : 0; }

/* Cut to the width of the result. */
static inline bits trimmed(const inst *i, bits r)
{
    uint64_t all = is_wide(&i->dst) ? ~0ull : 0xffffffffu;
    return (bits){r.value & all, r.undefined & all};
}

#endif
