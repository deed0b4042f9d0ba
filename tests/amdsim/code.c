/* Code objects: the chip's ELF file out of a fat binary, loaded, with its kernels' descriptors and metadata.
 *
 * "User Guide for AMDGPU Backend" (LLVM): Code Object V5 Metadata, Kernel Descriptor; "Clang Offload Bundler": the fat binary. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "disasm.h"
#include "msgpack.h"
#include "sim.h"

/* ---- The bundle ---- */

static const uint8_t *bundle_entry(const void *bundle, const char *arch)
{
    static const char magic[] = "__CLANG_OFFLOAD_BUNDLE__";
    const uint8_t *at = bundle;
    uint64_t count;
    if (memcmp(at, ELFMAG, SELFMAG) == 0) return at;
    if (memcmp(at, magic, 24) != 0) return NULL;
    memcpy(&count, at + 24, 8);
    at += 32;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t field[3]; /* offset, size, length of the target's name */
        memcpy(field, at, 24);
        const char *name = (const char *)at + 24, *end = name + field[2], *dash = end;
        while (dash > name && dash[-1] != '-') dash--;
        size_t length = strlen(arch);
        bool same =
            (size_t)(end - dash) >= length && memcmp(dash, arch, length) == 0 && (dash + length == end || dash[length] == ':');
        if (same && field[1]) return (const uint8_t *)bundle + field[0];
        at += 24 + field[2];
    }
    return NULL;
}

/* ---- The ELF file ---- */

static const Elf64_Shdr *section(const uint8_t *elf, uint32_t type)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)elf;
    const Elf64_Shdr *s = (const Elf64_Shdr *)(elf + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++)
        if (s[i].sh_type == type) return &s[i];
    return NULL;
}

static void load_segments(code_object *code, const uint8_t *elf)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)elf;
    const Elf64_Phdr *p = (const Elf64_Phdr *)(elf + header->e_phoff);
    for (int i = 0; i < header->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && p[i].p_vaddr + p[i].p_memsz > code->image_size)
            code->image_size = p[i].p_vaddr + p[i].p_memsz;
    code->image_size += 64; /* what the disassembler may look ahead */
    code->image = mmap(NULL, code->image_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < header->e_phnum; i++) {
        if (p[i].p_type != PT_LOAD) continue;
        memcpy(code->image + p[i].p_vaddr, elf + p[i].p_offset, p[i].p_filesz);
        if (!(p[i].p_flags & PF_X)) continue;
        code->text_begin = p[i].p_vaddr;
        code->text_end = p[i].p_vaddr + p[i].p_memsz;
    }
    code->at = calloc((code->text_end - code->text_begin) / 4 + 1, sizeof *code->at);
    code->memory = region_add(code->image, code->image_size, true, false, "code object");
}

static void relocate(code_object *code, const uint8_t *elf)
{
    enum { RELATIVE64 = 13 };
    const Elf64_Shdr *s = section(elf, SHT_RELA);
    if (!s) return;
    const Elf64_Rela *r = (const Elf64_Rela *)(elf + s->sh_offset);
    for (size_t i = 0; i < s->sh_size / sizeof *r; i++) {
        if (ELF64_R_TYPE(r[i].r_info) != RELATIVE64) continue;
        uint64_t value = (uint64_t)code->image + (uint64_t)r[i].r_addend;
        memcpy(code->image + r[i].r_offset, &value, 8);
    }
}

static uint64_t elf_symbol(const uint8_t *elf, const char *name, uint64_t *size)
{
    const Elf64_Shdr *s = section(elf, SHT_DYNSYM);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)elf;
    if (!s) return 0;
    const Elf64_Shdr *all = (const Elf64_Shdr *)(elf + header->e_shoff);
    const char *strings = (const char *)elf + all[s->sh_link].sh_offset;
    const Elf64_Sym *symbol = (const Elf64_Sym *)(elf + s->sh_offset);
    for (size_t i = 0; i < s->sh_size / sizeof *symbol; i++) {
        if (strcmp(strings + symbol[i].st_name, name) != 0) continue;
        if (size) *size = symbol[i].st_size;
        return symbol[i].st_value;
    }
    return 0;
}

/* ---- Metadata ---- */

static bool is(const char *key, uint32_t length, const char *text)
{
    return strlen(text) == length && memcmp(key, text, length) == 0;
}

static void read_arguments(msgpack *m, kernel *k)
{
    k->argument_count = (int)msgpack_array(m);
    k->arguments = calloc((size_t)k->argument_count + 1, sizeof *k->arguments);
    for (int i = 0; i < k->argument_count; i++) {
        kernel_argument *a = &k->arguments[i];
        for (uint32_t fields = msgpack_map(m); fields; fields--) {
            const char *key;
            uint32_t length = msgpack_string(m, &key);
            if (is(key, length, ".offset"))
                a->offset = (uint32_t)msgpack_number(m);
            else if (is(key, length, ".size"))
                a->size = (uint32_t)msgpack_number(m);
            else if (is(key, length, ".value_kind"))
                msgpack_copy(m, a->kind, sizeof a->kind);
            else
                msgpack_skip(m);
        }
        a->hidden = strncmp(a->kind, "hidden_", 7) == 0;
    }
}

