// Traps: interrupts of timer, software and PLIC; faults that somebody waits for; system calls.
#include "kernel.h"

// stimecmp (Sstc), by number: older assemblers do not know its name.
#define STIMECMP "0x14d"

bool (*playground_fault)(u64 address, u64 cause);

static volatile u32 *plic_register(u64 offset) {
    return direct(machine.plic + offset);
}

// Registers of the PLIC (RISC-V PLIC specification 1.0, memory map).
static u64 plic_enable(u32 source) {
    return 0x2000 + machine.plic_context * 0x80 + source / 32 * 4;
}

static u64 plic_context(void) {
    return 0x200000 + machine.plic_context * 0x1000;
}

void interrupts_init(void) {
    if (machine.plic && machine.uart_irq) {
        u32 source = machine.uart_irq;
        *plic_register(source * 4) = 1;
        *plic_register(plic_enable(source)) = 1u << source % 32;
        *plic_register(plic_context()) = 0;
    }
    timer_at(~(u64)0);
    csr_write(scounteren, 7);
    csr_write(sie, 1 << IRQ_SOFT | 1 << IRQ_TIMER | 1 << IRQ_EXTERNAL);
    csr_set(sstatus, STATUS_SIE | STATUS_FS_INITIAL);
}

static void external_interrupt(void) {
    u32 source;
    while ((source = *plic_register(plic_context() + 4)) != 0) {
        if (source == machine.uart_irq)
            console_interrupt();
        self()->externals++;
        *plic_register(plic_context() + 4) = source;
    }
}

static void timer_set(u64 time) {
    self()->next = time;
    if (machine.sstc)
        __asm__ volatile("csrw " STIMECMP ", %0" : : "r"(time));
    else
        sbi(SBI_TIME, 0, time, 0, 0, 0);
}

// One interrupt, once `time` is reached.
void timer_at(u64 time) {
    self()->period = 0;
    timer_set(time);
}

// One every `period` ticks of the time base, 0 for no more.
void timer_every(u64 period) {
    self()->period = period;
    timer_set(period ? now() + period : ~(u64)0);
}

static void timer_interrupt(const struct frame *frame) {
    struct hart *hart = self();
    if (now() < hart->next) { // one that was set before has come late
        timer_set(hart->next);
        return;
    }
    hart->timers++;
    if (!(frame->status & STATUS_SPP))
        hart->user_timers++;
    timer_set(hart->period ? now() + hart->period : ~(u64)0);
}

// Returns with the timer's interrupt.
void sleep_until(u64 time) {
    u64 before = self()->timers;
    timer_at(time);
    wait_until(self()->timers != before);
}

static void interrupt(struct frame *frame) {
    switch (frame->cause & 0xff) {
    case IRQ_TIMER:
        timer_interrupt(frame);
        break;
    case IRQ_SOFT:
        csr_clear(sip, 1 << IRQ_SOFT);
        self()->ipis++;
        break;
    case IRQ_EXTERNAL:
        external_interrupt();
        break;
    default:
        panic("an interrupt of no known kind", frame);
    }
}

// Whether the fault is one that a probe of vector.S, or probe_call, was after.
static bool probed(struct frame *frame) {
    bool probe = frame->pc >= (u64)probe_start && frame->pc < (u64)probe_end;
    bool call = frame->cause == CAUSE_FETCH_PAGE && frame->pc == frame->x[10];
    if (!probe && !call)
        return false;
    frame->x[10] = frame->cause;
    frame->pc = frame->x[1];
    return true;
}

void trap(struct frame *frame) {
    bool user = !(frame->status & STATUS_SPP);
    if (frame->cause >> 63) {
        interrupt(frame);
    } else if (user && frame->cause == CAUSE_USER_CALL) {
        frame->pc += 4;
        frame->x[10] = system_call(frame);
    } else if (user) {
        if (!process_fault(frame))
            user_leave(frame->cause | (u64)1 << 63);
    } else if (playground_fault && playground_fault(frame->value, frame->cause)) {
        return;
    } else if (!probed(frame)) {
        panic("a fault in the kernel", frame);
    }
}
