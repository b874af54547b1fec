// Processes: fork, vfork, posix_spawn and exec with their errors, as Linux reports them.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static volatile int shared;

static int status_of(pid_t pid)
{
    int status = 0;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void child_of_spawn(int argc, char **argv)
{
    sigset_t mask;
    struct sigaction action;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigaction(SIGPIPE, NULL, &action);
    printf("child: %d arguments, %s, USR1 %s, PIPE %s\n", argc - 1,
           strncmp(argv[2], "/tmp/", 5) ? argv[2] : "a script",
           sigismember(&mask, SIGUSR1) ? "blocked" : "open",
           action.sa_handler == SIG_IGN ? "ignored" : "default");
    exit(17);
}

static void exec_errors(const char *self)
{
    char dir[] = "/tmp/lu_processXXXXXX", path[64];
    char *argv[] = {"x", NULL};
    if (!mkdtemp(dir))
        return;
    execv(dir, argv);
    printf("directory: %s\n", strerrorname_np(errno));
    execv("/no/such/program", argv);
    printf("missing: %s\n", strerrorname_np(errno));
    snprintf(path, sizeof path, "%s/text", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    if (write(fd, "plain text\n", 11) != 11)
        return;
    execv(path, argv);
    printf("not executable: %s\n", strerrorname_np(errno));
    fchmod(fd, 0755);
    close(fd);
    execv(path, argv);
    printf("no program: %s\n", strerrorname_np(errno));
    fd = open(path, O_WRONLY | O_TRUNC);
    if (write(fd, "#!/no/interpreter\n", 18) != 18)
        return;
    close(fd);
    execv(path, argv);
    printf("no interpreter: %s\n", strerrorname_np(errno));
    char line[4200];
    snprintf(line, sizeof line, "#! %s  spawned\n", self);
    fd = open(path, O_WRONLY | O_TRUNC);
    if (write(fd, line, strlen(line)) < 0)
        return;
    close(fd);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execv(path, argv);
        _exit(1);
    }
    printf("script: %d\n", status_of(pid));
    execv("", argv);
    printf("empty: %s\n", strerrorname_np(errno));
    unlink(path);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "spawned") == 0)
        child_of_spawn(argc, argv);
    char *self = realpath(argv[0], NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);

    pid_t pid = fork();
    if (pid == 0) {
        shared = 5;
        _exit(3);
    }
    int status = status_of(pid);
    printf("fork: status %d, memory %s\n", status, shared == 0 ? "apart" : "shared");
    pid = vfork();
    if (pid == 0) {
        shared = 7;
        _exit(4);
    }
    status = status_of(pid);
    printf("vfork: status %d, memory %s\n", status, shared == 7 ? "shared" : "apart");

    signal(SIGPIPE, SIG_IGN);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    char *args[] = {argv[0], "spawned", "inherits", NULL};
    if (posix_spawn(&pid, self, NULL, NULL, args, environ) == 0)
        printf("spawn: status %d\n", status_of(pid));
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigdefault(&attributes, &(sigset_t){.__val = {-1ul}});
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    args[2] = "resets";
    if (posix_spawn(&pid, self, NULL, &attributes, args, environ) == 0)
        printf("spawn: status %d\n", status_of(pid));
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    printf("parent's PIPE: %s\n", action.sa_handler == SIG_IGN ? "ignored" : "changed");
    printf("spawn of nothing: %s\n",
           strerrorname_np(posix_spawn(&pid, "/no/such", NULL, NULL, args, environ)));
    exec_errors(self);
    pid = fork();
    if (pid == 0)
        raise(SIGKILL);
    printf("killed: %d\n", status_of(pid));
    pid = fork();
    if (pid == 0)
        abort();
    printf("aborted: %d\n", status_of(pid));
    printf("system: %d\n", WEXITSTATUS(system("exit 9")));
    return 0;
}
