// Self-modifying code: fence.i, remapped code, code in writable memory, many versions.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef long (*function)(long);

/* addi a0, a0, imm; ret */
static void emit(uint32_t *at, int imm)
{
    at[0] = 0x00050513 | (uint32_t)imm << 20;
    at[1] = 0x00008067;
}

static void flush(void *at, size_t size)
{
    __builtin___clear_cache(at, (char *)at + size);
}

int main(void)
{
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    uint32_t *code = mmap(0, 16384, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    function call = (function)code;
    long sum = 0;
    for (int i = 0; i < 1000; i++) {
        emit(code, i);
        flush(code, 8);
        sum += call(1);
    }
    printf("rewritten 1000 times: %ld\n", sum);

    emit(code, 5);
    __asm__ volatile("fence.i" ::: "memory");
    long a = call(0);
    emit(code, 6);
    __asm__ volatile("fence.i" ::: "memory");
    printf("fence.i: %ld %ld\n", a, call(0));

    /* A function that rewrites the instruction after its own fence:
       sw a1, 0(a0); fence.i; addi a0, zero, 1; ret. */
    uint32_t patch[] = {0x00b52023, 0x0000100f, 0x00100513, 0x00008067};
    memcpy(code, patch, sizeof patch);
    flush(code, sizeof patch);
    long (*modify)(void *, long) = (long (*)(void *, long))code;
    printf("own successor: %ld\n", modify(code + 2, 0x02a00513)); /* addi a0, zero, 42 */

    mprotect(code, 4096, PROT_READ | PROT_WRITE);
    emit(code, 7);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    flush(code, 8);
    printf("by mprotect: %ld\n", call(0));

    for (int i = 0; i < 50; i++) {
        munmap(code, 4096);
        uint32_t *again = mmap(code, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        emit(again, i);
        flush(again, 8);
        sum += call(100);
    }
    printf("by munmap: %ld\n", sum);

    /* The same page mapped twice: written here, executed there. */
    int file = memfd_create("code", 0);
    uint32_t zeros[1024] = {0};
    long other = 0;
    if (pwrite(file, zeros, sizeof zeros, 0) == sizeof zeros) {
        uint32_t *writable = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        uint32_t *executable = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
        for (int i = 0; i < 100; i++) {
            emit(writable, i);
            flush(executable, 8);
            other += ((function)executable)(0);
        }
    }
    printf("two mappings: %ld\n", other);

    /* Moved code. */
    emit(code, 9);
    flush(code, 8);
    call(0);
    uint32_t *moved = mremap(code, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, code + 2048);
    printf("moved: %ld\n", ((function)moved)(1));
    return 0;
}
