/* Activations of 16-bit elements by pieces (pieces.h), and gelu's slope in f32 (AVX-512). Part of activation.c. */
#ifndef TRINE_CPU_ACTIVATION_PIECES_H
#define TRINE_CPU_ACTIVATION_PIECES_H

#include "backends/cpu/pieces.h"
#include "trine/activation.h"

#if BY_PIECES

/* ---- Loops, 16 bits ---- */

/* What becomes of a line: f(x), f(x) dy, f'(x) dy. */
typedef enum pieced_result { PIECED_VALUE, PIECED_PRODUCT, PIECED_SLOPE } pieced_result;

/* bf16 comes and goes by turns. */
LANES_INLINE void load_16(trine_dtype dtype, f32x16 v[2], const char *from)
{
    if (dtype == TRINE_BF16)
        lanes_turns_of_bf16(v, from);
    else
        BOTH(v[k] = lanes_load(from, dtype, LANES * k));
}

LANES_INLINE void put_16(trine_dtype dtype, char *to, const f32x16 v[2], bool stream)
{
    lanes_put_line(to, dtype == TRINE_BF16 ? lanes_bf16_of_turns(v[0], v[1]) : lanes_f16_with_nans(v[0], v[1]), stream);
}

LANES_INLINE placed load_and_place(pieced f, trine_dtype dtype, const char *from)
{
    f32x16 x[2];
    load_16(dtype, x, from);
    return pieced_place(f, x);
}

LANES_INLINE void pieced_results(pieced f, pieced_result result, f32x16 y[2], const f32x16 g[2], const placed *at)
{
    if (result == PIECED_SLOPE)
        pieced_slopes(f, y, g, at);
    else
        pieced_values(f, y, g, at);
}

/* The next line's places are found between this one's steps: the processor does not see that far ahead by itself (Zen 4, gelu's
 * slope: 13.6 cycles for 16 elements rather than 15). */
LANES_INLINE void pieced_put_as(pieced f, pieced_result result, trine_dtype dtype, char *to, const char *from, const char *dy,
                                int64_t n, bool stream)
{
    const float(*const table)[PIECES] = result == PIECED_SLOPE ? PIECED_SLOPE_TABLE(f) : PIECED_TABLE(f);
    const bool asks = asks_in_run(n * 2);
    f32x16 g[2], d[2];
    placed next = load_and_place(f, dtype, from);
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        const placed at = next;
        pieces_begin(g, table, &at);
        if (asks) ask_for_line(from + i * 2 + ASK_NEAR);
        next = load_and_place(f, dtype, from + (i + LANES_PUT < n ? i + LANES_PUT : i) * 2);
        pieces_end(g, table, &at);
        pieced_results(f, result, g, g, &at);
        if (result != PIECED_VALUE) {
            if (asks) ask_for_line(dy + i * 2 + ASK_NEAR);
            load_16(dtype, d, dy + i * 2);
            BOTH(g[k] *= d[k]);
        }
        put_16(dtype, to + i * 2, g, stream);
    }
}

/* Both at once: dup = dy f(gate), dgate = dy up f'(gate). */
LANES_INLINE void pieced_gated_as(pieced f, trine_dtype dtype, char *dgate, char *dup, const char *gate, const char *up,
                                  const char *dy, int64_t n, bool stream)
{
    const bool asks = asks_in_run(n * 2);
    f32x16 g[2], h[2], d[2], u[2];
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        if (asks) ask_for_line(gate + i * 2 + ASK_NEAR);
        const placed at = load_and_place(f, dtype, gate + i * 2);
        pieces_begin(g, PIECED_TABLE(f), &at);
        pieces_end(g, PIECED_TABLE(f), &at);
        if (f != PIECED_SILU) {
            pieces_begin(h, PIECED_SLOPE_TABLE(f), &at);
            pieces_end(h, PIECED_SLOPE_TABLE(f), &at);
        }
        pieced_slopes(f, h, f == PIECED_SILU ? g : h, &at);
        pieced_values(f, g, g, &at);
        if (asks) ask_for_line(dy + i * 2 + ASK_NEAR);
        load_16(dtype, d, dy + i * 2);
        BOTH(g[k] *= d[k]);
        if (asks) ask_for_line(up + i * 2 + ASK_NEAR);
        load_16(dtype, u, up + i * 2);
        BOTH(h[k] *= d[k] * u[k]);
        put_16(dtype, dgate + i * 2, h, stream);
        put_16(dtype, dup + i * 2, g, stream);
    }
}

/* ---- The same of f32 spans of them, any n ---- */

LANES_INLINE void pieced_span(pieced f, pieced_result result, float *y, const float *from, const float *dy, int64_t n)
{
    const float(*const table)[PIECES] = result == PIECED_SLOPE ? PIECED_SLOPE_TABLE(f) : PIECED_TABLE(f);
    f32x16 x[2], g[2];
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        const int64_t m = n - i < LANES_PUT ? n - i : LANES_PUT;
        float in[LANES_PUT] = {0};
        memcpy(in, from + i, (size_t)m * sizeof *in);
        memcpy(x, in, sizeof x);
        const placed at = pieced_place(f, x);
        pieces_begin(g, table, &at);
        pieces_end(g, table, &at);
        pieced_results(f, result, g, g, &at);
        memcpy(in, g, sizeof g);
        for (int64_t k = 0; k < m; k++) y[i + k] = result == PIECED_VALUE ? in[k] : dy[i + k] * in[k];
    }
}

