/* The simulator's own structures: a kernel's machine code, decoded; a wave, a block, a launch; memory with its shadow.
 *
 * Numbers of the ISA manuals ("AMD Instinct MI200/MI300 Instruction Set Architecture", "RDNA3 Instruction Set Architecture") are
 * used where a number is architectural; the rest is this program's own. */
#ifndef AMDSIM_SIM_H
#define AMDSIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chip.h"

enum { LANES = 64, VGPRS = 512, ACC = 256 /* a0 is register 256 */, MAX_WAVES = 32 };

/* Scalar registers by number; the names are those of the disassembly. */
enum {
    S_VCC = 106,
    S_TTMP = 108,
    S_M0 = 124,
    S_EXEC = 126,
    S_FLAT_SCRATCH = 128,
    S_XNACK = 130,
    S_SINK = 132, /* what is written to `null` */
    SGPRS = 136
};

typedef struct inst inst;
typedef struct wave wave;
typedef struct block block;
typedef struct launch launch;

/* ---- Memory ---- */

/* What is known of four bytes: the last writer, two readers (or groups of them), each with the bytes concerned. A `who` is 28
 * bits of the wave's number in the launch plus one, and 4 bits for the bytes. */
typedef struct cell {
    uint32_t wrote, wrote_when, read[2], read_when[2];
} cell;
#define WHO(word) ((word)&0x0fffffffu)
#define WHO_BLOCK 0x08000000u /* with a block's number: several waves of it */
#define WHO_ATOMIC 0x0ffffffeu
#define WHO_MANY 0x0fffffffu

/* Memory that a kernel may touch. Never freed as a struct: instructions remember the last one they met, a dead one has size 0. */
typedef struct region {
    uint64_t base, size;
    uint8_t *defined; /* 4 bits a dword: bytes that were ever written; NULL: all were */
    cell *cells;      /* NULL: not watched for races */
    uint64_t cell_bytes;
    bool read_only;
    const char *what;
} region;

region *region_add(void *base, uint64_t size, bool defined, bool read_only, const char *what);
void region_remove(region *r);
region *region_find(uint64_t address, uint64_t size);
void region_define(region *r, uint64_t address, uint64_t size);
/* Text about an address that no region holds: what lies nearest. */
void region_explain(uint64_t address, uint64_t size, char *text, size_t room);

/* ---- Code ---- */

enum { IN_NOTHING, IN_VGPR, IN_SGPR, IN_CONSTANT };
enum { SEL_DWORD, SEL_WORD0, SEL_WORD1, SEL_BYTE0, SEL_BYTE1, SEL_BYTE2, SEL_BYTE3 };

/* kind: f f32, h f16 (as f32 in the lanes), d f64, i 32 bits, s 16 bits, q 64 bits, m a bit a lane, v any number of registers. */
typedef struct operand {
    uint8_t where, kind, sel, count; /* count of registers */
    uint16_t reg;
    bool negate, absolute, sign_extend;
    uint64_t value;  /* of a constant */
    const void *row; /* of a constant: a value a lane, in the kind's type */
} operand;

/* A lane function computes 64 values; a mask goes in and out by `io`. */
typedef struct lane_io {
    uint64_t mask_in, mask_out;
    uint64_t exec;
} lane_io;
typedef void lane_fn(void *restrict d, const void *restrict a, const void *restrict b, const void *restrict c, lane_io *io);
typedef void run_fn(wave *w, const inst *i);

/* A row of a table of instructions. `kinds` is "results:sources", a letter each. */
typedef struct op_row {
    const char *name, *kinds;
    lane_fn *lanes;
    run_fn *run;
    uint32_t flags;
    uint32_t argument; /* the table's own use */
} op_row;

enum {
    OP_ACC = 1,        /* the result register is the last source too */
    OP_KEEP_HIGH = 2,  /* a 16-bit result leaves the upper half alone on every chip */
    OP_SELECT = 4,     /* picks one of two sources a lane */
    OP_MERGE = 8,      /* puts parts together: undefined only if all its sources are */
    OP_VCC = 16,       /* vcc is an operand that the text does not name */
    OP_PACKED = 32,    /* VOP3P: once for each half */
    OP_TRANS = 64,     /* transcendental: what it costs */
    OP_DOUBLE = 128,   /* f64: what it costs */
    OP_PACKED32 = 256, /* VOP3P on register pairs */
    OP_MIX = 512,      /* VOP3P: f16 or f32 sources */
    OP_CMPX = 1024,    /* writes exec */
    OP_UPWARD = 2048   /* the lower half of a 64-bit result depends on lower halves only */
};

enum unit {
    UNIT_SCALAR,
    UNIT_BRANCH,
    UNIT_SMEM,
    UNIT_VALU,
    UNIT_TRANS,
    UNIT_MATRIX,
    UNIT_LOAD,
    UNIT_STORE,
    UNIT_ATOMIC,
    UNIT_LDS,
    UNIT_WAIT,
    UNIT_BARRIER,
    UNITS
};

