// Threads at the edges: main ends first, exec and fork from threads, signals while all is busy.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_t main_thread;
static char *self;

static int wait_for(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void *outlives_main(void *arg)
{
    pthread_join(main_thread, NULL);
    usleep(1000);
    _exit((int)(long)arg);
}

static void *executes(void *arg)
{
    (void)arg;
    execl(self, self, "executed", (char *)NULL);
    _exit(1);
}

static atomic_int ticks, stop;
static atomic_long work;

static void on_tick(int signo)
{
    (void)signo;
    ticks++;
}

static void *computes(void *arg)
{
    unsigned long x = (unsigned long)arg;
    while (!stop)
        for (int i = 0; i < 1000; i++)
            x = x * 6364136223846793005ul + 1;
    work += x != 0;
    return NULL;
}

static void *forks(void *arg)
{
    long good = 0;
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            void *p = malloc(1000);
            memset(p, i, 1000);
            _exit(i);
        }
        good += wait_for(pid) == i;
    }
    *(long *)arg = good;
    return NULL;
}

static void *sleeps(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++)
        usleep(500);
    return NULL;
}

static void busy(void)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[9];
    long good[3] = {0};
    for (long i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, computes, (void *)(i + 1));
        pthread_create(&threads[3 + i], NULL, forks, &good[i]);
        pthread_create(&threads[6 + i], NULL, sleeps, NULL);
    }
    for (int i = 3; i < 9; i++)
        pthread_join(threads[i], NULL);
    while (ticks < 20)
        usleep(100);
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("busy: %ld forks, %ld computed, ticks %s\n", good[0] + good[1] + good[2], (long)work,
           ticks >= 20 ? "came" : "missing");
}

static void *blocks_in_read(void *arg)
{
    char byte;
    ssize_t got = read(*(int *)arg, &byte, 1);
    return (void *)(long)(got < 0 ? errno : 0);
}

static void *forks_and_leaves(void *arg)
{
    pid_t pid = fork();
    if (pid == 0)
        syscall(SYS_exit, 23);
    *(int *)arg = wait_for(pid);
    return NULL;
}

static void interrupted(void)
{
    int ends[2];
    struct sigaction action = {.sa_handler = on_tick};
    sigaction(SIGUSR1, &action, NULL);
    if (pipe(ends))
        return;
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, blocks_in_read, &ends[0]);
    int before = ticks;
    // A signal that comes before the call starts does not end it: keep on.
    while (pthread_tryjoin_np(thread, &result)) {
        pthread_kill(thread, SIGUSR1);
        usleep(1000);
    }
    printf("read: %s, handler %s\n", strerrorname_np((int)(long)result),
           ticks > before ? "ran" : "did not run");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        printf("executed: thread %s\n", getpid() == (pid_t)syscall(SYS_gettid) ? "leads" : "lags");
        return 6;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    self = realpath(argv[0], NULL);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        main_thread = pthread_self();
        pthread_create(&thread, NULL, outlives_main, (void *)41);
        pthread_exit(NULL);
    }
    printf("main first: %d\n", wait_for(pid));
    pid = fork();
    if (pid == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, executes, NULL);
        for (;;)
            pause();
    }
    printf("exec in a thread: %d\n", wait_for(pid));
    pthread_t thread;
    int status = 0;
    pthread_create(&thread, NULL, forks_and_leaves, &status);
    pthread_join(thread, NULL);
    printf("last thread of a child: %d\n", status);
    busy();
    interrupted();
    return 0;
}
