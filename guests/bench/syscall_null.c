// System calls that do next to nothing in the kernel.
#include "bench.h"
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t same = 0;
    long parent = syscall(SYS_getppid);
    for (long r = 0; r < rounds; r++)
        same += syscall(SYS_getppid) == parent;
    return report(same);
}
