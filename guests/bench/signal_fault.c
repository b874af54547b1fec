// Faults caught and repaired: a page is protected, written, unprotected by the handler.
#include "bench.h"
#include <signal.h>
#include <sys/mman.h>

#define PAGE 4096
static char *page;
static volatile uint64_t faults;

static void handler(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    faults += (uint64_t)((char *)info->si_addr - page);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 1;
    for (long r = 0; r < rounds; r++) {
        mprotect(page, PAGE, PROT_READ);
        ((volatile char *)page)[r & (PAGE - 1)] = (char)r;
    }
    return report(mix(faults, (uint64_t)page[1]));
}
