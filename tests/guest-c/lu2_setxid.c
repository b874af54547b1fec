// A change of identity in a program with threads: the guest's C library signals every thread.
// flags: -static -pthread
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_barrier_t ready, done;

static void *wait_here(void *arg) {
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&done);
    return arg;
}

int main(void) {
    pthread_t threads[3];
    pthread_barrier_init(&ready, NULL, 4);
    pthread_barrier_init(&done, NULL, 4);
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, wait_here, NULL);
    pthread_barrier_wait(&ready);
    for (int i = 0; i < 100; i++)
        if (setresuid(-1, geteuid(), -1) || setegid(getegid())) return 1;
    puts("changed");
    pthread_barrier_wait(&done);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    puts("joined");
    return 0;
}
