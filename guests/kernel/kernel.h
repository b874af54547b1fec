// Everything that the kernel's files want of each other.
#ifndef KERNEL_H
#define KERNEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;

// Control and status registers, by the assembler's name or by number.
#define csr_read(name)                                                                             \
    ({                                                                                             \
        u64 value_;                                                                                \
        __asm__ volatile("csrr %0, " #name : "=r"(value_) : : "memory");                           \
        value_;                                                                                    \
    })
#define csr_write(name, value)                                                                     \
    __asm__ volatile("csrw " #name ", %0" : : "rK"((u64)(value)) : "memory")
#define csr_set(name, bits)                                                                        \
    __asm__ volatile("csrs " #name ", %0" : : "rK"((u64)(bits)) : "memory")
#define csr_clear(name, bits)                                                                      \
    __asm__ volatile("csrc " #name ", %0" : : "rK"((u64)(bits)) : "memory")

// Bits of sie and sip, causes of interrupts.
enum { IRQ_SOFT = 1, IRQ_TIMER = 5, IRQ_EXTERNAL = 9 };
// Exceptions (privileged manual, table of scause).
enum {
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_USER_CALL = 8,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
};

// What a trap has saved; layout.h knows the order.
struct frame {
    u64 x[32];
    u64 pc, status, cause, value;
};

// A hart's own things; tp points here in the kernel.
struct hart {
    u64 stack, trap_sp, exit_sp, id; // as layout.h has them
    u64 index;
    u64 period; // ticks between timer interrupts, 0: one shot
    u64 next;   // when the timer will interrupt
    volatile u64 timers, user_timers, ipis, externals, softs;
};

extern struct hart harts[HARTS_MAX];
static inline struct hart *self(void) {
    struct hart *hart;
    __asm__("mv %0, tp" : "=r"(hart));
    return hart;
}

// head.S, vector.S, kernel.ld
extern char image_start[], image_end[], user_start[], user_end[], data_start[], stacks[];
extern char secondary_start[], probe_start[], probe_end[];
u64 probe_load(const void *);
u64 probe_store(void *);
u64 probe_illegal(void);
u64 probe_break(void);
u64 probe_float(void);
u64 probe_call(const void *);
u64 user_run(u64 pc, u64 sp, u64 argument);
_Noreturn void user_leave(u64 result);

// console.c: printing knows %s %c, and %lu %lx with a width.
void console_init(void);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void console_interrupt(void);
int console_get(void);
bool uart_loopback(void);
const char *console_name(void);
bool same(const char *, const char *);
_Noreturn void panic(const char *why, const struct frame *frame);

// sbi.c
struct sbi_result {
    long error, value;
};
enum {
    SBI_BASE = 0x10,
    SBI_TIME = 0x54494d45,
    SBI_IPI = 0x735049,
    SBI_RFENCE = 0x52464e43,
    SBI_HSM = 0x48534d,
    SBI_SRST = 0x53525354,
    SBI_DBCN = 0x4442434e,
};
struct sbi_result sbi(u64 extension, u64 function, u64 a, u64 b, u64 c, u64 d);
bool sbi_has(u64 extension);
_Noreturn void power_off(void);
_Noreturn void reboot(void);
_Noreturn void power_fail(u32 code);

// fdt.c: what the device tree told.
struct machine {
    u64 memory, memory_size;
    u64 timebase;
    u64 uart, plic, finisher;
    u32 uart_irq, plic_context;
    u64 initrd, tree, tree_size;
    u64 hart_ids[HARTS_MAX];
    u32 hart_count;
    bool sstc;
    char isa[192], arguments[256], model[64];
};
extern struct machine machine;
bool fdt_parse(u64 physical, u64 boot_hart);

// memory.c
enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
struct mapping {
    u64 pages[3]; // leaves of 4 KiB, 2 MiB, 1 GiB
    u64 open;     // leaves that are writable and executable
};
static inline void *direct(u64 physical) {
    return (void *)(physical + DIRECT_OFFSET);
}
u64 physical(const void *);
void memory_init(void);
void memory_switch(void);
u64 page_new(void);
void page_free(u64 physical);
void *pages_new(u64 count);
u64 pages_left(void);
u64 *page_entry(u64 address);
void map(u64 address, u64 physical, u64 size, u64 flags);
void unmap(u64 address);
static inline void flush_page(u64 address) {
    __asm__ volatile("sfence.vma %0" : : "r"(address) : "memory");
}
struct mapping mapping_show(bool show);
void *memcpy(void *, const void *, size_t);
void *memset(void *, int, size_t);

// trap.c
static inline u64 now(void) {
    u64 time;
    __asm__ volatile("rdtime %0" : "=r"(time));
    return time;
}
void interrupts_init(void);
void timer_at(u64 time);
void timer_every(u64 period);
void sleep_until(u64 time);
// A hint that we spin (Zihintpause); a fence of nothing where it is not known.
static inline void relax(void) {
    __asm__ volatile(".word 0x0100000f" : : : "memory");
}
// Waits for an interrupt unless `ready` already holds: nothing is lost between test and sleep.
#define wait_until(ready)                                                                          \
    do {                                                                                           \
        csr_clear(sstatus, STATUS_SIE);                                                            \
        bool ready_ = (ready);                                                                     \
        if (!ready_)                                                                               \
            __asm__ volatile("wfi" : : : "memory");                                                \
        csr_set(sstatus, STATUS_SIE);                                                              \
        if (ready_)                                                                                \
            break;                                                                                 \
    } while (true)

// Serves a page fault in the playground, if it is one.
extern bool (*playground_fault)(u64 address, u64 cause);

// process.c
u64 system_call(struct frame *);
bool process_fault(struct frame *);
bool command_user(void);

// harts.c, commands.c, compute.c
void secondary_main(void);
bool command_harts(void);
bool command_page(void);
bool command_code(void);
bool command_spaces(void);
bool command_prime(void);
bool command_mandel(void);
bool run_command(const char *line);
_Noreturn void tour(void);
_Noreturn void shell(void);

// Says what failed, and is false.
#define check(condition) ((condition) || (print("  failed: %s\n", #condition), false))
#endif
