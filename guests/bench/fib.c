// Recursive Fibonacci: calls and returns, little else.
#include "bench.h"

static NOINLINE uint64_t fib(uint64_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv) {
    return report(fib((uint64_t)size_argument(argc, argv)));
}
