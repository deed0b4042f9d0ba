/* Linux gives the state of AMX's tiles (8 KiB a thread) only to a process that asks for it; what it grants holds for all threads
 * until exec. Linux documentation, "Using XSTATE features in user space applications". */
#include "backends/cpu/amx.h"

#if defined __x86_64__ && defined __linux__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers of the kernel's interface and of CPUID leaf 7. */
enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, EDX_AMX_BF16 = 1 << 22, EDX_AMX_TILE = 1 << 24 };

static bool ask(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (!(d & EDX_AMX_BF16) || !(d & EDX_AMX_TILE)) return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

bool trine_cpu_has_amx_bf16(void)
{
    static int known; /* 0: not yet asked */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (answer == 0) {
        answer = ask() ? 1 : -1; /* several threads may ask: they get the same answer */
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer > 0;
}
#else
bool trine_cpu_has_amx_bf16(void) { return false; }
#endif
