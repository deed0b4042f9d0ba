/* Gelu's slope by pieces, where two registers hold a table of 32 numbers and one instruction picks 16 of them (AVX-512). Part of
 * activation.c.
 *
 * A piece is a polynomial in u, the distance from its middle; all coefficients of one degree are a table. That takes half the
 * instructions of a polynomial for all x, or of an exponential and a quotient. */
#ifndef TRINE_CPU_GELU_PIECES_H
#define TRINE_CPU_GELU_PIECES_H

#include "backends/cpu/lanes_exp2.h"
#include "backends/cpu/lanes_store.h"

#if defined __AVX512BW__ && defined __AVX512DQ__ && defined __AVX512VL__
#define GELU_BY_PIECES 1
enum { PIECES = 32 };

/* clang-format off */
/* Phi(a) - 1/2 + a phi(a), in pieces of 1/4; from 6 on 1/2. Over all f16 and bf16 the slope is off by at most 57 % of
 * 36 2^-23 |slope| + 1e-7, its tolerance. */
static const float gelu_pieces_of_16[5][PIECES] = {
    {0.0f, 0.195373371f, 0.36749512f, 0.499225736f, 0.583315492f, 0.622661591f, 0.627469182f, 0.610926151f, 0.585231781f,
     0.559189737f, 0.537611067f, 0.522027552f, 0.511945665f, 0.506017387f, 0.502821743f, 0.501233816f, 0.500503659f, 0.500192106f,
     0.500068545f, 0.500022888f, 0.500007153f, 0.500002086f, 0.500000596f, 0.500000119f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f,
     0.5f},
    {0.797883153f, 0.749165893f, 0.616113126f, 0.432885528f, 0.24197346f, 0.0799120441f, -0.0323773064f, -0.0916687399f,
     -0.107981913f, -0.0972033441f, -0.0744958445f, -0.0505833291f, -0.0310229734f, -0.0173737314f, -0.00894499198f,
     -0.0042531197f, -0.00187362393f, -0.000766480283f, -0.000291703473f, -0.000103419312f, -3.41945561e-05f, -1.05534018e-05f,
     -3.04246009e-06f, -8.1981392e-07f, -9.2865439e-06f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f},
    {9.99038093e-05f, -0.190321788f, -0.330062538f, -0.388184935f, -0.362965435f, -0.278258145f, -0.1699913f, -0.0707755163f,
     5.15671627e-06f, 0.0379384756f, 0.049300272f, 0.0445404835f, 0.0332353674f, 0.0216368921f, 0.012607988f, 0.0066525857f,
     0.00320801535f, 0.00143037084f, 0.000576478138f, 0.000214173429f, 7.52595297e-05f, 2.8178034e-05f, -3.83554243e-06f,
     1.6579892e-05f, -0.000362613995f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f},
    {-0.268182665f, -0.22890839f, -0.135352075f, -0.0192464795f, 0.0799518377f, 0.136082977f, 0.143797114f, 0.115643144f,
     0.0720178857f, 0.0309223495f, 0.00221154839f, -0.01236091f, -0.0161843188f, -0.0140575236f, -0.00993980747f, -0.00608918583f,
     -0.00331006432f, -0.00162671076f, -0.000728384708f, -0.000299174077f, -0.000113180693f, -3.95512798e-05f, -1.27992553e-05f,
     -3.84379291e-06f, -0.00464995904f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f},
    {0.0195753668f, 0.0701027215f, 0.112147994f, 0.113761358f, 0.0811175257f, 0.0312297102f, -0.0134961754f, -0.0394443162f,
     -0.0451084189f, -0.0357734561f, -0.0213834774f, -0.00819431711f, 0.000119616554f, 0.00369248237f, 0.00368243945f,
     0.00335740857f, 0.00239860546f, 0.00098357792f, 0.00110268593f, 0.000751099258f, 0.000288287003f, -0.000123780643f,
     0.000757177768f, -0.000914925651f, -0.0185939092f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f},
};

