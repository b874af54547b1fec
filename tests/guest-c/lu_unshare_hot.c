// unshare(2) knows flags for processes of one thread only: this is one, also after code of it was
// hot enough for isomorph to have threads of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static volatile unsigned long sink;

static void hot(void) {
    unsigned long x = 1;
    for (long i = 0; i < 30000000; i++) {
        x = x * 5 + (x >> 7);
        if (x & 64)
            x ^= i;
    }
    sink = x;
}

int main(void) {
    for (int turn = 0; turn < 3; turn++) {
        hot();
        int result = unshare(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM);
        printf("%s\n", result == 0 ? "alone" : strerror(errno));
    }
}
