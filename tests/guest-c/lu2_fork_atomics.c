// A fork amid another thread's store-conditional must not leave the child waiting for it.
// flags: -static -pthread
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// Bytes: riscv64 has no byte-wide compare-and-swap, so these are load-reserved and
// store-conditional.
static _Atomic uint8_t cells[16];
static atomic_int stop;

static void touch_all(void) {
    for (unsigned i = 0; i < sizeof cells; i++) {
        uint8_t old = cells[i];
        while (!atomic_compare_exchange_weak(&cells[i], &old, (uint8_t)(old + 1))) {}
    }
}

static void *busy(void *arg) {
    while (!stop) touch_all();
    return arg;
}

int main(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, busy, NULL);
    int done = 0;
    for (int i = 0; i < 200; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            touch_all();
            _exit(7);
        }
        waitpid(child, &status, 0);
        done += WIFEXITED(status) && WEXITSTATUS(status) == 7;
    }
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("%d children\n", done);
    return 0;
}