/* Phi(-a) e^(a^2/2) - a / sqrt(2 pi), in pieces of 1/2. Over f32 the slope is off by at most 34 % of 4 2^-23 |slope| + 1e-7. */
static const float gelu_pieces[6][PIECES] = {
    {0.5f, 0.150147706f, -0.137363985f, -0.392632753f, -0.629782557f, -0.856024384f, -1.07531285f, -1.28995287f, -1.50135851f,
     -1.71043682f, -1.91779208f, -2.12383986f, -2.32887435f, -2.53310919f, -2.73670244f, -2.93977404f, -3.14241576f, -3.34469938f,
     -3.54668164f, -3.74840832f, -3.94991612f, -4.1512351f, -4.35239029f, -4.55340195f, -4.7542882f, -4.95506334f, -5.15574026f,
     -5.35632896f, -5.55683947f, -5.75727892f, -5.95765495f, -6.15797281f},
    {-0.797884583f, -0.623075008f, -0.536306381f, -0.489213556f, -0.461680561f, -0.444556236f, -0.433342695f, -0.425676525f,
     -0.420242012f, -0.416269273f, -0.413288027f, -0.410999745f, -0.409208685f, -0.407782674f, -0.406630188f, -0.405686349f,
     -0.404904187f, -0.404249191f, -0.403695464f, -0.403223306f, -0.402817607f, -0.402466536f, -0.402160794f, -0.401892871f,
     -0.401656896f, -0.401447982f, -0.401262164f, -0.401096165f, -0.400947332f, -0.400813311f, -0.400692254f, -0.400582492f},
    {0.249995321f, 0.118770592f, 0.062105488f, 0.0351862796f, 0.0213122312f, 0.0136500075f, 0.00915114768f, 0.00639356673f,
     0.00460955827f, 0.00340966624f, 0.00259331334f, 0.0020142179f, 0.00158810406f, 0.0012817916f, 0.00103418832f,
     0.000860260392f, 0.000721944845f, 0.000606070564f, 0.000498277426f, 0.000429313543f, 0.000378498837f, 0.00032936348f,
     0.000297823281f, 0.000223008406f, 0.000196481604f, 0.000166510144f, 0.000179296054f, 0.000145553277f, 0.0001668279f,
     0.000137313706f, 0.000145360842f, 8.63335372e-05f},
    {-0.132837042f, -0.0549232848f, -0.0250786245f, -0.0124962581f, -0.006704167f, -0.00383028854f, -0.00231275684f,
     -0.001457843f, -0.000957306882f, -0.000653896073f, -0.000457167771f, -0.000327882386f, -0.000240949055f, -0.000180241041f,
     -0.0001383528f, -0.000106015425f, -8.38300912e-05f, -6.69185392e-05f, -5.48353491e-05f, -4.52849235e-05f, -3.67791363e-05f,
     -3.0376681e-05f, -2.35836906e-05f, -2.35415628e-05f, -1.99017268e-05f, -1.73523622e-05f, -1.33965932e-05f, -1.28185593e-05f,
     -7.81103699e-06f, -7.41870917e-06f, -4.90777984e-06f, -7.48231059e-06f},
    {0.0610515475f, 0.023102168f, 0.00934194215f, 0.00414167671f, 0.00199300051f, 0.000992991729f, 0.000640774553f,
     0.000226379692f, 0.000134506015f, 0.000220846297f, 0.000109560693f, 3.80053243e-05f, 7.381654e-05f, -5.83713845e-05f,
     9.63554849e-05f, -4.92952386e-05f, -0.000123206453f, -7.95275118e-05f, 0.000194574488f, 0.000122701298f, -2.61256646e-05f,
     -3.43687316e-05f, -0.00019138302f, 0.000450309104f, 0.000405280705f, 0.000485364697f, -6.12072326e-05f, 0.00018426498f,
     -0.000410974957f, -0.000160400057f, -0.000482828997f, 0.000291663135f},
    {-0.0204109568f, -0.00865218695f, -0.00327236601f, -0.00128682808f, -0.000553152757f, -0.000272768375f, -9.36132055e-05f,
     -9.23890475e-05f, -5.81807617e-05f, 8.61264834e-06f, -3.5139899e-06f, -1.10031915e-05f, -5.51869607e-06f, -1.4960985e-05f,
     4.07685957e-06f, -1.64166231e-05f, -1.17464115e-05f, -6.98658323e-06f, 1.39075273e-05f, 1.63290624e-05f, 3.99707642e-06f,
     1.50197422e-06f, -2.31242084e-05f, 3.79110315e-05f, 3.16147343e-05f, 3.42325402e-05f, 5.22773121e-07f, 1.97883473e-05f,
     -3.20376457e-05f, -1.65473411e-05f, -3.90084315e-05f, 1.53154251e-05f},
};
/* clang-format on */

