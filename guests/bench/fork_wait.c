// Forks that do a little and end: processes without exec.
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        pid_t child = fork();
        if (child == 0)
            _exit((int)(r * 7 & 63));
        int status = 0;
        waitpid(child, &status, 0);
        hash = mix(hash, (uint64_t)WEXITSTATUS(status));
    }
    return report(hash);
}
