// Bad pointers: unmapped, at the edge, above every guest's address space. Never a crash.
// flags: -static
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FAILS(...)                                                             \
    do {                                                                       \
        errno = 0;                                                             \
        long res_ = syscall(__VA_ARGS__);                                         \
        printf("%s: %ld %s\n", #__VA_ARGS__, res_, res_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

int main(void) {
    int p[2], ep = epoll_create1(0), sv[2];
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    char *edge = page + 4096;
    void *bad[] = {(void *)8, edge, (void *)0x00007ffffffff000, (void *)0x0000555555554000,
                   (void *)0x8000000000000000, (void *)-8};
    write(p[1], "0123456789", 10);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *b = bad[i];
        printf("-- %u\n", i);
        FAILS(SYS_write, p[1], b, 8);
        FAILS(SYS_read, p[0], b, 8);
        FAILS(SYS_openat, AT_FDCWD, b, O_RDONLY);
        FAILS(SYS_newfstatat, AT_FDCWD, ".", b, 0);
        FAILS(SYS_fstat, 0, b);
        FAILS(SYS_uname, b);
        FAILS(SYS_clock_gettime, 0, b);
        FAILS(SYS_clock_gettime, 2, b);
        FAILS(SYS_gettimeofday, b, NULL);
        FAILS(SYS_nanosleep, b, NULL);
        FAILS(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, p[0], b);
        FAILS(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", b, 64);
        FAILS(SYS_readlinkat, AT_FDCWD, b, page, 64);
        FAILS(SYS_sendmsg, sv[0], b, 0);
        FAILS(SYS_writev, p[1], b, 1);
        FAILS(SYS_pipe2, b, 0);
        FAILS(SYS_getrandom, b, 8, 0);
        FAILS(SYS_rt_sigprocmask, 0, NULL, b, 8);
        FAILS(SYS_ppoll, b, 1, NULL, NULL, 0);
        FAILS(SYS_prlimit64, 0, 9, NULL, b);
        FAILS(SYS_futex, b, 1, 1, NULL, NULL, 0);
        struct iovec iov = {b, 4};
        FAILS(SYS_writev, p[1], &iov, 1);
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
        FAILS(SYS_sendmsg, sv[0], &m, 0);
    }
    puts("-- edge");
    memset(page, 'a', 4096);
    FAILS(SYS_openat, AT_FDCWD, edge - 3, O_RDONLY);
    edge[-1] = 0;
    FAILS(SYS_openat, AT_FDCWD, edge - 3, O_RDONLY);
    FAILS(SYS_fstat, 0, edge - 127);
    FAILS(SYS_fstat, 0, edge - 128);
    FAILS(SYS_read, p[0], edge - 4, 4);
    FAILS(SYS_uname, edge - 389);
    FAILS(SYS_uname, edge - 390);
    return 0;
}