/* Where lanes accessed LDS, and the cycles of it: profile.c. */
typedef struct lds_pattern {
    uint64_t lanes;
    uint32_t address[LANES], cycles, best;
} lds_pattern;

/* What every instruction needs comes first: a cache line of the processor that runs this. */
struct inst {
    _Alignas(64) run_fn *run;
    lane_fn *lanes;
    const op_row *op;
    uint64_t next;                 /* in the code object */
    uint8_t sources, unit, cycles; /* cycles: modelled, of the unit, at issue */
    uint8_t omod, dst_sel, dst_keep;
    uint16_t flags;    /* M_... below */
    const int8_t *dpp; /* lane to read, -1 none */
    inst *pair;        /* VOPD's second half */
    region *cache;
    operand dst, src[4], dst2;
    int32_t offset, offset2;
    uint32_t option;                         /* of one instruction: a swizzle, a mode, cbsz/abid/blgp */
    uint32_t sel_lo, sel_hi, neg_lo, neg_hi; /* VOP3P */
    uint64_t dpp_mask;
    bool dpp_zero, dpp_inactive;
    const void *format; /* of memory and matrix instructions: a row of their tables */
    lds_pattern *pattern;
    uint64_t address; /* in the code object */
    char *text;
    const char *why_not; /* an instruction that can't run */
};
enum { M_GLC = 1, M_SC1 = 2, M_OFFEN = 8, M_IDXEN = 16, M_LDS = 32, M_CLAMP = 64, M_GDS = 128, M_FLUSH32 = 256, M_SLC = 512 };

typedef struct kernel_argument {
    char kind[32];
    uint32_t offset, size;
    bool hidden;
} kernel_argument;

struct code_object;
typedef struct kernel {
    char *name;
    struct code_object *code;
    uint64_t entry;
    uint32_t lds, scratch, kernarg_size, rsrc1, rsrc2, rsrc3;
    uint16_t properties;
    uint32_t kernarg_preload;
    uint32_t vgprs, agprs, sgprs, vgpr_spills, sgpr_spills, max_threads, wave_size;
    kernel_argument *arguments;
    int argument_count;
    struct profile *profile;
    uint32_t lds_launched, waves_per_simd; /* of the blocks last launched */
    struct kernel *next;
} kernel;

typedef struct code_object {
    uint8_t *image; /* loaded; addresses in the object are offsets here */
    uint64_t image_size;
    const uint8_t *elf;
    uint64_t text_begin, text_end;
    inst **at; /* by (address - text_begin) / 4; decoded when first met */
    kernel *kernels;
    region *memory;
} code_object;

code_object *code_load(const void *bundle);
kernel *code_kernel(code_object *code, const char *name);
uint64_t code_symbol(const code_object *code, const char *name, uint64_t *size);
const inst *code_decode(code_object *code, uint64_t address);
inst *inst_new(void); /* all zero */

/* ---- A run ---- */

/* A memory instruction under way: what its wait counter must let through before the registers may be touched. */
typedef struct pending {
    uint8_t vector; /* registers are vector registers */
    uint8_t scalar_memory;
    bool noted; /* a store to LDS: the note at the same place says where */
    uint16_t reg, count;
} pending;

enum { QUEUE_VM, QUEUE_LGKM, QUEUE_VS, QUEUES, QUEUE_ROOM = 256 };
typedef struct queue {
    uint32_t first, count, scalar_memory;
    pending entry[QUEUE_ROOM];
} queue;

typedef struct lds_note {
    uint64_t lanes;
    uint32_t bytes, address[LANES];
} lds_note;

struct wave {
    block *group;
    kernel *kernel;
    const inst *now;
    uint64_t pc;
    union {
        uint32_t s[SGPRS];
        uint64_t s64[SGPRS / 2];
    };
    union {
        uint32_t s_undef[SGPRS]; /* bit by bit */
        uint64_t s64_undef[SGPRS / 2];
    };
    uint8_t s_pending[SGPRS];
    bool scc, scc_undef;
    uint32_t mode;
    uint32_t number; /* in the block */
    uint32_t who;    /* in the launch, plus one */
    enum { WAVE_RUNS, WAVE_AT_BARRIER, WAVE_DONE } state;
    queue queue[QUEUES];
    uint8_t *scratch, *scratch_defined;
    uint64_t all_lanes;      /* of a full wave */
    uint64_t v_undef[VGPRS]; /* a bit a lane */
    uint8_t v_pending[VGPRS];
    /* What a new wave does not clear. */
    _Alignas(64) uint32_t v[VGPRS][LANES];
    lds_note note[QUEUES][QUEUE_ROOM];
};
/* A bit a lane to a byte a lane, and back. */
static inline void spread_lanes(uint64_t mask, uint8_t out[LANES])
{
    for (int k = 0; k < 8; k++) {
        uint64_t eight = (mask >> 8 * k & 255) * 0x0101010101010101ull & 0x8040201008040201ull;
        eight = (eight + 0x7f7f7f7f7f7f7f7full) >> 7 & 0x0101010101010101ull; /* any bit of a byte to its lowest */
        __builtin_memcpy(out + 8 * k, &eight, 8);
    }
}
static inline uint64_t gather_lanes(const uint8_t hit[LANES])
{
    uint64_t mask = 0;
    for (int k = 0; k < 8; k++) {
        uint64_t eight;
        __builtin_memcpy(&eight, hit + 8 * k, 8);
        mask |= (eight * 0x0102040810204080ull >> 56) << 8 * k;
    }
    return mask;
}

