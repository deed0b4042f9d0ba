#include "disasm.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip.h"

/* Functions of llvm-c/Disassembler.h and llvm-c/Target.h. Opened by name, so that the stand-in builds without LLVM's headers. */
typedef void *create_fn(const char *triple, const char *cpu, const char *features, void *info, int tag, void *get_info,
                        void *look_up);
typedef size_t decode_fn(void *context, const uint8_t *bytes, uint64_t left, uint64_t pc, char *text, size_t room);

static void *library(void)
{
    static const char *const names[] = {"libLLVM.so.19.1", "libLLVM-19.so.1", "/usr/lib/llvm-19/lib/libLLVM.so",
                                        "libLLVM.so.20.1", "libLLVM.so.21.1"};
    const char *named = getenv("AMDSIM_LLVM");
    void *found = named ? dlopen(named, RTLD_NOW | RTLD_LOCAL) : NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) found = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (found) return found;
    fprintf(stderr, "amdsim: LLVM's library (%s) was not found; AMDSIM_LLVM may name it\n", names[0]);
    exit(2);
}

static void *symbol(void *from, const char *name)
{
    void *found = dlsym(from, name);
    if (found) return found;
    fprintf(stderr, "amdsim: LLVM's library has no %s\n", name);
    exit(2);
}

static decode_fn *decode;

static void *open_context(void)
{
    static const char *const starters[] = {"LLVMInitializeAMDGPUTargetInfo", "LLVMInitializeAMDGPUTargetMC",
                                           "LLVMInitializeAMDGPUDisassembler"};
    void *llvm = library();
    for (size_t i = 0; i < sizeof starters / sizeof starters[0]; i++) ((void (*)(void))symbol(llvm, starters[i]))();
    create_fn *create = (create_fn *)symbol(llvm, "LLVMCreateDisasmCPUFeatures");
    decode = (decode_fn *)symbol(llvm, "LLVMDisasmInstruction");
    const chip *c = chip_now();
    void *context = create("amdgcn-amd-amdhsa", c->name, c->wave_size == 32 ? "+wavefrontsize32" : "", NULL, 0, NULL, NULL);
    if (context) return context;
    fprintf(stderr, "amdsim: LLVM's library does not know %s\n", c->name);
    exit(2);
}

size_t disassemble(const void *bytes, uint64_t left, char *text, size_t room)
{
    static void *context;
    if (!context) context = open_context();
    memset(text, 0, room);
    size_t length = decode(context, bytes, left, 0, text, room);
    const char *start = text + strspn(text, " \t");
    memmove(text, start, strlen(start) + 1);
    return length;
}