/* ---- The names that KIND gives (activation.c), with _OF_16 ---- */

#define PIECED_PUT(name, f, result) \
    static void name(float alpha, char *y, const char *from, const char *dy, trine_dtype dtype, int64_t n, bool stream) \
    { \
        (void)alpha; \
        if (dtype == TRINE_BF16) \
            pieced_put_as(f, result, TRINE_BF16, y, from, dy, n, stream); \
        else \
            pieced_put_as(f, result, TRINE_F16, y, from, dy, n, stream); \
    }
#define PIECED_VALUES(name) \
    PIECED_PUT(put_value_##name##_OF_16, PIECED_##name, PIECED_VALUE) \
    PIECED_PUT(put_product_##name##_OF_16, PIECED_##name, PIECED_PRODUCT) \
    static void value_##name##_OF_16(float alpha, float *y, const float *from, int64_t n) \
    { \
        (void)alpha; \
        pieced_span(PIECED_##name, PIECED_VALUE, y, from, NULL, n); \
    }
#define PIECED_SLOPES(name) \
    PIECED_PUT(put_slope_##name##_OF_16, PIECED_##name, PIECED_SLOPE) \
    static void slope_##name##_OF_16(float alpha, float *dx, const float *from, const float *dy, int64_t n) \
    { \
        (void)alpha; \
        pieced_span(PIECED_##name, PIECED_SLOPE, dx, from, dy, n); \
    }
PIECED_VALUES(SILU)
PIECED_SLOPES(SILU)
PIECED_VALUES(GELU)
PIECED_SLOPES(GELU)
PIECED_VALUES(GELU_TANH)
PIECED_SLOPES(GELU_TANH)
PIECED_VALUES(TANH)

/* silu, gelu or gelu_tanh. */
static void pieced_gated(trine_activation_kind kind, char *dgate, char *dup, const char *gate, const char *up, const char *dy,
                         trine_dtype dtype, int64_t n, bool stream)
{
#define GATED_AS(f) \
    dtype == TRINE_BF16 ? pieced_gated_as(f, TRINE_BF16, dgate, dup, gate, up, dy, n, stream) \
                        : pieced_gated_as(f, TRINE_F16, dgate, dup, gate, up, dy, n, stream)
    kind == TRINE_ACT_SILU? GATED_AS(PIECED_SILU) : kind == TRINE_ACT_GELU ? GATED_AS(PIECED_GELU) : GATED_AS(PIECED_GELU_TANH);
#undef GATED_AS
}

/* ---- Gelu's slope in f32 ---- */

/* clang-format off */
/* Phi(-a) e^(a^2/2) - a / sqrt(2 pi), in pieces of 1/2. Over f32 the slope is off by at most 34 % of 4 2^-23 |slope| + 1e-7. */
static const float gelu_slope_pieces[6][PIECES] = {
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

/* With h = e^(-x^2/2) times the pieces' polynomial: h at x < 0, else 1 - h. */
LANES_INLINE void gelu_slopes_32(f32x16 y[2], const f32x16 x[2])
{
    const __m512 one = _mm512_set1_ps(1.0f);
    f32x16 piece[2], u[2], g[2], power[2];
    BOTH(power[k] = x[k] * x[k]);
    BOTH(power[k] *= -0.5f * VM_LOG2E);
    lanes_exp2(power, 2);
    BOTH(u[k] = piece_of(size_of(x[k], 14.5f), 0x1.8p22f, &piece[k]));
    BOTH(g[k] = coefficients_of(gelu_slope_pieces[5], piece[k]));
    for (int d = 4; d >= 0; d--) BOTH(g[k] = lanes_fma(g[k], u[k], coefficients_of(gelu_slope_pieces[d], piece[k])));
    BOTH(g[k] *= power[k]);
    BOTH(y[k] = (f32x16)_mm512_mask_sub_ps((__m512)g[k], _mm512_cmp_ps_mask((__m512)x[k], _mm512_setzero_ps(), _CMP_NLT_UQ), one,
                                           (__m512)g[k]));
}

static void slope_GELU(float alpha, float *dx, const float *from, const float *dy, int64_t n)
{
    f32x16 x[2], y[2];
    (void)alpha;
    for (int64_t i = 0; i < n; i += LANES_PUT) {
        const int64_t m = n - i < LANES_PUT ? n - i : LANES_PUT;
        float in[LANES_PUT] = {0};
        memcpy(in, from + i, (size_t)m * sizeof *in);
        memcpy(x, in, sizeof x);
        gelu_slopes_32(y, x);
        memcpy(in, y, sizeof y);
        for (int64_t k = 0; k < m; k++) dx[i + k] = dy[i + k] * in[k];
    }
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

#endif

#endif
