// Waiting: epoll (whose event is laid out otherwise on the host), poll and select with masks.
// flags: -static
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SHOW(expr) printf("%s: %ld\n", #expr, (long)(expr))
#define FAILS(expr)                                                            \
    do {                                                                       \
        errno = 0;                                                             \
        long res_ = (long)(expr);                                                 \
        printf("%s: %ld %s\n", #expr, res_, res_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

static volatile sig_atomic_t alarms;
static void on_alarm(int sig) { alarms += sig == SIGALRM; }

int main(void) {
    int ep = epoll_create1(EPOLL_CLOEXEC), ev[8];
    for (int i = 0; i < 8; i++) {
        ev[i] = eventfd(i & 1, EFD_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1122334455667700 + i};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, ev[i], &e)) return 1;
    }
    struct epoll_event got[16];
    memset(got, 0xee, sizeof got);
    int n = epoll_wait(ep, got, 16, 0);
    SHOW(n);
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) sum += got[i].data.u64;
    printf("sum %#llx events %x next %x\n", (unsigned long long)sum, got[n - 1].events,
           got[n].events);
    SHOW(epoll_wait(ep, got, 2, 0));
    struct epoll_event e = {.events = EPOLLOUT, .data.u32 = 5};
    SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, ev[0], &e));
    for (int i = 1; i < 8; i++) epoll_ctl(ep, EPOLL_CTL_DEL, ev[i], NULL);
    SHOW(epoll_wait(ep, got, 16, -1));
    SHOW(got[0].events == EPOLLOUT && got[0].data.u32 == 5);
    FAILS(epoll_wait(ep, got, 0, 0));
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, ev[1], (void *)8));
    SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, ev[0], &e));
    SHOW(epoll_wait(ep, got, 16, 10));

    // A blocked signal that only the wait's own mask lets through.
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    sigset_t alarm_only, none;
    sigemptyset(&none);
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm_only, NULL);
    raise(SIGALRM);
    SHOW(alarms);
    FAILS(epoll_pwait(ep, got, 16, -1, &none));
    SHOW(alarms);
    raise(SIGALRM);
    FAILS(ppoll(NULL, 0, NULL, &none));
    SHOW(alarms);
    raise(SIGALRM);
    FAILS(pselect(0, NULL, NULL, NULL, NULL, &none));
    SHOW(alarms);
    raise(SIGALRM);
    FAILS(sigsuspend(&none));
    SHOW(alarms);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    SHOW(sigismember(&now, SIGALRM));
    struct itimerval soon = {.it_value = {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    struct timespec two = {2, 0};
    FAILS(ppoll(NULL, 0, &two, &none));
    SHOW(alarms);

    // signalfd takes what stays blocked.
    int sf = signalfd(-1, &alarm_only, SFD_NONBLOCK);
    raise(SIGALRM);
    struct signalfd_siginfo info;
    SHOW(read(sf, &info, sizeof info));
    SHOW(info.ssi_signo == SIGALRM && info.ssi_pid == (uint32_t)getpid());
    FAILS(read(sf, &info, sizeof info));

    struct pollfd pf[2] = {{ev[1], POLLIN, 0}, {ev[0], POLLIN | POLLOUT, 0}};
    SHOW(poll(pf, 2, 0));
    SHOW(pf[0].revents == POLLIN && pf[1].revents == POLLOUT);
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(ev[0], &r);
    FD_SET(ev[1], &r);
    FD_SET(ev[2], &w);
    struct timeval tv = {1, 0};
    SHOW(select(ev[7] + 1, &r, &w, NULL, &tv));
    SHOW(!FD_ISSET(ev[0], &r) && FD_ISSET(ev[1], &r) && FD_ISSET(ev[2], &w));

    int tf = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec spec = {{0, 0}, {0, 5000000}}, left;
    SHOW(timerfd_settime(tf, 0, &spec, NULL));
    SHOW((timerfd_gettime(tf, &left), left.it_value.tv_nsec <= 5000000));
    uint64_t ticks = 0;
    SHOW(read(tf, &ticks, 8));
    SHOW(ticks);
    return 0;
}
