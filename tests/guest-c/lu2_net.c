// Sockets: addresses, message headers, descriptors in messages, many messages at once.
// flags: -static
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(expr) printf("%s: %ld\n", #expr, (long)(expr))
#define FAILS(expr)                                                            \
    do {                                                                       \
        errno = 0;                                                             \
        long res_ = (long)(expr);                                                 \
        printf("%s: %ld %s\n", #expr, res_, res_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

static void tcp(void) {
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, b;
    socklen_t len = sizeof a;
    SHOW(bind(s, (void *)&a, sizeof a));
    SHOW(listen(s, 5));
    SHOW(getsockname(s, (void *)&a, &len));
    SHOW(len);
    int c = socket(AF_INET, SOCK_STREAM, 0), one = 1, got = 0;
    SHOW(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    len = sizeof got;
    SHOW(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &got, &len));
    SHOW(got != 0 && len == 4);
    SHOW(connect(c, (void *)&a, sizeof a));
    len = sizeof b;
    int t = accept4(s, (void *)&b, &len, SOCK_NONBLOCK);
    SHOW(b.sin_family == AF_INET && b.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    char buf[16] = {0};
    FAILS(recv(t, buf, sizeof buf, 0));
    SHOW(send(c, "ping", 4, MSG_NOSIGNAL));
    SHOW(recv(t, buf, sizeof buf, MSG_PEEK));
    SHOW(recvfrom(t, buf, sizeof buf, 0, NULL, NULL));
    SHOW(strcmp(buf, "ping"));
    SHOW(shutdown(c, SHUT_WR));
    SHOW(recv(t, buf, sizeof buf, 0));
    FAILS(getpeername(s, (void *)&b, &len));
    close(t), close(c), close(s);
    c = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(connect(c, (void *)&a, sizeof a));
    FAILS(connect(c, (void *)&a, 3));
    close(c);
}

static void descriptors(void) {
    int sv[2], p[2];
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
    SHOW(pipe(p));
    char data = 'd', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {&data, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                          .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(c), &p[1], sizeof(int));
    SHOW(sendmsg(sv[0], &m, 0));
    memset(control, 0, sizeof control);
    data = 0;
    m.msg_controllen = sizeof control;
    m.msg_flags = 0x7777;
    SHOW(recvmsg(sv[1], &m, MSG_CMSG_CLOEXEC));
    printf("data %c control %zu flags %#x namelen %u\n", data, m.msg_controllen,
           m.msg_flags & ~MSG_CMSG_CLOEXEC, m.msg_namelen);
    int fd = -1;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    char in = 0;
    SHOW(write(fd, "z", 1));
    SHOW(read(p[0], &in, 1));
    SHOW(in == 'z');
    m.msg_iovlen = 1025;
    FAILS(sendmsg(sv[0], &m, 0));
    FAILS(sendmsg(sv[0], (void *)16, 0));
}

static void batches(void) {
    int r = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, from[3];
    socklen_t len = sizeof a;
    bind(r, (void *)&a, sizeof a);
    getsockname(r, (void *)&a, &len);
    struct mmsghdr m[3] = {0};
    char text[3][8] = {"one", "three", "fifteen"}, in[3][8] = {{0}};
    struct iovec iov[3];
    for (int i = 0; i < 3; i++) {
        iov[i] = (struct iovec){text[i], strlen(text[i])};
        m[i].msg_hdr = (struct msghdr){.msg_name = &a, .msg_namelen = sizeof a,
                                       .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    SHOW(sendmmsg(s, m, 3, 0));
    printf("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
    for (int i = 0; i < 3; i++) {
        iov[i] = (struct iovec){in[i], 5};
        m[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i],
                                       .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    struct timespec second = {1, 0};
    SHOW(recvmmsg(r, m, 3, MSG_WAITFORONE, &second));
    printf("%u %u %u %s %.5s %.5s trunc %d\n", m[0].msg_len, m[1].msg_len, m[2].msg_len, in[0],
           in[1], in[2], m[2].msg_hdr.msg_flags == MSG_TRUNC);
    SHOW(from[1].sin_addr.s_addr == htonl(INADDR_LOOPBACK) && m[1].msg_hdr.msg_namelen == 16);
}

int main(void) {
    tcp();
    descriptors();
    batches();
    FAILS(socket(AF_INET, 77, 0));
    FAILS(socket(250, SOCK_STREAM, 0));
    return 0;
}
