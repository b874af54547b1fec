// Recursive Fibonacci: calls and returns.
#include "runtime.h"

static __attribute__((noinline)) uint64_t fib(unsigned n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int run(void) {
    print("fib(38) = %lu\n", fib(38));
    return 0;
}