static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
    {".kernarg_segment_size", offsetof(kernel, kernarg_size)},
    {".vgpr_count", offsetof(kernel, vgprs)},
    {".agpr_count", offsetof(kernel, agprs)},
    {".sgpr_count", offsetof(kernel, sgprs)},
    {".vgpr_spill_count", offsetof(kernel, vgpr_spills)},
    {".sgpr_spill_count", offsetof(kernel, sgpr_spills)},
    {".max_flat_workgroup_size", offsetof(kernel, max_threads)},
    {".wavefront_size", offsetof(kernel, wave_size)},
};

static void read_field(msgpack *m, kernel *k, const char *key, uint32_t length)
{
    if (is(key, length, ".name")) {
        const char *name;
        uint32_t letters = msgpack_string(m, &name);
        k->name = strndup(name, letters);
        return;
    }
    if (is(key, length, ".args")) {
        read_arguments(m, k);
        return;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (!is(key, length, numbers[i].key)) continue;
        *(uint32_t *)((char *)k + numbers[i].offset) = (uint32_t)msgpack_number(m);
        return;
    }
    msgpack_skip(m);
}

/* Offsets in the kernel descriptor, 64 bytes. */
static void read_descriptor(kernel *k, const uint8_t *elf)
{
    char symbol[4096];
    int64_t entry;
    snprintf(symbol, sizeof symbol, "%s.kd", k->name);
    uint64_t address = elf_symbol(elf, symbol, NULL);
    const uint8_t *d = k->code->image + address;
    if (!address) return;
    memcpy(&k->lds, d, 4);
    memcpy(&k->scratch, d + 4, 4);
    memcpy(&entry, d + 16, 8);
    memcpy(&k->rsrc3, d + 44, 4);
    memcpy(&k->rsrc1, d + 48, 4);
    memcpy(&k->rsrc2, d + 52, 4);
    memcpy(&k->properties, d + 56, 2);
    memcpy(&k->kernarg_preload, d + 58, 2);
    k->entry = address + (uint64_t)entry;
}

static void read_kernels(code_object *code, msgpack *m)
{
    for (uint32_t count = msgpack_array(m); count; count--) {
        kernel *k = calloc(1, sizeof *k);
        k->code = code;
        for (uint32_t fields = msgpack_map(m); fields; fields--) {
            const char *key;
            uint32_t length = msgpack_string(m, &key);
            read_field(m, k, key, length);
        }
        k->next = code->kernels;
        code->kernels = k;
    }
}

static void read_metadata(code_object *code, const uint8_t *elf)
{
    enum { AMDGPU_METADATA = 32 };
    const Elf64_Shdr *s = section(elf, SHT_NOTE);
    const uint8_t *at = s ? elf + s->sh_offset : NULL, *end = at + (s ? s->sh_size : 0);
    while (at && at + 12 <= end) {
        const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
        const uint8_t *text = at + 12 + ((note->n_namesz + 3) & ~3u);
        at = text + ((note->n_descsz + 3) & ~3u);
        if (note->n_type != AMDGPU_METADATA) continue;
        msgpack m = {text, text + note->n_descsz};
        for (uint32_t fields = msgpack_map(&m); fields; fields--) {
            const char *key;
            uint32_t length = msgpack_string(&m, &key);
            if (is(key, length, "amdhsa.kernels"))
                read_kernels(code, &m);
            else
                msgpack_skip(&m);
        }
    }
}

/* ---- The rest ---- */

code_object *code_load(const void *bundle)
{
    const uint8_t *elf = bundle_entry(bundle, chip_now()->name);
    if (!elf) return NULL;
    code_object *code = calloc(1, sizeof *code);
    load_segments(code, elf);
    relocate(code, elf);
    read_metadata(code, elf);
    code->elf = elf;
    return code;
}

kernel *code_kernel(code_object *code, const char *name)
{
    for (kernel *k = code->kernels; k; k = k->next)
        if (k->name && strcmp(k->name, name) == 0) {
            if (!k->entry) read_descriptor(k, code->elf);
            return k->entry ? k : NULL;
        }
    return NULL;
}

uint64_t code_symbol(const code_object *code, const char *name, uint64_t *size) { return elf_symbol(code->elf, name, size); }

inst *inst_new(void)
{
    inst *i = aligned_alloc(_Alignof(inst), sizeof *i);
    *i = (inst){0};
    return i;
}

/* A dword that does not decode stays an instruction: it is a fault only if it is reached. */
static inst *decode(const code_object *code, uint64_t address)
{
    char text[512];
    inst *i = inst_new();
    uint64_t left = code->text_end - address;
    size_t bytes = disassemble(code->image + address, left, text, sizeof text);
    i->address = address;
    i->next = address + (bytes ? bytes : 4);
    i->text = strdup(bytes ? text : "(no instruction)");
    decode_text(i, i->text, chip_now());
    return i;
}

const inst *code_decode(code_object *code, uint64_t address)
{
    if (address < code->text_begin || address >= code->text_end || address % 4) return NULL;
    inst **slot = &code->at[(address - code->text_begin) / 4];
    if (!*slot) *slot = decode(code, address);
    return *slot;
}
