// What the program is told about its machine: auxiliary vector, uname, /proc of the guest.
#define _GNU_SOURCE
#include <elf.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static int contains(const char *file, const char *text)
{
    static char buffer[65536];
    FILE *f = fopen(file, "r");
    size_t n = f ? fread(buffer, 1, sizeof buffer - 1, f) : 0;
    if (f)
        fclose(f);
    return memmem(buffer, n, text, strlen(text)) != 0;
}

int main(int argc, char **argv)
{
    struct utsname name;
    uname(&name);
    printf("machine %s system %s\n", name.machine, name.sysname);
    unsigned long hwcap = getauxval(AT_HWCAP);
    printf("hwcap imafdc %d page %lu\n", (hwcap & 0x112d) == 0x112d, getauxval(AT_PAGESZ));
    printf("phdr %d phent %lu entry %d random %d\n", getauxval(AT_PHDR) != 0, getauxval(AT_PHENT),
           getauxval(AT_ENTRY) != 0, getauxval(AT_RANDOM) != 0);
    char exe[4096] = "", *file = realpath(argv[0], 0);
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0)
        return 1;
    printf("exe %s, %d argument(s)\n", file && strcmp(exe, file) == 0 ? "own" : exe, argc);
    printf("cmdline %d maps %d stack %d\n", contains("/proc/self/cmdline", argv[0]),
           contains("/proc/self/maps", exe), contains("/proc/self/maps", "[stack]"));
    printf("cpuinfo %d\n", contains("/proc/cpuinfo", "rv64"));
    printf("stack pointer aligned %d below %d\n", ((uintptr_t)__builtin_frame_address(0) & 15) == 0,
           (uintptr_t)argv < 1ull << 47);
    void *high = mmap((void *)(1ull << 40), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("map %d brk %d\n", high != MAP_FAILED, sbrk(4096) != (void *)-1);
    printf("no such call: %ld\n", syscall(9999));
    printf("getpid %d gettid %d\n", getpid() > 0, gettid() == getpid());
    return 0;
}
