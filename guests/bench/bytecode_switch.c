// The same byte code through one switch in a loop: a single indirect jump for all operations.
#include "bytecode.h"

static NOINLINE uint64_t run(uint64_t n) {
    uint64_t stack[16], *top = stack, variables[4] = {0, n, 1, 0};
    const int32_t *pc = program;
    for (;;) {
        switch (*pc++) {
        case PUSH: *top++ = (uint64_t)*pc++; break;
        case LOAD: *top++ = variables[*pc++]; break;
        case STORE: variables[*pc++] = *--top; break;
        case ADD: top--; top[-1] += *top; break;
        case MUL: top--; top[-1] *= *top; break;
        case XOR: top--; top[-1] ^= *top; break;
        case SHR: top--; top[-1] >>= *top; break;
        case LESS: top--; top[-1] = top[-1] < *top; break;
        case JUMP: pc = program + *pc; break;
        case JUMP_IF_ZERO: pc = *--top ? pc + 1 : program + *pc; break;
        default: return variables[2];
        }
    }
}

int main(int argc, char **argv) {
    return report(run((uint64_t)size_argument(argc, argv)));
}
