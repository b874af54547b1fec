// flags: -pthread
// Threads: creation, atomics, mutexes, condition variables, TLS, signals to one thread.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 8, TURNS = 20000 };
static atomic_long counter;
static long plain;
static __thread long own;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static atomic_int handled;
static pthread_t wanted;
static _Atomic unsigned char bytes[8];

static void *count(void *argument)
{
    long index = (long)argument;
    for (int i = 0; i < TURNS; i++) {
        atomic_fetch_add(&counter, 1);
        atomic_fetch_xor(&bytes[index], 0xff);
        own++;
        if (i % 16 == 0) {
            pthread_mutex_lock(&lock);
            plain++;
            pthread_mutex_unlock(&lock);
        }
    }
    return (void *)own;
}

static void *relay(void *argument)
{
    int me = (int)(long)argument;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        while (turn % THREADS != me)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return 0;
}

static void handler(int signal)
{
    (void)signal;
    handled += pthread_equal(pthread_self(), wanted) ? 1 : 100;
}

static void *spin(void *argument)
{
    (void)argument;
    while (!handled)
        ;
    return 0;
}

/* Publication: a reader that sees the flag must see the data. */
static atomic_int flag;
static int data;
static void *reader(void *bad)
{
    for (int i = 1; i <= 2000; i++) {
        while (atomic_load_explicit(&flag, memory_order_acquire) != i)
            ;
        if (data != i * 3)
            *(int *)bad += 1;
        atomic_store_explicit(&flag, -i, memory_order_release);
    }
    return 0;
}

static void *sleeper(void *argument)
{
    for (;;)
        pause();
    return argument;
}

int main(void)
{
    pthread_t threads[THREADS];
    long sum = 0;
    void *result;
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, count, (void *)i);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("atomic %ld locked %ld own %ld main's %ld\n", counter, plain, sum, own);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], 0, relay, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    printf("relay %d\n", turn);

    signal(SIGUSR1, handler);
    pthread_create(&wanted, 0, spin, 0);
    pthread_kill(wanted, SIGUSR1);
    pthread_join(wanted, 0);
    printf("signal to its thread: %d\n", handled);

    int bad = 0;
    pthread_create(&threads[0], 0, reader, &bad);
    for (int i = 1; i <= 2000; i++) {
        data = i * 3;
        atomic_store_explicit(&flag, i, memory_order_release);
        while (atomic_load_explicit(&flag, memory_order_acquire) != -i)
            ;
    }
    pthread_join(threads[0], 0);
    printf("published, bad %d\n", bad);
    for (int i = 0; i < 500; i++) {
        pthread_create(&threads[0], 0, sleeper, 0);
        pthread_cancel(threads[0]);
        pthread_join(threads[0], &result);
        bad += result != PTHREAD_CANCELED;
    }
    printf("created and cancelled 500, bad %d\n", bad);
    return 0;
}
