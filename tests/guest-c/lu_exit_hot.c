// A process whose last thread ends by exit(2), not exit_group(2), ends at once with that
// thread's status, also while isomorph has a thread of its own (hot code was compiled).
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long sink;
static int report_to;

static void hot(void) {
    unsigned long x = 1;
    for (long i = 0; i < 30000000; i++) {
        x = x * 5 + (x >> 7);
        if (x & 64)
            x ^= i;
    }
    sink = x;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void run(const char *what, void (*child)(void)) {
    int pipes[2], status;
    double ended = 0;
    if (pipe(pipes))
        return;
    report_to = pipes[1];
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        child();
        _exit(1);
    }
    close(pipes[1]);
    if (read(pipes[0], &ended, sizeof ended) != sizeof ended)
        printf("%s: no time\n", what);
    waitpid(pid, &status, 0);
    double late = now() - ended;
    printf("%s: status %d, %s\n", what, WEXITSTATUS(status), late < 1.5 ? "soon" : "late");
    close(pipes[0]);
}

static void alone(void) {
    hot();
    double t = now();
    if (write(report_to, &t, sizeof t) != sizeof t)
        _exit(2);
    syscall(SYS_exit, 7);
}

static void *reports(void *unused) {
    hot();
    double t = now();
    if (write(report_to, &t, sizeof t) != sizeof t)
        _exit(2);
    syscall(SYS_exit, 9);
    return unused;
}

static void leader_first(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, reports, 0))
        _exit(2);
    syscall(SYS_exit, 5);
}

int main(void) {
    run("alone", alone);
    run("leader first", leader_first);
    return 0;
}
