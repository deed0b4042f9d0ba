/* Running pieces and counting what passes. */
#include <hip/hip_runtime_api.h>
#include <stdarg.h>
#include <stdlib.h>

#include "test.h"

static int passed, failed;

void check(bool good, const char *format, ...)
{
    va_list arguments;
    *(good ? &passed : &failed) += 1;
    if (good) return;
    va_start(arguments, format);
    fputs("FAILED ", stdout);
    vprintf(format, arguments);
    fputs("\n", stdout);
    va_end(arguments);
}

/* ---- The chip ---- */

const char *chip_name(void)
{
    const char *name = getenv("AMDSIM_ARCH");
    return name ? name : "gfx942";
}

bool chip_is(const char *beginnings)
{
    if (!beginnings || !*beginnings) return true;
    for (const char *p = beginnings; *p; p += strcspn(p, " "), p += *p == ' ')
        if (strncmp(p, chip_name(), strcspn(p, " ")) == 0) return true;
    return false;
}

int chip_wave(void) { return chip_is("gfx9") ? 64 : 32; }

/* ---- Inputs ---- */

static uint32_t random_bits(void)
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static uint32_t special(void)
{
    static const uint32_t values[] = {0,           0x80000000u, 0x3f800000u, 0xbf800000u, 0x7f800000u, 0xff800000u,
                                      0x7fc00000u, 1,           0x807fffffu, 0x00800000u, 0x7f7fffffu, 0x40490fdbu,
                                      0x4b000000u, 0xcb000001u, 0x4f000000u, 0x5f000000u, 0x3f000000u, 0xbf000000u,
                                      0x3fc00000u, 0x7bff3c00u, 0xfc000001u, 0x00018000u};
    return values[random_bits() % (sizeof values / sizeof values[0])];
}

static uint32_t datum(int kind)
{
    switch (kind) {
    case D_FLOATS: return as_bits((float)((int)(random_bits() % 20001) - 10000) / 777.0f);
    case D_SPECIAL: return special();
    case D_SMALL: return random_bits() % 100;
    case D_HALVES:
        return half_code((double)((int)(random_bits() % 4001) - 2000) / 77) |
               half_code((double)((int)(random_bits() % 4001) - 2000) / 777) << 16;
    default: return random_bits();
    }
}

/* ---- One piece ---- */

/* No more than is used, so that one element more is too much. */
static size_t bytes_of(int registers, int threads)
{
    return (registers > 1 ? sizeof(lanes) * (size_t)(registers - 1) : 0) + 4 * (size_t)(threads ? threads : chip_wave());
}

bool run_once(void *module, const piece *p, const lanes *in, lanes *out, char *error, size_t room)
{
    void *from, *to;
    hipFunction_t f;
    size_t bytes_in = bytes_of(p->inputs, p->threads), bytes_out = bytes_of(p->outputs, p->threads);
    if (hipModuleGetFunction(&f, module, p->name) != hipSuccess) return snprintf(error, room, "no kernel"), false;
    (void)hipMalloc(&from, bytes_in);
    (void)hipMalloc(&to, bytes_out);
    (void)hipMemset(from, 0, bytes_in);
    (void)hipMemcpy(from, in, p->threads ? sizeof(lanes) : bytes_in, hipMemcpyHostToDevice);
    (void)hipMemset(to, 0, bytes_out);
    void *arguments[] = {&from, &to};
    unsigned threads = (unsigned)(p->threads ? p->threads : chip_wave()), blocks = (unsigned)(p->blocks ? p->blocks : 1);
    hipError_t status = hipModuleLaunchKernel(f, blocks, 1, 1, threads, 1, 1, 0, NULL, arguments, NULL);
    if (status != hipSuccess) snprintf(error, room, "%s", hipGetErrorString(status));
    (void)hipGetLastError();
    (void)hipMemcpy(out, to, p->threads ? sizeof(lanes) : bytes_out, hipMemcpyDeviceToHost);
    (void)hipFree(from);
    (void)hipFree(to);
    return status == hipSuccess;
}

static bool same(uint32_t got, uint32_t want, double tolerance)
{
    double x = as_float(got), y = as_float(want);
    bool nans = (got & 0x7fffffffu) > 0x7f800000u && (want & 0x7fffffffu) > 0x7f800000u;
    if (got == want || nans) return true;
    return tolerance > 0 && fabs(x - y) <= tolerance * fabs(y) + 1e-37;
}

static void compare(const char *suite_name, const piece *p, const lanes *in, const lanes *out)
{
    static lanes want[REGISTERS];
    memset(want, 0, sizeof want);
    p->expected(in, want, chip_wave());
    for (int k = 0; k < p->outputs; k++)
        for (int l = 0; l < chip_wave(); l++)
            if (!same(out[k][l], want[k][l], p->tolerance)) {
                check(false, "%s %s: result %d of lane %d is %08x and should be %08x (from %08x %08x %08x)", suite_name, p->name,
                      k, l, out[k][l], want[k][l], in[0][l], in[1][l], in[2][l]);
                return;
            }
    check(true, "%s", p->name);
}

static void run_piece(const char *suite_name, void *module, const piece *p)
{
    static lanes in[REGISTERS], out[REGISTERS];
    char error[1024];
    for (int kind = D_BITS; kind <= D_HALVES; kind *= 2) {
        if (p->data ? !(p->data & kind) : kind == D_SMALL) continue;
        memset(in, 0, sizeof in);
        for (int k = 0; k < p->inputs || k < 3; k++)
            for (int l = 0; l < chip_wave(); l++) in[k][l] = datum(kind);
        bool ran = run_once(module, p, in, out, error, sizeof error);
        if (p->fault)
            check(!ran && strstr(error, p->fault), "%s %s: should have said \"%s\" and %s%s", suite_name, p->name, p->fault,
                  ran ? "said nothing" : "said: ", ran ? "" : error);
        else if (!ran)
            check(false, "%s %s: %s", suite_name, p->name, error);
        else if (p->expected)
            compare(suite_name, p, in, out);
        else
            check(true, "%s", p->name);
        if (p->fault) return;
    }
}

void run_pieces(const char *suite_name, const piece *pieces, int count)
{
    void *module = assemble(pieces, count);
    check(module != NULL, "%s: the pieces could not be assembled", suite_name);
    for (int k = 0; module && k < count; k++)
        if (chip_is(pieces[k].chips)) run_piece(suite_name, module, &pieces[k]);
}

void run_suite(const suite *s)
{
    int count = 0;
    while (s->pieces[count].name) count++;
    run_pieces(s->name, s->pieces, count);
}

int main(void)
{
    static const suite *const suites[] = {&half_suite,    &double_suite, &vector_suite, &integer_suite,
                                          &convert_suite, &packed_suite, &lane_suite,   &scalar_suite,
                                          &memory_suite,  &lds_suite,    &fault_suite};
    for (size_t s = 0; s < sizeof suites / sizeof suites[0]; s++) run_suite(suites[s]);
    access_tests();
    compare_tests();
    atomic_tests();
    matrix_tests();
    gemm_tests();
    hip_tests();
    printf("%s\n%d passed, %d failed\n", chip_name(), passed, failed);
    return failed != 0;
}
