// Writes a function, makes it visible, calls it a few times, and changes it: a tiny JIT.
#include "bench.h"
#include <sys/mman.h>

typedef uint64_t function(uint64_t);
static uint8_t *code;

// Writes `return x + addend` (addend below 2048).
static size_t emit(uint8_t *at, uint32_t addend) {
#if defined(__riscv)
    uint32_t words[2] = {addend << 20 | 10 << 15 | 10 << 7 | 0x13, 0x00008067};
    memcpy(at, words, sizeof words);
    return sizeof words;
#elif defined(__x86_64__)
    uint8_t bytes[8] = {0x48, 0x8d, 0x87, 0, 0, 0, 0, 0xc3};
    memcpy(bytes + 3, &addend, 4);
    memcpy(at, bytes, sizeof bytes);
    return sizeof bytes;
#else
#error "no code for this machine"
#endif
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    code = mmap(NULL, 65536, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        return 1;
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        uint8_t *at = code + (r * 64 & 65535);
        size_t length = emit(at, (uint32_t)(r * 37 & 2047));
        __builtin___clear_cache((char *)at, (char *)at + length);
        function *f = (function *)(uintptr_t)at;
        for (int i = 0; i < 50; i++)
            hash = f(hash) * 3;
    }
    return report(hash);
}
