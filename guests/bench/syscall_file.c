// A temporary file written, read back and asked about in small pieces.
#include "bench.h"
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    char buffer[256], name[] = "/tmp/bench-XXXXXX";
    int file = mkstemp(name);
    if (file < 0)
        return 1;
    unlink(name);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        struct stat info;
        memset(buffer, (int)(r & 127), sizeof buffer);
        off_t at = (off_t)(r % 64 * 256);
        if (pwrite(file, buffer, sizeof buffer, at) != 256 || lseek(file, at, SEEK_SET) != at)
            return 1;
        if (read(file, buffer, 128) != 128 || fstat(file, &info) != 0)
            return 1;
        hash = mix(hash, (uint64_t)buffer[5] + (uint64_t)info.st_size);
    }
    return report(hash);
}
