// Several harts: started and stopped through the SBI, counting on shared memory, interrupting each
// other, and seeing one change its page tables.
#include "kernel.h"

struct hart harts[HARTS_MAX];

enum { ROUNDS = 10000, HART_STOPPED = 1 };
enum { PAGE_OLD = 0x0123456789abcdef, PAGE_NEW = 0x7654321001234567 };

static volatile u64 *const shared_page = (u64 *)(PLAYGROUND + 0x200000);

static volatile u64 by_amo, by_reservation, by_lock;
static u32 lock;
static volatile u32 arrived[4], wrong;

// All wait here until the last has come.
static void barrier(u32 number) {
    __atomic_fetch_add(&arrived[number], 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&arrived[number], __ATOMIC_ACQUIRE) % machine.hart_count)
        relax();
}

static void add_reserved(volatile u64 *to, u64 value) {
    u64 sum, failed;
    __asm__ volatile("1: lr.d    %0, (%2)\n"
                     "   add     %0, %0, %3\n"
                     "   sc.d    %1, %0, (%2)\n"
                     "   bnez    %1, 1b"
                     : "=&r"(sum), "=&r"(failed)
                     : "r"(to), "r"(value)
                     : "memory");
}

static void count(void) {
    for (u64 i = 1; i <= ROUNDS; i++) {
        __atomic_fetch_add(&by_amo, i, __ATOMIC_RELAXED);
        add_reserved(&by_reservation, i);
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            relax();
        by_lock += i; // plain memory: only the lock keeps it right
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    }
}

// Interrupts the next hart and waits for the one before.
static void pass_on(void) {
    struct hart *hart = self();
    u64 next = machine.hart_ids[(hart->index + 1) % machine.hart_count];
    u64 had = hart->softs;
    sbi(SBI_IPI, 0, 1, next, 0, 0);
    wait_until(hart->ipis > had);
    hart->softs = hart->ipis;
}

static void expect_page(u64 value) {
    if (*shared_page != value)
        __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
}

// What each hart does; the first changes the mapping while the others wait.
static void work(u64 new_page) {
    barrier(0);
    count();
    pass_on();
    expect_page(PAGE_OLD);
    barrier(1);
    if (new_page) {
        map((u64)shared_page, new_page, PAGE_SIZE, PTE_R | PTE_A);
        flush_page((u64)shared_page);
        // remote_sfence_vma on all harts, for this page.
        sbi(SBI_RFENCE, 1, 0, ~(u64)0, (u64)shared_page, PAGE_SIZE);
    }
    barrier(2);
    expect_page(PAGE_NEW);
    barrier(3);
}

void secondary_main(void) {
    memory_switch();
    csr_write(sie, 1 << IRQ_SOFT);
    csr_set(sstatus, STATUS_SIE);
    work(0);
    csr_clear(sstatus, STATUS_SIE);
    sbi(SBI_HSM, 1, 0, 0, 0, 0); // hart_stop
    panic("a hart does not stop", NULL);
}

static long hart_state(u64 id) {
    return sbi(SBI_HSM, 2, id, 0, 0, 0).value;
}

// Starts all but this one. The boot hart is at 0 in `harts`, whatever its id.
static bool start_others(void) {
    for (u32 i = 1; i < machine.hart_count; i++) {
        struct hart *hart = &harts[i];
        *hart = (struct hart){.index = i, .id = machine.hart_ids[i]};
        hart->stack = (u64)stacks + (u64)STACK_SIZE * (i + 1);
        u64 entry = physical(secondary_start);
        long error = sbi(SBI_HSM, 0, hart->id, entry, physical(hart), 0).error;
        if (error) {
            print("  hart %lu does not start: error -%lu\n", hart->id, (u64)-error);
            return false;
        }
    }
    return true;
}

static bool all_stopped(void) {
    u64 limit = now() + 5 * machine.timebase;
    for (u32 i = 1; i < machine.hart_count; i++)
        while (hart_state(machine.hart_ids[i]) != HART_STOPPED)
            if (now() > limit)
                return false;
    return true;
}

bool command_harts(void) {
    u64 n = machine.hart_count, sum = n * ROUNDS * (ROUNDS + 1) / 2;
    u64 old_page = page_new(), new_page = page_new();
    if (!check(old_page && new_page))
        return false;
    *(u64 *)direct(old_page) = PAGE_OLD;
    *(u64 *)direct(new_page) = PAGE_NEW;
    map((u64)shared_page, old_page, PAGE_SIZE, PTE_R | PTE_A);
    flush_page((u64)shared_page);
    by_amo = by_reservation = by_lock = 0;
    wrong = 0;
    memset((void *)arrived, 0, sizeof arrived);
    u64 start = now();
    if (!start_others())
        return false;
    work(new_page);
    u64 took = (now() - start) * 1000000 / machine.timebase;
    bool good = check(all_stopped());
    unmap((u64)shared_page);
    page_free(old_page);
    page_free(new_page);
    print("  %lu harts counted to %lu three ways in %lu us\n", n, sum, took);
    good &= check(by_amo == sum) & check(by_reservation == sum) & check(by_lock == sum);
    for (u32 i = 0; i < n; i++)
        good &= check(harts[i].ipis == harts[i].softs) & check(harts[i].ipis > 0);
    return good & check(wrong == 0);
}
