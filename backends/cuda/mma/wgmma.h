/* wgmma: the matrix instruction of a warpgroup (128 threads). It multiplies 64 x 16 of a by 16 x N of b (tf32: 64 x 8 by 8 x N),
 * both in shared memory or a in registers, and adds to 64 x N sums in f32 that lie in the warpgroup's registers. It runs
 * asynchronously: a batch is committed as a group, and groups are waited for. Source: the PTX ISA.
 *
 * Thread t of the warpgroup holds of the sums
 *     d[4 j + i]: row t / 32 * 16 + t % 32 / 4 + (i / 2) * 8, column 8 j + t % 4 * 2 + i % 2 */
#ifndef TRINE_CUDA_MMA_WGMMA_H
#define TRINE_CUDA_MMA_WGMMA_H

#include "backends/simt/types.h"

namespace wgmma {

/* Before the first wgmma that touches registers which ordinary instructions wrote. */
TRINE_DEVICE void fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TRINE_DEVICE void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* Until all but the last `pending` groups are done. */
template <int pending> TRINE_DEVICE void wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"); }
/* Keeps the compiler from moving uses of the sums across this place. */
template <int n> TRINE_DEVICE void hold(float (&d)[n])
{
#pragma unroll
    for (int i = 0; i < n; i++) asm volatile("" : "+f"(d[i])::"memory");
}

/* ---- How operands lie in shared memory ----
 *
 * As TMA with a swizzle of 128 bytes writes them: lines of 128 bytes (64 elements of 16 bits), eight of which make a pattern of
 * 1024 bytes, aligned to 1024, in which the 16-byte piece p of line l lies at place p ^ l: whatever reads eight lines at one
 * piece meets all banks.
 *
 *   along_k     a line is 64 terms of one row; rows follow each other. The next 16 terms are 32 bytes further.
 *   along_rows  a line is one term of 64 rows; 64 terms make a block of 8192 bytes; the next 64 rows are the next block. The next
 *               16 terms are 2048 bytes further.
 *
 * "Rows" are rows of a and columns of b: what is not K. The instruction takes f32 (as tf32) along_k alone: a line is 32 terms, the
 * next 8 are 32 bytes further. */
enum axis { along_k = 0, along_rows = 1 };

enum { line_bytes = 128, pattern_bytes = 8 * line_bytes, block_bytes = 64 * line_bytes };
/* Elements in a line. */
template <class T> constexpr int elements_of_line = line_bytes / int(sizeof(T));

/* 64-bit description of an operand: address, distance between blocks of 64 rows (along_rows only), distance between patterns,
 * kind of swizzle; in units of 16 bytes. */
TRINE_DEVICE uint64_t describe(uint32_t address)
{
    return uint64_t((address & 0x3ffff) >> 4) | uint64_t(block_bytes >> 4) << 16 | uint64_t(pattern_bytes >> 4) << 32 |
           uint64_t(1) << 62;
}
/* What to add to a description for the next 16 (tf32: 8) terms. */
template <axis A> constexpr uint64_t next_terms = (A == along_k ? 32 : 16 * line_bytes) >> 4;

/* ---- The instruction ---- */

template <class T, int N> struct multiply;

/* d = a b, or d += a b. A, B: how the operands lie. R, O: N / 2 registers as text and as operands; the numbers after them. */
#define TRINE_WGMMA(T, NAME, N, R, O, DA, DB, ADD, TA, TB) \
    template <> struct multiply<T, N> { \
        template <axis A, axis B> \
        static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b, bool add) \
        { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #ADD ", 0;\n" \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME " {" R "}, %" #DA ", %" #DB \
                         ", p, 1, 1, %" #TA ", %" #TB ";\n}" \
                         : O() \
                         : "l"(a), "l"(b), "r"(int(add)), "n"(int(A)), "n"(int(B))); \
        } \
    };
#define TRINE_WGMMA_16_BITS(N, R, O, DA, DB, ADD, TA, TB) \
    TRINE_WGMMA(simt::f16, "f16", N, R, O, DA, DB, ADD, TA, TB) \
    TRINE_WGMMA(simt::bf16, "bf16", N, R, O, DA, DB, ADD, TA, TB)

