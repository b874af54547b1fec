// The signal frame: a handler sees the registers of the interrupted code and may change them.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <ucontext.h>

static void handler(int signal, siginfo_t *info, void *raw)
{
    (void)signal, (void)info;
    ucontext_t *context = raw;
    unsigned long *x = context->uc_mcontext.__gregs; /* pc, ra, sp, gp, tp, t0, ... */
    struct __riscv_mc_d_ext_state *fp = &context->uc_mcontext.__fpregs.__d;
    printf("t0 %lx s2 %lx a7 %lx t6 %lx\n", x[5], x[18], x[17], x[31]);
    printf("ft0 %llx fs11 %llx fcsr %x\n", fp->__f[0], fp->__f[27], fp->__fcsr);
    x[5] = 0x1111;
    x[18] = 0x2222;
    fp->__f[0] = 0x4008000000000000; /* 3.0 */
    fp->__fcsr = 0x61;               /* round up, inexact */
    x[0] += 4;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &action, 0);
    uint64_t t0, s2, fcsr, kept, s3;
    double f, g;
    __asm__ volatile("li t0, 0xabcd\n li s2, 0x1234\n li a7, 0x77\n li t6, 0x99\n li s3, 0x5555\n"
                     "li t1, 0x3ff8000000000000\n fmv.d.x ft0, t1\n fmv.d.x fs11, t1\n"
                     "li t1, 0x23\n csrw fcsr, t1\n"
                     ".4byte 0xffffffff\n"
                     "mv %0, t0\n mv %1, s2\n csrr %2, fcsr\n fmv.d %3, ft0\n fmv.d %4, fs11\n"
                     "mv %5, t6\n mv %6, s3\n csrw fcsr, zero\n"
                     : "=&r"(t0), "=&r"(s2), "=&r"(fcsr), "=&f"(f), "=&f"(g), "=&r"(kept), "=&r"(s3)
                     :
                     : "t0", "t1", "s2", "a7", "t6", "ft0", "fs11", "s3", "memory");
    printf("t0 %lx s2 %lx fcsr %lx ft0 %g fs11 %g t6 %lx s3 %lx\n", t0, s2, fcsr, f, g, kept, s3);
    return 0;
}
