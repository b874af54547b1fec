// The memory map: hints, fixed places, growing, shrinking, moving, protection, the break.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#define PAGE 4096ul
static sigjmp_buf back;
static volatile int why;

static void on_fault(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    why = info->si_code;
    siglongjmp(back, 1);
}

static const char *access_to(volatile char *p)
{
    if (sigsetjmp(back, 1))
        return why == SEGV_MAPERR ? "unmapped" : "denied";
    *p = *p;
    return "fine";
}

static char *map(void *at, size_t len, int flags)
{
    return mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static const char *result(const void *p)
{
    return p == MAP_FAILED ? strerrorname_np(errno) : "mapped";
}

static void places(void)
{
    char *a = map(NULL, 16 * PAGE, 0);
    printf("below the ceiling: %d\n", (uintptr_t)a < 1ul << 38);
    munmap(a, 16 * PAGE);
    printf("hint taken: %d\n", map(a, PAGE, 0) == a);
    printf("hint in use: %d\n", map(a, PAGE, 0) != a);
    printf("no replacing: %s\n", result(map(a, PAGE, MAP_FIXED_NOREPLACE)));
    a[0] = 'x';
    printf("replacing: %d\n", map(a, PAGE, MAP_FIXED) == a && a[0] == 0);
    printf("crooked: %s\n", result(map(a + 1, PAGE, MAP_FIXED)));
    printf("too high: %s\n", result(map((void *)(1ul << 62), PAGE, MAP_FIXED)));
    printf("over the edge: %s\n", result(map((void *)((1ul << 38) - PAGE), 2 * PAGE, MAP_FIXED)));
    printf("nothing: %s\n", result(map(NULL, 0, 0)));
    printf("too much: %s\n", result(map(NULL, 1ul << 60, MAP_NORESERVE)));
    printf("unmap high: %s\n", munmap((void *)(1ul << 40), PAGE) ? strerrorname_np(errno) : "0");
    printf("unmap hole: %d\n", munmap(a + PAGE * 8, PAGE));
    munmap(a, PAGE);
    printf("after unmap: %s\n", access_to(a));
}

static void protection(void)
{
    char *a = map(NULL, 4 * PAGE, 0);
    printf("read only: %d %s\n", mprotect(a + PAGE, PAGE, PROT_READ), access_to(a + PAGE));
    printf("neighbours: %s %s\n", access_to(a), access_to(a + 2 * PAGE));
    printf("none: %d %s\n", mprotect(a, 4 * PAGE, PROT_NONE), access_to(a));
    munmap(a + 2 * PAGE, PAGE);
    printf("across a hole: %d %s\n", mprotect(a, 4 * PAGE, PROT_READ), strerrorname_np(errno));
    munmap(a, 4 * PAGE);
}

static void moving(void)
{
    char *a = map(NULL, 8 * PAGE, 0);
    strcpy(a, "kept");
    printf("shrink: %d", mremap(a, 8 * PAGE, 4 * PAGE, 0) == a);
    printf(" %s\n", access_to(a + 5 * PAGE));
    printf("grow in place: %d\n", mremap(a, 4 * PAGE, 8 * PAGE, 0) == a);
    map(a + 8 * PAGE, PAGE, MAP_FIXED);
    printf("no room: %s\n", result(mremap(a, 8 * PAGE, 16 * PAGE, 0)));
    char *b = mremap(a, 8 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    printf("moved: %d %s %s\n", b != a, b, access_to(a));
    char *c = map(NULL, 32 * PAGE, 0);
    char *d = mremap(b, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c);
    printf("moved there: %d %s %s\n", d == c, d, access_to(b));
    printf("of nothing: %s\n", result(mremap(b, PAGE, 2 * PAGE, MREMAP_MAYMOVE)));
    munmap(a + 8 * PAGE, PAGE);
    munmap(c, 32 * PAGE);
}

static void program_break(void)
{
    char *start = sbrk(0);
    printf("break: %d", brk(start + 100 * PAGE));
    memset(start, 1, 100 * PAGE);
    printf(" %d", brk(start));
    char *aligned = (char *)(((uintptr_t)start + PAGE - 1) & -PAGE);
    printf(" %s", access_to(aligned + PAGE));
    brk(start + 10 * PAGE);
    printf(" zero again %d\n", aligned[PAGE] == 0);
    brk(start);
}

static void segments(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
    char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    shmctl(id, IPC_RMID, NULL);
    strcpy(a, "shared");
    printf("segment: %s %d", b, (uintptr_t)a < 1ul << 38);
    printf(" %s %d %d %s\n", access_to(b), shmdt(b), shmdt(a), access_to(a));
    printf("detach nothing: %d %s\n", shmdt(a), strerrorname_np(errno));
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    places();
    protection();
    moving();
    program_break();
    segments();
    return 0;
}