#define EACH_LANE(lanes) \
    for (uint64_t left_ = (lanes), lane = 0; left_ && (lane = (uint64_t)__builtin_ctzll(left_), 1); left_ &= left_ - 1)

#define EXEC(w) ((w)->s64[S_EXEC / 2])
#define VCC(w) ((w)->s64[S_VCC / 2])

struct block {
    launch *launch;
    uint32_t id[3], number;
    uint32_t waves, at_barrier, done;
    uint32_t barrier_clock, acquired;
    uint8_t *lds;
    region lds_region;
    uint16_t *lds_loading; /* a dword: loads straight into it that no wait has covered */
    uint32_t lds_loads;    /* such loads */
    wave *wave;
};

struct launch {
    kernel *kernel;
    uint32_t grid[3], size[3], dynamic_lds, threads, waves, blocks;
    uint8_t *kernarg, packet[64];
    uint32_t start_clock, *released; /* a clock a block */
    uint64_t all_lanes;              /* of a full wave */
    uint64_t random;
    jmp_buf fault;
    char *error;
    size_t error_room;
};

typedef struct launch_dims {
    uint32_t grid[3], block[3];
} launch_dims;

/* Runs to the end. False: a fault; its text is in `error`. `packed`: kernel_explicit_bytes of arguments. */
bool launch_run(kernel *k, const launch_dims *dims, uint32_t dynamic_lds, const void *packed, char *error, size_t room);
uint32_t kernel_explicit_bytes(const kernel *k);

/* Ends the launch with an error. lane < 0: no lane in particular. */
_Noreturn void fault(wave *w, int lane, const char *format, ...) __attribute__((format(printf, 3, 4)));

extern uint32_t sim_clock; /* rises with every barrier, atomic and block */
extern double sim_seconds; /* the modelled time that all launches took */

/* ---- Between the files ---- */

const op_row *op_find(const char *name);
/* Decodes one instruction of text; fills all but address, next and text. */
void decode_text(inst *i, const char *text, const chip *c);
/* A constant in every lane, in the type of the kind. Lives on. */
const void *constant_row(char kind, uint64_t value);

void wait_push(wave *w, int which, bool vector, bool scalar_memory, unsigned reg, unsigned count);
void wait_until(wave *w, int which, uint32_t left);
/* Where in LDS the instruction pushed last writes: a store (QUEUE_LGKM) or a load straight to LDS (QUEUE_VM). */
void wait_note_lds(wave *w, int which, uint64_t lanes, const uint32_t *address, uint32_t bytes);
/* Faults if a load straight to LDS may still be under way there. */
void wait_check_lds(wave *w, int lane, uint64_t offset, uint32_t bytes);
void wait_restamp(wave *w); /* at a barrier: stores to LDS that are still under way count as made after it */

/* Memory of one lane, checked: bounds, definedness, races. Reads give false where all bytes of a dword are undefined, a bit a
 * dword. */
uint32_t memory_read(wave *w, int lane, region *r, uint64_t address, uint32_t bytes, uint32_t *words, bool atomic);
void memory_write(wave *w, int lane, region *r, uint64_t address, uint32_t bytes, const uint32_t *words, uint32_t undefined,
                  bool atomic);
/* The same for the lanes of an instruction, in order, up to the first whose access is not plain: within r (which may be NULL), its
 * dwords whole or a part of one. Gives the lanes that are left, from that one on. */
uint64_t memory_read_lanes(wave *w, region *r, const uint64_t *address, uint64_t lanes, uint32_t bytes, uint32_t values[][LANES],
                           uint64_t *undefined, bool atomic);
uint64_t memory_write_lanes(wave *w, region *r, const uint64_t *address, uint64_t lanes, uint32_t bytes,
                            const uint32_t values[][LANES], const uint64_t *undefined, bool atomic);
region *memory_at(wave *w, int lane, uint64_t address, uint32_t bytes, region *last, bool write);

#endif
