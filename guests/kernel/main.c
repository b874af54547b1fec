// The kernel's first and last words. README.md says what it is for.
#include "kernel.h"

// Whether the kernel's arguments have this word.
static bool argument(const char *word) {
    const char *at = machine.arguments;
    while (*at) {
        const char *w = word;
        while (*at == ' ')
            at++;
        while (*w && *at == *w) {
            at++;
            w++;
        }
        if (!*w && (!*at || *at == ' '))
            return true;
        while (*at && *at != ' ')
            at++;
    }
    return false;
}

// The boot hart's place in the list becomes the first.
static void order_harts(u64 boot) {
    for (u32 i = 0; i < machine.hart_count; i++) {
        if (machine.hart_ids[i] == boot) {
            machine.hart_ids[i] = machine.hart_ids[0];
            machine.hart_ids[0] = boot;
        }
    }
}

_Noreturn void kernel_main(u64 hart, u64 tree) {
    harts[0].stack = (u64)stacks + STACK_SIZE;
    bool known = fdt_parse(tree, hart);
    order_harts(hart);
    console_init();
    if (!known)
        panic("the device tree is broken", NULL);
    memory_init();
    interrupts_init();
    print("\nisomorph's demo kernel: hart %lu of %lu, %lu MiB, up after %lu us\n", hart,
          (u64)machine.hart_count, machine.memory_size >> 20, now() * 1000000 / machine.timebase);
    if (argument("demo"))
        tour();
    shell();
}
