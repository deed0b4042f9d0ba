/* Run setuid by secure.c. argv: the library's path. Prints one line: AT_SECURE, devices of cuda, the arch of the CPU's stream.
 * Linked with the C library alone, since a setuid program does not search the build folder for libraries. */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/auxv.h>

#include "trine/stream.h"

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) {
        printf("no library: %s\n", argc > 1 ? dlerror() : "");
        return 1;
    }
    __typeof__(&trine_device_count) device_count = (__typeof__(device_count))dlsym(library, "trine_device_count");
    __typeof__(&trine_device_get_props) get_props = (__typeof__(get_props))dlsym(library, "trine_device_get_props");
    trine_device_props props = {.arch = "refused"};
    int32_t count = -1;
    device_count("cuda", &count);
    if (get_props("cpu", 0, &props) != TRINE_OK) snprintf(props.arch, sizeof props.arch, "refused");
    printf("secure %d cuda %d cpu %s\n", (int)getauxval(AT_SECURE), (int)count, props.arch);
    return 0;
}
