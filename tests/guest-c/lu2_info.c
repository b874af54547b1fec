// What a program asks about itself, its limits and the system; clocks; what does not exist.
// flags: -static
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOW(expr) printf("%s: %ld\n", #expr, (long)(expr))
#define FAILS(expr)                                                            \
    do {                                                                       \
        errno = 0;                                                             \
        long res_ = (long)(expr);                                                 \
        printf("%s: %ld %s\n", #expr, res_, res_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

static volatile sig_atomic_t ticks;
static void on_tick(int sig) { ticks += sig > 0; }

static void limits(void) {
    struct rlimit r = {256, 300}, back;
    SHOW(setrlimit(RLIMIT_NOFILE, &r));
    SHOW(getrlimit(RLIMIT_NOFILE, &back));
    SHOW(back.rlim_cur * 1000 + back.rlim_max);
    r = (struct rlimit){64 << 20, RLIM_INFINITY};
    SHOW(setrlimit(RLIMIT_AS, &r));
    SHOW((getrlimit(RLIMIT_AS, &back), back.rlim_cur == 64 << 20));
    r.rlim_cur = 1 << 16;
    SHOW(setrlimit(RLIMIT_STACK, &r));
    SHOW((getrlimit(RLIMIT_STACK, &back), (long)back.rlim_cur));
    r = (struct rlimit){5, 4};
    FAILS(setrlimit(RLIMIT_AS, &r));
    FAILS(getrlimit(99, &r));
}

static void time_and_timers(void) {
    struct timespec a, b, nap = {0, 3000000};
    clock_gettime(CLOCK_MONOTONIC, &a);
    SHOW(nanosleep(&nap, NULL));
    SHOW(clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL));
    clock_gettime(CLOCK_MONOTONIC, &b);
    SHOW((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >= 6000000);
    FAILS(clock_gettime(77, &a));
    struct timeval tv;
    SHOW(gettimeofday(&tv, NULL));
    SHOW(time(NULL) - tv.tv_sec <= 1);
    SHOW((clock_getres(CLOCK_REALTIME, &a), a.tv_nsec >= 1));

    struct sigaction sa = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    sigaction(SIGRTMIN + 2, &sa, NULL);
    struct itimerval soon = {.it_value = {0, 300000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    nap = (struct timespec){5, 0};
    FAILS(nanosleep(&nap, &b));
    SHOW(b.tv_sec == 4 && ticks == 1);
    timer_t timer;
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 2};
    ev._sigev_un._tid = gettid();
    SHOW(timer_create(CLOCK_MONOTONIC, &ev, &timer));
    struct itimerspec spec = {{0, 0}, {0, 300000000}};
    SHOW(timer_settime(timer, 0, &spec, NULL));
    FAILS(nanosleep(&nap, &b));
    SHOW(ticks);
    SHOW(timer_delete(timer));
}

static void processes(void) {
    int status = 0;
    struct rusage usage;
    pid_t child = fork();
    if (child == 0) {
        for (volatile int i = 0; i < 1000000; i++) {}
        _exit(7);
    }
    siginfo_t info = {0};
    SHOW(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    SHOW(info.si_pid == child && info.si_status == 7 && info.si_code == CLD_EXITED);
    SHOW(wait4(child, &status, 0, &usage) == child);
    SHOW(WEXITSTATUS(status));
    SHOW(usage.ru_maxrss > 0);
    FAILS(wait4(-1, &status, WNOHANG, NULL));
    struct tms t;
    SHOW(times(&t) != -1);
    int fd = syscall(SYS_pidfd_open, getpid(), 0);
    SHOW(fd > 2);
    SHOW(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
}

int main(void) {
    struct utsname u;
    SHOW(uname(&u));
    printf("%s %s\n", u.sysname, u.machine);
    char name[16];
    SHOW(prctl(PR_SET_NAME, "a-very-long-thread-name"));
    SHOW(prctl(PR_GET_NAME, name));
    printf("%s\n", name);
    SHOW(prctl(PR_SET_PDEATHSIG, 0));
    SHOW(prctl(PR_GET_DUMPABLE));
    SHOW(prctl(PR_GET_SECCOMP));
    FAILS(prctl(PR_SET_SECCOMP, 2, 0));
    FAILS(prctl(12345));
    SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SHOW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    SHOW(personality(0xffffffff) != -1);
    struct sysinfo si;
    SHOW(sysinfo(&si));
    SHOW(si.totalram > 0 && si.mem_unit > 0);
    cpu_set_t cpus;
    SHOW(sched_getaffinity(0, sizeof cpus, &cpus));
    SHOW(CPU_COUNT(&cpus) >= 1);
    SHOW(sched_setaffinity(0, sizeof cpus, &cpus));
    SHOW(getpriority(PRIO_PROCESS, 0) <= 20);
    SHOW(sched_get_priority_max(SCHED_FIFO));
    char random[16] = {0};
    SHOW(syscall(SYS_getrandom, random, sizeof random, 0));
    limits();
    time_and_timers();
    processes();
    static int cell;
    int *told = NULL;
    SHOW(syscall(SYS_set_tid_address, &cell) == gettid());
    SHOW(prctl(PR_GET_TID_ADDRESS, &told));
    SHOW(told == &cell);
    FAILS(syscall(38));
    FAILS(syscall(250));
    FAILS(syscall(5000));
    FAILS(syscall(SYS_pkey_alloc, 0, 0));
    return 0;
}
