/* C = A B^T in f16 with f32 sums, as matrix kernels are written: tiles of 128 x 128 through two buffers of LDS, the next tile's
 * loads under way while this one is multiplied. A is M x K, B N x K, both by rows; M and N are multiples of 128, K of 32. */
typedef _Float16 half;
typedef half half4 __attribute__((ext_vector_type(4)));
typedef half half8 __attribute__((ext_vector_type(8)));
typedef half half16 __attribute__((ext_vector_type(16)));
typedef float float4 __attribute__((ext_vector_type(4)));
typedef float float8 __attribute__((ext_vector_type(8)));
#define DEVICE static inline __attribute__((device, always_inline))

#if defined DIRECT /* loads go straight to LDS, where the lanes' pieces then lie side by side */
enum { PAD = 0 };
#else
enum { PAD = 8 }; /* so that rows start in other banks */
#endif
enum { TILE = 128, STEP = 32, ROW = STEP + PAD, THREADS = 256 };
typedef half tile[TILE][ROW];

#if defined __GFX9__
enum { WAVE = 64, M_TILES = 4, N_TILES = 4, SLICE = 16 };
typedef half4 fragment;
typedef float4 sums;
DEVICE sums multiply(fragment a, fragment b, sums c) { return __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, c, 0, 0, 0); }
DEVICE int fragment_step(int lane) { return lane / 16 * 4; }
DEVICE int sum_row(int lane, int item) { return lane / 16 * 4 + item; }
#else
enum { WAVE = 32, M_TILES = 4, N_TILES = 2, SLICE = 16 };
typedef half16 fragment;
typedef float8 sums;
DEVICE sums multiply(fragment a, fragment b, sums c)
{
#if defined __AMDGCN__
    return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, c);
#else
    return c;
#endif
}
DEVICE int fragment_step(int lane) { return 0; }
DEVICE int sum_row(int lane, int item) { return 2 * item + lane / 16; }
#endif
enum { SUMS = sizeof(sums) / sizeof(float) };

/* A thread's share of a tile: two pieces of eight halves. */
struct share {
    half8 piece[2];
};
DEVICE share load(const half *from, int k)
{
    int t = int(__builtin_amdgcn_workitem_id_x());
    share s;
    for (int p = 0; p < 2; p++) s.piece[p] = *(const half8 *)(from + (long)(t / 4 + 64 * p) * k + t % 4 * 8);
    return s;
}
DEVICE void store(half (*to)[ROW], share s)
{
    int t = int(__builtin_amdgcn_workitem_id_x());
    for (int p = 0; p < 2; p++) *(half8 *)&to[t / 4 + 64 * p][t % 4 * 8] = s.piece[p];
}

#if defined DIRECT
/* A wave's quarter of a tile: 4 bytes a lane, so four rows at a time. In assembly: clang 19 fails on the builtin of it, and so
 * does not know of the wait either. */
DEVICE void load_direct(half (*to)[ROW], const half *from, int k)
{
    int t = int(__builtin_amdgcn_workitem_id_x()), wave = __builtin_amdgcn_readfirstlane(t / WAVE), lane = t % WAVE;
    for (int piece = 0; piece < TILE / 4 / 4; piece++) {
        int row = wave * (TILE / 4) + 4 * piece;
        const half *place = from + (long)(row + lane / 16) * k + lane % 16 * 2;
        unsigned offset = (unsigned)(__attribute__((address_space(3))) half *)&to[row][0];
        asm volatile("s_mov_b32 m0, %0\n\tglobal_load_lds_dword %1, off" ::"s"(offset), "v"(place) : "memory");
    }
}
DEVICE void wait_direct()
{
#if !defined PLANTED_NO_WAIT
    asm volatile("s_waitcnt vmcnt(0)" ::: "memory");
#endif
}
#else
DEVICE void wait_direct() {}
#endif

DEVICE void multiply_tile(const half (*a)[ROW], const half (*b)[ROW], sums (*c)[N_TILES])
{
    int lane = int(__builtin_amdgcn_workitem_id_x()) % WAVE;
    for (int k = 0; k < STEP; k += SLICE) {
        fragment left[M_TILES], right[N_TILES];
        for (int i = 0; i < M_TILES; i++) left[i] = *(const fragment *)&a[16 * i + lane % 16][k + fragment_step(lane)];
        for (int j = 0; j < N_TILES; j++) right[j] = *(const fragment *)&b[16 * j + lane % 16][k + fragment_step(lane)];
        __builtin_amdgcn_s_setprio(1);
        for (int i = 0; i < M_TILES; i++)
            for (int j = 0; j < N_TILES; j++) c[i][j] = multiply(left[i], right[j], c[i][j]);
        __builtin_amdgcn_s_setprio(0);
    }
}

DEVICE void barrier()
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

extern "C" __attribute__((global, amdgpu_flat_work_group_size(THREADS, THREADS))) void gemm(const half *a, const half *b,
                                                                                            float *c, int n, int k)
{
    static __attribute__((shared)) tile left[2], right[2];
    int t = int(__builtin_amdgcn_workitem_id_x()), wave = t / WAVE, lane = t % WAVE;
    int row = wave % 2 * 16 * M_TILES, column = wave / 2 * 16 * N_TILES;
    int first_row = int(__builtin_amdgcn_workgroup_id_y()) * TILE, first_column = int(__builtin_amdgcn_workgroup_id_x()) * TILE;
    sums sum[M_TILES][N_TILES] = {};
    a += (long)first_row * k;
    b += (long)first_column * k;
#if defined DIRECT
    load_direct(left[0], a, k);
    load_direct(right[0], b, k);
#else
    share next_a = load(a, k), next_b = load(b, k);
    store(left[0], next_a);
    store(right[0], next_b);
#endif
    wait_direct();
    barrier();
    for (int step = 0; step < k / STEP; step++) {
        int now = step % 2;
        bool more = step + 1 < k / STEP;
#if defined DIRECT
        if (more) {
            load_direct(left[!now], a + (step + 1) * STEP, k);
            load_direct(right[!now], b + (step + 1) * STEP, k);
        }
        multiply_tile(left[now] + row, right[now] + column, sum);
#else
        if (more) {
            next_a = load(a + (step + 1) * STEP, k);
            next_b = load(b + (step + 1) * STEP, k);
        }
        multiply_tile(left[now] + row, right[now] + column, sum);
        if (more) {
            store(left[!now], next_a);
            store(right[!now], next_b);
        }
#endif
        wait_direct();
#if !defined PLANTED_NO_BARRIER
        barrier();
#endif
    }
    for (int i = 0; i < M_TILES; i++)
        for (int j = 0; j < N_TILES; j++)
            for (int item = 0; item < SUMS; item++)
                c[(long)(first_row + row + 16 * i + sum_row(lane, item)) * n + first_column + column + 16 * j + lane % 16] =
                    sum[i][j][item];
}
