/* Tests of the simulator: pieces of assembly, each in a small kernel of its own, against what C makes of the same registers.
 *
 * A piece finds its inputs in v16, v17, ... (64 lanes, or 32) and leaves its results in v80, v81, ..., which hold 0 before.
 * s[8:9] points to the inputs, s[10:11] to the outputs, v1 is four times the thread's number, v0 the number. */
#ifndef AMDSIM_TEST_H
#define AMDSIM_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { LANES = 64, REGISTERS = 96 };

/* Registers of all lanes: in[k] is v16 + k, out[k] v80 + k. Lanes beyond the wave are 0. */
typedef uint32_t lanes[LANES];
typedef void reference(const lanes *in, lanes *out, int wave_size);

typedef struct piece {
    const char *name;  /* of the kernel too: letters, digits, _ */
    const char *chips; /* those that have it: beginnings of names, with blanks between; "" all */
    const char *text;  /* ; or newline between instructions */
    reference *expected;
    int inputs, outputs;
    double tolerance;                  /* relative, of f32 results; 0: the same bits, but any NaN for a NaN */
    int data;                          /* kinds of inputs, D_... below; 0: all */
    const char *fault;                 /* instead of results: the error must hold this text */
    int threads, blocks, lds, kernarg; /* 0: one wave, one block, 1024 bytes, the two pointers */
} piece;

enum { D_BITS = 1, D_FLOATS = 2, D_SPECIAL = 4, D_SMALL = 8 /* integers below 100 */, D_HALVES = 16 };

typedef struct suite {
    const char *name;
    const piece *pieces; /* up to one without a name */
} suite;
extern const suite half_suite, double_suite, vector_suite, integer_suite, convert_suite, packed_suite, lane_suite, scalar_suite,
    memory_suite, lds_suite, fault_suite;

/* The chip under test, from AMDSIM_ARCH. */
const char *chip_name(void);
bool chip_is(const char *beginnings);
int chip_wave(void);

void check(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void run_suite(const suite *s);
void run_pieces(const char *suite_name, const piece *pieces, int count);
/* One piece on given inputs; false with the error's text if the launch failed. */
bool run_once(void *module, const piece *p, const lanes *in, lanes *out, char *error, size_t room);
/* Assembles pieces into a loaded module; NULL if that fails. */
void *assemble(const piece *pieces, int count);

/* The output of clang with these arguments, loaded. */
void *compile(const char *arguments, const char *source);

void access_tests(void);
void compare_tests(void);
void atomic_tests(void);
void matrix_tests(void);
void gemm_tests(void);
void hip_tests(void);

/* ---- For references ---- */

static inline float as_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static inline uint32_t as_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline double as_double(uint64_t u)
{
    double x;
    memcpy(&x, &u, 8);
    return x;
}
static inline uint64_t double_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}
/* f16 by arithmetic on fields. */
static inline double half_value(uint32_t h)
{
    int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    double v = e == 31 ? (m ? (double)NAN : (double)INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h >> 15 & 1 ? -v : v;
}
static inline uint32_t half_code(double x)
{
    uint32_t sign = signbit(x) ? 0x8000 : 0;
    double v = fabs(x);
    int e;
    if (x != x) return 0x7e00;
    if (v >= 65520) return sign | 0x7c00;
    if (v == 0) return sign;
    frexp(v, &e);
    e = e - 1 < -14 ? -14 : e - 1;
    uint32_t q = (uint32_t)nearbyint(ldexp(v, 10 - e)); /* 1024 to 2048, less for denormals */
    return sign | (q >= 1024 ? (uint32_t)(e + 14) * 1024 + q : q);
}

/* A reference that works lane by lane: a, b, c are in[0..2], the expression is out[0]. */
#define EACH(name, expression) \
    static void name(const lanes *in, lanes *out, int wave_size) \
    { \
        for (int l = 0; l < wave_size; l++) { \
            uint32_t a = in[0][l], b = in[1][l], c = in[2][l]; \
            (void)a, (void)b, (void)c; \
            out[0][l] = (uint32_t)(expression); \
        } \
    }
/* The same of 64-bit values: q is in[0..1], r in[2..3], the result out[0..1]. */
#define EACH64(name, expression) \
    static void name(const lanes *in, lanes *out, int wave_size) \
    { \
        for (int l = 0; l < wave_size; l++) { \
            uint64_t q = in[0][l] | (uint64_t)in[1][l] << 32, r = in[2][l] | (uint64_t)in[3][l] << 32; \
            (void)q, (void)r; \
            uint64_t d_ = (uint64_t)(expression); \
            out[0][l] = (uint32_t)d_; \
            out[1][l] = (uint32_t)(d_ >> 32); \
        } \
    }
#define F(x) as_float(x)
#define B(x) as_bits(x)

#endif
