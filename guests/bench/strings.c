// libc's memory and string functions over short and long pieces.
#include "bench.h"

static char text[8192], other[8192];

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)('a' + next_random() % 26);
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        size_t at = next_random() % 7000, length = next_random() % 900;
        memcpy(other, text + at, length);
        other[length] = 0;
        hash = mix(hash, strlen(other));
        const char *found = strchr(other, 'q');
        hash = mix(hash, found ? (uint64_t)(found - other) : 0);
        hash = mix(hash, (uint64_t)(memcmp(text, other, length) < 0));
        memset(text + at, 'a' + (int)(r % 26), length & 31);
        memmove(text + 1, text, 200);
    }
    return report(hash);
}
