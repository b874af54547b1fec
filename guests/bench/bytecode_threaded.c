// A byte-code interpreter with one indirect jump after each operation (computed goto).
#include "bytecode.h"

static NOINLINE uint64_t run(uint64_t n) {
#define LABEL(op) &&do_##op,
    static const void *const labels[] = {OPCODES(LABEL)};
    uint64_t stack[16], *top = stack, variables[4] = {0, n, 1, 0};
    const int32_t *pc = program;
#define NEXT goto *labels[*pc++]
    NEXT;
do_PUSH: *top++ = (uint64_t)*pc++; NEXT;
do_LOAD: *top++ = variables[*pc++]; NEXT;
do_STORE: variables[*pc++] = *--top; NEXT;
do_ADD: top--; top[-1] += *top; NEXT;
do_MUL: top--; top[-1] *= *top; NEXT;
do_XOR: top--; top[-1] ^= *top; NEXT;
do_SHR: top--; top[-1] >>= *top; NEXT;
do_LESS: top--; top[-1] = top[-1] < *top; NEXT;
do_JUMP: pc = program + *pc; NEXT;
do_JUMP_IF_ZERO: pc = *--top ? pc + 1 : program + *pc; NEXT;
do_HALT: return variables[2];
}

int main(int argc, char **argv) {
    return report(run((uint64_t)size_argument(argc, argv)));
}
