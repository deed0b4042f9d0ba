/* Pieces of assembly to a loaded module, by the compiler that AMDSIM_TEST_CLANG names. */
#include <hip/hip_runtime_api.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

/* What differs between the chips in the frame of a piece. */
typedef struct dialect {
    const char *load_pointers, *load, *store, *add, *wait_stores;
} dialect;
static const dialect dialects[2] = {
    {"s_load_dwordx4 s[8:11], s[0:1], 0x0", "global_load_dword", "global_store_dword", "v_add_u32", "s_waitcnt vmcnt(0)"},
    {"s_load_b128 s[8:11], s[0:1], 0x0", "global_load_b32", "global_store_b32", "v_add_nc_u32", "s_waitcnt_vscnt null, 0x0"},
};

static const dialect *now(void) { return &dialects[chip_is("gfx11")]; }

static void write_frame(FILE *f, const piece *p)
{
    const dialect *d = now();
    fprintf(f, ".globl %s\n.p2align 8\n.type %s,@function\n%s:\n", p->name, p->name, p->name);
    fprintf(f, "  v_lshlrev_b32 v1, 2, v0\n  %s\n  s_waitcnt lgkmcnt(0)\n  v_mov_b32 v2, v1\n", d->load_pointers);
    for (int k = 0; k < p->inputs; k++) {
        if (k && k % 8 == 0) fprintf(f, "  %s v2, 0x800, v2\n", d->add);
        fprintf(f, "  %s v%d, v2, s[8:9] offset:%d\n", d->load, 16 + k, k % 8 * 256);
    }
    for (int k = 0; k < p->outputs; k++) fprintf(f, "  v_mov_b32 v%d, 0\n", 80 + k);
    fprintf(f, "  s_waitcnt vmcnt(0) lgkmcnt(0)\n  %s\n  s_nop 7\n  s_nop 7\n  s_nop 7\n  v_mov_b32 v2, v1\n", p->text);
    for (int k = 0; k < p->outputs; k++) {
        if (k && k % 8 == 0) fprintf(f, "  %s v2, 0x800, v2\n", d->add);
        fprintf(f, "  %s v2, v%d, s[10:11] offset:%d\n", d->store, 80 + k, k % 8 * 256);
    }
    fprintf(f, "  s_endpgm\n.size %s, .-%s\n", p->name, p->name);
}

static void write_descriptor(FILE *f, const piece *p)
{
    fprintf(f,
            ".rodata\n.p2align 6\n.amdhsa_kernel %s\n  .amdhsa_group_segment_fixed_size %d\n  .amdhsa_private_segment_fixed_size "
            "64\n  %s 1\n",
            p->name, p->lds ? p->lds : 1024,
            chip_is("gfx90a") ? ".amdhsa_system_sgpr_private_segment_wavefront_offset" : ".amdhsa_enable_private_segment");
    fprintf(f,
            "  .amdhsa_kernarg_size 16\n  .amdhsa_user_sgpr_kernarg_segment_ptr 1\n  .amdhsa_next_free_vgpr %d\n  "
            ".amdhsa_next_free_sgpr 64\n  .amdhsa_float_denorm_mode_32 3\n",
            chip_is("gfx9") ? 256 : 160);
    if (chip_is("gfx9")) fprintf(f, "  .amdhsa_accum_offset 160\n");
    if (chip_is("gfx11")) fprintf(f, "  .amdhsa_wavefront_size32 1\n");
    fprintf(f, ".end_amdhsa_kernel\n.text\n");
}

static void write_metadata(FILE *f, const piece *pieces, int count)
{
    fprintf(f, ".amdgpu_metadata\n---\namdhsa.version: [1, 2]\namdhsa.kernels:\n");
    for (int k = 0; k < count; k++) {
        const piece *p = &pieces[k];
        if (!chip_is(p->chips)) continue;
        fprintf(f,
                "  - .name: %s\n    .symbol: %s.kd\n    .kernarg_segment_size: 16\n    .kernarg_segment_align: 8\n    "
                ".group_segment_fixed_size: %d\n",
                p->name, p->name, p->lds ? p->lds : 1024);
        fprintf(f,
                "    .private_segment_fixed_size: 64\n    .wavefront_size: %d\n    .sgpr_count: 64\n    .vgpr_count: 160\n    "
                ".max_flat_workgroup_size: 1024\n    .args:\n",
                chip_wave());
        for (int a = 0; a < 2; a++)
            fprintf(f,
                    "      - .offset: %d\n        .size: 8\n        .value_kind: global_buffer\n        .address_space: global\n",
                    8 * a);
    }
    fprintf(f, "...\n.end_amdgpu_metadata\n");
}

static bool write_source(const char *path, const piece *pieces, int count)
{
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fprintf(f, ".amdgcn_target \"amdgcn-amd-amdhsa--%s\"\n.amdhsa_code_object_version 5\n.text\n", chip_name());
    for (int k = 0; k < count; k++) {
        if (!chip_is(pieces[k].chips)) continue;
        write_frame(f, &pieces[k]);
        write_descriptor(f, &pieces[k]);
    }
    write_metadata(f, pieces, count);
    return fclose(f) == 0;
}

static void *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    void *bytes = malloc((size_t)size + 1);
    size_t got = fread(bytes, 1, (size_t)size, f);
    fclose(f);
    return got == (size_t)size ? bytes : NULL;
}

void *compile(const char *arguments, const char *source)
{
    char object[] = "/tmp/amdsim-XXXXXX", command[1024];
    const char *clang = getenv("AMDSIM_TEST_CLANG");
    int file = mkstemp(object);
    hipModule_t module = NULL;
    if (file < 0) return NULL;
    close(file);
    snprintf(command, sizeof command, "%s %s -mcode-object-version=5 %s -o %s", clang ? clang : "clang-19", arguments, source,
             object);
    void *image = system(command) == 0 ? read_file(object) : NULL;
    if (image && hipModuleLoadData(&module, image) != hipSuccess) module = NULL;
    unlink(object);
    return module; /* the image stays: the module reads it */
}

void *assemble(const piece *pieces, int count)
{
    char source[] = "/tmp/amdsim-XXXXXX", arguments[128];
    int file = mkstemp(source);
    if (file < 0) return NULL;
    close(file);
    snprintf(arguments, sizeof arguments, "-x assembler -target amdgcn-amd-amdhsa -mcpu=%s", chip_name());
    void *module = write_source(source, pieces, count) ? compile(arguments, source) : NULL;
    if (module || !getenv("AMDSIM_TEST_KEEP")) unlink(source);
    return module;
}
