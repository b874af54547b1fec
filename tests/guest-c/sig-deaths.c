// Default actions: a parent sees by which signal each child died.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void segv(void) { *(volatile int *)16 = 1; }
static void ill(void) { __asm__ volatile(".4byte 0"); }
static void trap(void) { __asm__ volatile("ebreak"); }
static void jump(void) { ((void (*)(void))0x10)(); }
static void abrt(void) { abort(); }
static void killed(void) { kill(getpid(), SIGKILL); }
static void term(void) { raise(SIGTERM); }
static void pipe_(void) { int p[2]; if (pipe(p)) _exit(1); close(p[0]); if (write(p[1], "", 1)) {} }
static void alrm(void) { alarm(1); pause(); }
static void real(void) { raise(SIGRTMIN + 3); }
static void overflow(void) { volatile char big[65536]; big[0] = 1; overflow(); big[1] = big[0]; }
static void ignored(void) { signal(SIGSEGV, SIG_IGN); segv(); }
static void blocked(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigprocmask(SIG_BLOCK, &set, 0);
    segv();
}
static void normal(void) { _exit(42); }
static void chld(void) { raise(SIGCHLD); _exit(7); }

static const struct { const char *name; void (*die)(void); } deaths[] = {
    {"store to nothing", segv}, {"illegal instruction", ill}, {"breakpoint", trap},
    {"jump to nothing", jump}, {"abort", abrt}, {"SIGKILL", killed}, {"SIGTERM", term},
    {"SIGPIPE", pipe_}, {"SIGALRM", alrm}, {"real-time signal", real},
    {"stack overflow", overflow}, {"ignored fault", ignored}, {"blocked fault", blocked},
    {"exit", normal}, {"ignored by default", chld},
};

int main(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setbuf(stdout, 0);
    for (unsigned i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            deaths[i].die();
            _exit(99);
        }
        if (waitpid(child, &status, 0) != child)
            printf("%s: lost\n", deaths[i].name);
        else if (WIFSIGNALED(status))
            printf("%s: signal %d\n", deaths[i].name, WTERMSIG(status));
        else
            printf("%s: exit %d\n", deaths[i].name, WEXITSTATUS(status));
    }
    return 0;
}
