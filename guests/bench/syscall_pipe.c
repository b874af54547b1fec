// One byte to a child process and back through two pipes.
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    int to[2], from[2];
    if (pipe(to) || pipe(from))
        return 1;
    if (fork() == 0) {
        close(to[1]);
        uint8_t byte;
        while (read(to[0], &byte, 1) == 1) {
            byte += 3;
            if (write(from[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    uint64_t hash = 0;
    uint8_t byte = 0;
    for (long r = 0; r < rounds; r++) {
        if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
            return 1;
        hash = mix(hash, byte);
    }
    close(to[1]);
    wait(NULL);
    return report(hash);
}