/* f32, of which the upper 19 bits count: sign, exponent and 10 bits of the fraction. multiply: both in shared memory, along_k;
 * multiply_registers: a in registers, thread t has of rows t / 32 * 16 + t % 32 / 4 + i % 2 * 8 the terms t % 4 + i / 2 * 4 as a[i]. */
#define TRINE_WGMMA_TF32(N, R, O, DA, DB, ADD) \
    template <> struct multiply<float, N> { \
        template <axis A, axis B> \
        static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b, bool add) \
        { \
            static_assert(A == along_k && B == along_k, "tf32 lies along K"); \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #ADD ", 0;\n" \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" R "}, %" #DA ", %" #DB ", p, 1, 1;\n}" \
                         : O() \
                         : "l"(a), "l"(b), "r"(int(add))); \
        } \
    };
#define TRINE_WGMMA_TF32_REGISTERS(N, R, O, A0, A1, A2, A3, DB, ADD) \
    template <> struct multiply_registers<N> { \
        static __device__ __forceinline__ void run(float (&d)[N / 2], const float (&a)[4], uint64_t b, bool add) \
        { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #ADD ", 0;\n" \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" R "}, {%" #A0 ",%" #A1 ",%" #A2 ",%" #A3 \
                         "}, %" #DB ", p, 1, 1;\n}" \
                         : O() \
                         : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), \
                           "r"(__float_as_uint(a[3])), "l"(b), "r"(int(add))); \
        } \
    };
template <int N> struct multiply_registers;

/* 16 bits with a in registers, b along K: a[i] is a pair of neighbouring terms of row t / 32 * 16 + t % 32 / 4 + i % 2 * 8, from term
 * t % 4 * 2 + i / 2 * 8 on. */
template <class T, int N> struct multiply_pairs;
#define TRINE_WGMMA_PAIRS_OF(T, NAME, N, R, O, A0, A1, A2, A3, DB, ADD) \
    template <> struct multiply_pairs<T, N> { \
        static __device__ __forceinline__ void run(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool add) \
        { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #ADD ", 0;\n" \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME " {" R "}, {%" #A0 ",%" #A1 ",%" #A2 \
                         ",%" #A3 "}, %" #DB ", p, 1, 1, 0;\n}" \
                         : O() \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(add))); \
        } \
    };
#define TRINE_WGMMA_PAIRS(N, R, O, A0, A1, A2, A3, DB, ADD) \
    TRINE_WGMMA_PAIRS_OF(simt::f16, "f16", N, R, O, A0, A1, A2, A3, DB, ADD) \
    TRINE_WGMMA_PAIRS_OF(simt::bf16, "bf16", N, R, O, A0, A1, A2, A3, DB, ADD)

/* Ten registers whose numbers begin with the digits t; eight operands from the i-th. */
#define R10(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define O8(i) \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])

#define O32() O8(0), O8(8), O8(16), O8(24)
#define O64() O32(), O8(32), O8(40), O8(48), O8(56)
#define O96() O64(), O8(64), O8(72), O8(80), O8(88)
#define O128() O64(), O8(64), O8(72), O8(80), O8(88), O8(96), O8(104), O8(112), O8(120)

#define R30 R10() R10(1) R10(2)
#define R60 R30 R10(3) R10(4) R10(5)
#define R90 R60 R10(6) R10(7) R10(8)
#define R120 R60 R10(6) R10(7) R10(8) R10(9) R10(10) R10(11)

