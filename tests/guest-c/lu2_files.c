// Files, descriptors and their status.
// flags: -static
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SHOW(expr) printf("%s: %ld\n", #expr, (long)(expr))
#define FAILS(expr)                                                            \
    do {                                                                       \
        errno = 0;                                                             \
        long res_ = (long)(expr);                                                 \
        printf("%s: %ld %s\n", #expr, res_, res_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

int main(void) {
    char dir[] = "/tmp/lu2_filesXXXXXX", buf[64] = {0};
    if (!mkdtemp(dir) || chdir(dir)) return 1;
    umask(022);
    int fd = open("a", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    SHOW(write(fd, "hello, world\n", 13));
    SHOW(pread(fd, buf, 5, 7));
    printf("%s\n", buf);
    SHOW(lseek(fd, 0, SEEK_END));
    struct stat st, st2;
    SHOW(fstat(fd, &st));
    SHOW(stat("a", &st2));
    SHOW(memcmp(&st, &st2, sizeof st));
    printf("mode %o nlink %ld size %ld blksize>0 %d regular %d uid %d\n", st.st_mode,
           (long)st.st_nlink, (long)st.st_size, st.st_blksize > 0, S_ISREG(st.st_mode),
           st.st_uid == getuid());
    struct statx sx;
    SHOW(statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx));
    SHOW(sx.stx_size == (unsigned long)st.st_size && sx.stx_ino == st.st_ino);
    SHOW(sx.stx_mtime.tv_sec == st.st_mtim.tv_sec && sx.stx_mtime.tv_nsec == st.st_mtim.tv_nsec);
    SHOW(link("a", "b"));
    SHOW((fstat(fd, &st), (long)st.st_nlink));
    SHOW(symlink("a", "l"));
    SHOW(readlink("l", buf, sizeof buf));
    SHOW((lstat("l", &st), S_ISLNK(st.st_mode)));
    SHOW(rename("b", "c"));
    FAILS(open("b", O_RDONLY));
    FAILS(open("a", O_RDONLY | O_DIRECTORY));
    FAILS(open("l", O_RDONLY | O_NOFOLLOW));
    FAILS(mkdir("a", 0700));
    FAILS(rmdir("nothing"));
    SHOW(mkdir("d", 0755));
    SHOW(faccessat(AT_FDCWD, "d", X_OK, 0));
    struct timespec times[2] = {{1000, 5}, {2000, 7}};
    SHOW(utimensat(AT_FDCWD, "a", times, 0));
    SHOW((stat("a", &st), st.st_atim.tv_sec * 10 + st.st_mtim.tv_nsec));
    SHOW(truncate("a", 5));
    SHOW((stat("a", &st), (long)st.st_size));
    SHOW(fallocate(fd, 0, 0, 4096));
    SHOW((fstat(fd, &st), (long)st.st_size));
    struct statfs sf;
    SHOW(statfs(".", &sf));
    SHOW(sf.f_bsize > 0 && sf.f_namelen >= 255);

    int count = 0;
    DIR *d = opendir(".");
    for (struct dirent *e; (e = readdir(d));) count++;
    closedir(d);
    SHOW(count);

    SHOW(fcntl(fd, F_GETFD));
    SHOW((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    SHOW(high);
    SHOW(dup3(fd, 101, O_CLOEXEC));
    FAILS(dup3(fd, fd, 0));
    SHOW(close_range(100, 101, 0));
    FAILS(close(100));
    FAILS(fcntl(999999, F_GETFD));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    SHOW(fcntl(fd, F_SETLK, &lock));
    lock.l_type = F_WRLCK;
    SHOW((fcntl(fd, F_GETLK, &lock), lock.l_type == F_UNLCK));

    struct iovec iov[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    SHOW(pwritev(fd, iov, 3, 100));
    char x[3], y[3];
    struct iovec in[2] = {{x, 2}, {y, 3}};
    SHOW(preadv(fd, in, 2, 100));
    SHOW(memcmp(x, "ab", 2) || memcmp(y, "cde", 3));
    FAILS(syscall(SYS_readv, fd, in, -1));
    FAILS(syscall(SYS_readv, fd, in, 1025));
    struct iovec many[40];
    for (int i = 0; i < 40; i++) many[i] = (struct iovec){"x", 1};
    SHOW(pwritev(fd, many, 40, 200));

    int p[2], out = open("copy", O_RDWR | O_CREAT, 0600);
    SHOW(sendfile(out, fd, &(off_t){0}, 240));
    SHOW(copy_file_range(fd, &(off_t){0}, out, &(off_t){240}, 240, 0));
    SHOW(pipe2(p, O_NONBLOCK));
    FAILS(read(p[0], buf, 1));
    SHOW(splice(out, &(off_t){100}, p[1], NULL, 5, 0));
    int ready = 0;
    SHOW(ioctl(p[0], FIONREAD, &ready));
    SHOW(ready);
    FAILS(ioctl(p[0], TCGETS, buf));
    FAILS(lseek(p[0], 0, SEEK_SET));

    int m = memfd_create("m", MFD_ALLOW_SEALING);
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_GROW));
    FAILS(ftruncate(m, 10));
    SHOW(getcwd(buf, sizeof buf) != NULL && !strcmp(buf, dir));
    FAILS(syscall(SYS_getcwd, buf, 3));

    unlink("a"), unlink("c"), unlink("l"), unlink("copy"), rmdir("d");
    SHOW(chdir("/"));
    SHOW(rmdir(dir));
    return 0;
}
