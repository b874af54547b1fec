// Entry point, two system calls, printing. See runtime.h.
#include "runtime.h"

#include <stdarg.h>

#if defined(__riscv)
enum { SYS_WRITE = 64, SYS_EXIT_GROUP = 94 };

__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        ".option push\n"
        ".option norelax\n"
        "    lla gp, __global_pointer$\n"
        ".option pop\n"
        "    andi sp, sp, -16\n"
        "    li s0, 0\n"
        "    call start\n");

static long system_call(long number, long a, long b, long c) {
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}
#elif defined(__x86_64__)
enum { SYS_WRITE = 1, SYS_EXIT_GROUP = 231 };

__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    and $-16, %rsp\n"
        "    call start\n");

static long system_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}
#else
#error "no runtime for this machine"
#endif

static char buffer[1024];
static size_t used;

static void flush(void) {
    size_t done = 0;
    while (done < used) {
        long written = system_call(SYS_WRITE, 1, (long)(buffer + done), (long)(used - done));
        if (written <= 0)
            break;
        done += (size_t)written;
    }
    used = 0;
}

__attribute__((noreturn, used)) void start(void) {
    int status = run();
    flush();
    for (;;)
        system_call(SYS_EXIT_GROUP, status, 0, 0);
}

static void put(char c) {
    if (used == sizeof buffer)
        flush();
    buffer[used++] = c;
}

static void put_number(uint64_t value, unsigned base, int digits) {
    char text[20];
    int count = 0;
    do {
        text[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || count < digits);
    while (count)
        put(text[--count]);
}

void print(const char *format, ...) {
    va_list list;
    va_start(list, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *text = va_arg(list, const char *); *text; text++)
                put(*text);
            break;
        case 'c':
            put((char)va_arg(list, int));
            break;
        case 'u':
            put_number(va_arg(list, unsigned), 10, 1);
            break;
        case 'x':
            put_number(va_arg(list, unsigned), 16, 8);
            break;
        case 'l':
            format++; // only %lu
            put_number(va_arg(list, uint64_t), 10, 1);
            break;
        default:
            put(*format);
        }
    }
    va_end(list);
}

// The volatile accesses keep the compiler from turning these loops into calls of themselves.
void *memcpy(void *to, const void *from, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    if ((uintptr_t)to <= (uintptr_t)from)
        return memcpy(to, from, size);
    while (size--)
        ((volatile unsigned char *)to)[size] = ((const unsigned char *)from)[size];
    return to;
}

void *memset(void *to, int byte, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((volatile unsigned char *)to)[i] = (unsigned char)byte;
    return to;
}