TRINE_WGMMA_16_BITS(64, R30 "%30,%31", O32, 32, 33, 34, 35, 36)
TRINE_WGMMA_16_BITS(128, R60 "%60,%61,%62,%63", O64, 64, 65, 66, 67, 68)
TRINE_WGMMA_16_BITS(192, R90 "%90,%91,%92,%93,%94,%95", O96, 96, 97, 98, 99, 100)
TRINE_WGMMA_16_BITS(256, R120 "%120,%121,%122,%123,%124,%125,%126,%127", O128, 128, 129, 130, 131, 132)
TRINE_WGMMA_TF32(64, R30 "%30,%31", O32, 32, 33, 34)
TRINE_WGMMA_TF32(128, R60 "%60,%61,%62,%63", O64, 64, 65, 66)
TRINE_WGMMA_TF32(192, R90 "%90,%91,%92,%93,%94,%95", O96, 96, 97, 98)
TRINE_WGMMA_TF32(256, R120 "%120,%121,%122,%123,%124,%125,%126,%127", O128, 128, 129, 130)
TRINE_WGMMA_TF32_REGISTERS(64, R30 "%30,%31", O32, 32, 33, 34, 35, 36, 37)
TRINE_WGMMA_TF32_REGISTERS(128, R60 "%60,%61,%62,%63", O64, 64, 65, 66, 67, 68, 69)
TRINE_WGMMA_PAIRS(64, R30 "%30,%31", O32, 32, 33, 34, 35, 36, 37)
TRINE_WGMMA_PAIRS(128, R60 "%60,%61,%62,%63", O64, 64, 65, 66, 67, 68, 69)
TRINE_WGMMA_PAIRS(256, R120 "%120,%121,%122,%123,%124,%125,%126,%127", O128, 128, 129, 130, 131, 132, 133)

/* fp8: 32 terms, 64 x N; operands along K only, whose 32 terms are next_terms<along_k> apart, too. Each adds to the sums with 13
 * bits after the point of the largest term. */
template <class A, class B, int N> struct multiply_f8;

#define TRINE_WGMMA_F8(A, A_NAME, B, B_NAME, N, R, O, DA, DB, ADD) \
    template <> struct multiply_f8<simt::A, simt::B, N> { \
        static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b, bool add) \
        { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #ADD ", 0;\n" \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32." A_NAME "." B_NAME " {" R "}, %" #DA ", %" #DB \
                         ", p, 1, 1;\n}" \
                         : O() \
                         : "l"(a), "l"(b), "r"(int(add))); \
        } \
    };
#define O96() O64(), O8(64), O8(72), O8(80), O8(88)
#define R90 R60 R10(6) R10(7) R10(8)
#define TRINE_WGMMA_F8_128(A, A_NAME, B, B_NAME) TRINE_WGMMA_F8(A, A_NAME, B, B_NAME, 128, R60 "%60,%61,%62,%63", O64, 64, 65, 66)

TRINE_WGMMA_F8(f8_e4m3fn, "e4m3", f8_e4m3fn, "e4m3", 64, R30 "%30,%31", O32, 32, 33, 34)
TRINE_WGMMA_F8(f8_e4m3fn, "e4m3", f8_e4m3fn, "e4m3", 192, R90 "%90,%91,%92,%93,%94,%95", O96, 96, 97, 98)
TRINE_WGMMA_F8(f8_e4m3fn, "e4m3", f8_e4m3fn, "e4m3", 256, R120 "%120,%121,%122,%123,%124,%125,%126,%127", O128, 128, 129, 130)
TRINE_WGMMA_F8_128(f8_e4m3fn, "e4m3", f8_e4m3fn, "e4m3")
TRINE_WGMMA_F8_128(f8_e4m3fn, "e4m3", f8_e5m2, "e5m2")
TRINE_WGMMA_F8_128(f8_e5m2, "e5m2", f8_e4m3fn, "e4m3")
TRINE_WGMMA_F8_128(f8_e5m2, "e5m2", f8_e5m2, "e5m2")

#undef TRINE_WGMMA_F8
#undef TRINE_WGMMA_F8_128
#undef R90
#undef O96
#undef TRINE_WGMMA
#undef TRINE_WGMMA_16_BITS
#undef TRINE_WGMMA_TF32
#undef TRINE_WGMMA_TF32_REGISTERS
#undef TRINE_WGMMA_PAIRS
#undef TRINE_WGMMA_PAIRS_OF
#undef R10
#undef R30
#undef R60
#undef R90
#undef R120
#undef O8
#undef O32
#undef O64
#undef O96
#undef O128

} // namespace wgmma

#endif