/* For the two vectors of a line. */
#define BOTH(statement) LANES_EACH(2, statement)

/* Of a: its distance from the middle of its piece, and in the lowest bits of *piece which one. turn: 3/2 2^23 widths. */
LANES_INLINE f32x16 piece_of(f32x16 a, float turn, f32x16 *piece)
{
    *piece = a + turn;
    return a - (*piece - turn);
}

LANES_INLINE f32x16 coefficients_of(const float *table, f32x16 piece)
{
    return (f32x16)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)piece, _mm512_loadu_ps(table + LANES));
}

/* |x|, at most `most`; NaN of NaN. */
LANES_INLINE f32x16 size_of(f32x16 x, float most)
{
    return (f32x16)_mm512_min_ps(_mm512_set1_ps(most), _mm512_and_ps((__m512)x, _mm512_set1_ps(trine_f32_of_bits(0x7fffffff))));
}

/* Two vectors of 16-bit elements on their way: which pieces, and where in them. */
typedef struct placed {
    f32x16 x[2], piece[2], u[2];
} placed;

LANES_INLINE placed place_16(f32x16 x0, f32x16 x1)
{
    placed at = {{x0, x1}, {{0}}, {{0}}};
    BOTH(at.u[k] = piece_of(size_of(at.x[k], 6.0f), 0x1.8p21f, &at.piece[k]));
    return at;
}

/* The polynomial's first step, and the others. */
LANES_INLINE void gelu_slopes_begin_16(f32x16 g[2], const placed *at)
{
    BOTH(g[k] = coefficients_of(gelu_pieces_of_16[4], at->piece[k]));
    BOTH(g[k] = lanes_fma(g[k], at->u[k], coefficients_of(gelu_pieces_of_16[3], at->piece[k])));
}

LANES_INLINE void gelu_slopes_end_16(f32x16 g[2], const placed *at)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    for (int d = 2; d >= 0; d--) BOTH(g[k] = lanes_fma(g[k], at->u[k], coefficients_of(gelu_pieces_of_16[d], at->piece[k])));
    BOTH(g[k] = (f32x16)_mm512_ternarylogic_epi32((__m512i)g[k], (__m512i)at->x[k], sign, 0xd8)); /* with the sign of x */
    BOTH(g[k] += 0.5f);
}

/* With h = e^(-x^2/2) times the pieces' polynomial: h at x < 0, else 1 - h. */
LANES_INLINE void gelu_slopes_32(f32x16 y[2], const f32x16 x[2])
{
    const __m512 one = _mm512_set1_ps(1.0f);
    f32x16 piece[2], u[2], g[2], power[2];
    BOTH(power[k] = x[k] * x[k]);
    BOTH(power[k] *= -0.5f * VM_LOG2E);
    lanes_exp2(power, 2);
    BOTH(u[k] = piece_of(size_of(x[k], 14.5f), 0x1.8p22f, &piece[k]));
    BOTH(g[k] = coefficients_of(gelu_pieces[5], piece[k]));
    for (int d = 4; d >= 0; d--) BOTH(g[k] = lanes_fma(g[k], u[k], coefficients_of(gelu_pieces[d], piece[k])));
    BOTH(g[k] *= power[k]);
    BOTH(y[k] = (f32x16)_mm512_mask_sub_ps((__m512)g[k], _mm512_cmp_ps_mask((__m512)x[k], _mm512_setzero_ps(), _CMP_NLT_UQ), one,
                                           (__m512)g[k]));
}

/* ---- Loops ---- */

LANES_INLINE void gelu_span(trine_dtype dtype, float *dx, const float *from, const float *dy, int64_t n)
{
    f32x16 x[2], y[2];
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        const int64_t m = n - i < LANES_PUT ? n - i : LANES_PUT;
        float in[LANES_PUT] = {0};
        memcpy(in, from + i, (size_t)m * sizeof *in);
        memcpy(x, in, sizeof x);
        if (dtype == TRINE_F32) {
            gelu_slopes_32(y, x);
        } else {
            const placed at = place_16(x[0], x[1]);
            gelu_slopes_begin_16(y, &at);
            gelu_slopes_end_16(y, &at);
        }
        memcpy(in, y, sizeof y);
        for (int64_t k = 0; k < m; k++) dx[i + k] = dy[i + k] * in[k];
    }
}

/* bf16 comes and goes by turns. */
LANES_INLINE void load_16(trine_dtype dtype, f32x16 v[2], const char *from)
{
    if (dtype == TRINE_BF16)
        lanes_turns_of_bf16(v, from);
    else
        BOTH(v[k] = lanes_load(from, dtype, LANES * k));
}

LANES_INLINE placed load_and_place(trine_dtype dtype, const char *from)
{
    f32x16 x[2];
    load_16(dtype, x, from);
    return place_16(x[0], x[1]);
}

/* The next line's places are found between this one's steps: the processor does not see that far ahead by itself (Zen 4: 13.6
 * cycles for 16 elements rather than 15). */
LANES_INLINE void gelu_put_16(trine_dtype dtype, char *to, const char *from, const char *dy, int64_t n, bool stream)
{
    f32x16 g[2], d[2];
    placed next = load_and_place(dtype, from);
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        const placed at = next;
        gelu_slopes_begin_16(g, &at);
        next = load_and_place(dtype, from + (i + LANES_PUT < n ? i + LANES_PUT : i) * 2);
        gelu_slopes_end_16(g, &at);
        load_16(dtype, d, dy + i * 2);
        BOTH(g[k] *= d[k]);
        const __m512i line = dtype == TRINE_BF16 ? lanes_bf16_of_turns(g[0], g[1]) : lanes_f16_with_nans(g[0], g[1]);
        lanes_put_line(to + i * 2, line, stream);
    }
}

/* The names that SLOPES gives (activation.c). */
static void slope_GELU(float alpha, float *dx, const float *from, const float *dy, int64_t n)
{
    (void)alpha;
    gelu_span(TRINE_F32, dx, from, dy, n);
}

static void slope_GELU_OF_16(float alpha, float *dx, const float *from, const float *dy, int64_t n)
{
    (void)alpha;
    gelu_span(TRINE_BF16, dx, from, dy, n);
}

static void put_slope_GELU(float alpha, char *to, const char *from, const char *dy, trine_dtype dtype, int64_t n, bool stream)
{
    f32x16 x[2], y[2];
    (void)alpha, (void)dtype;
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        BOTH(x[k] = lanes_load(from, TRINE_F32, i + LANES * k));
        gelu_slopes_32(y, x);
        BOTH(y[k] *= lanes_load(dy, TRINE_F32, i + LANES * k));
        lanes_put(to + i * 4, TRINE_F32, y[0], y[1], stream);
    }
}

static void put_slope_GELU_OF_16(float alpha, char *to, const char *from, const char *dy, trine_dtype dtype, int64_t n,
                                 bool stream)
{
    (void)alpha;
    if (dtype == TRINE_BF16)
        gelu_put_16(TRINE_BF16, to, from, dy, n, stream);
    else
        gelu_put_16(TRINE_F16, to, from, dy, n, stream);
}

#undef BOTH
#else
#define GELU_BY_PIECES 0
#endif

#endif
