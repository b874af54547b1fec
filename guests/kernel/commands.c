// The command line, its commands, and the tour through all of them.
#include "kernel.h"

static bool command_help(void);

static u64 microseconds(u64 ticks) {
    return ticks * 1000000 / machine.timebase;
}

static bool command_info(void) {
    u64 version = (u64)sbi(SBI_BASE, 0, 0, 0, 0, 0).value;
    u64 firmware = (u64)sbi(SBI_BASE, 1, 0, 0, 0, 0).value;
    print("  machine    %s\n", machine.model);
    print("  harts      %lu, this is %lu\n", (u64)machine.hart_count, self()->id);
    print("  isa        %s\n", machine.isa);
    print("  memory     %lu MiB at %lx\n", machine.memory_size >> 20, machine.memory);
    print("  time base  %lu Hz\n", machine.timebase);
    print("  timer      %s\n", machine.sstc ? "Sstc" : "SBI");
    print("  console    %s, UART at %lx, interrupt %lu\n", console_name(), machine.uart,
          (u64)machine.uart_irq);
    print("  SBI        %lu.%lu, implementation %lu\n", version >> 24, version & 0xffffff,
          firmware);
    print("  arguments  %s\n", machine.arguments);
    return check(machine.hart_count > 0) & check(sbi_has(SBI_TIME)) & check(sbi_has(SBI_HSM)) &
           check(sbi_has(SBI_IPI)) & check(sbi_has(SBI_RFENCE)) & check(sbi_has(SBI_SRST));
}

// One-shot and periodic timer. How long a sleep is at most is the host's business.
static bool command_time(void) {
    u64 period = machine.timebase / 1000, start = now();
    u64 before = self()->timers;
    sleep_until(start + 5 * period);
    u64 slept = now() - start;
    bool good = check(slept >= 5 * period) & check(self()->timers > before);
    before = self()->timers;
    start = now();
    timer_every(period);
    wait_until(self()->timers - before >= 10);
    timer_every(0);
    u64 took = now() - start;
    print("  slept %lu us of 5000; 10 interrupts of 1 ms each in %lu us; up for %lu us\n",
          microseconds(slept), microseconds(took), microseconds(now()));
    return good & check(took >= 10 * period);
}

// Writes each word's own address into `count` pages, and looks whether it is there.
static u64 test_pages(u64 *pages, u64 count) {
    u64 errors = 0;
    for (u64 i = 0; i < count; i++)
        for (u64 *word = direct(pages[i]), *end = word + PAGE_SIZE / 8; word < end; word++)
            *word = (u64)word;
    for (u64 i = 0; i < count; i++)
        for (u64 *word = direct(pages[i]), *end = word + PAGE_SIZE / 8; word < end; word++)
            errors += *word != (u64)word;
    return errors;
}

// Shows what is mapped and tests free memory: up to 8 MiB, and the last page that is free.
static bool command_mem(void) {
    enum { MOST = 2048 };
    static u64 pages[MOST];
    struct mapping mapped = mapping_show(true);
    u64 left = pages_left(), count = 0;
    while (count < MOST && count < left && (pages[count] = page_new()) != 0)
        count++;
    u64 errors = test_pages(pages, count);
    while (count)
        page_free(pages[--count]);
    print("  %lu pages free, %lu errors; mapped: %lu of 4 KiB, %lu of 2 MiB, %lu of 1 GiB\n", left,
          errors, mapped.pages[0], mapped.pages[1], mapped.pages[2]);
    return check(errors == 0) & check(left == pages_left()) & check(mapped.open == 0) &
           check(mapped.pages[0] > 0) & check(mapped.pages[1] > 0) & check(mapped.pages[2] > 0);
}

static bool fault(u64 got, u64 expected, const char *name) {
    print("  %-40s cause %lu\n", name, got);
    return check(got == expected);
}

// What is neither memory nor a device: on machines like `virt` there is a hole here.
static bool traps_physical(void) {
    enum { HOLE = 0x200000 };
    bool good = fault(probe_load(direct(HOLE)), CAUSE_LOAD_ACCESS, "load from no device");
    return good & fault(probe_store(direct(HOLE)), CAUSE_STORE_ACCESS, "store to no device");
}

static bool traps_instructions(void) {
    enum { STATUS_FS = 0x6000 };
    bool good = fault(probe_illegal(), CAUSE_ILLEGAL, "a machine-mode register");
    good &= fault(probe_break(), CAUSE_BREAKPOINT, "ebreak");
    csr_clear(sstatus, STATUS_FS);
    good &= fault(probe_float(), CAUSE_ILLEGAL, "floating point that is off");
    csr_set(sstatus, STATUS_FS_INITIAL);
    return good & fault(probe_float(), 0, "floating point that is on");
}

// Each access that is not allowed has its fault, and each that is has none.
static bool command_traps(void) {
    enum { STATUS_MXR = 1 << 19 };
    char *user = (char *)USER_CODE, *unmapped = (char *)PLAYGROUND;
    u64 page = page_new();
    if (!check(page))
        return false;
    map(USER_CODE, page, PAGE_SIZE, PTE_R | PTE_W | PTE_X | PTE_U | PTE_A | PTE_D);
    flush_page(USER_CODE);
    bool good = fault(probe_store(image_start), CAUSE_STORE_PAGE, "store into the kernel's code");
    good &= fault(probe_store(direct(IMAGE_PHYSICAL)), CAUSE_STORE_PAGE, "the same by its alias");
    good &= fault(probe_store((void *)"text"), CAUSE_STORE_PAGE, "store into a constant");
    good &= fault(probe_call(data_start), CAUSE_FETCH_PAGE, "call of data");
    good &= fault(probe_load(unmapped), CAUSE_LOAD_PAGE, "load where nothing is");
    good &= fault(probe_load(user), CAUSE_LOAD_PAGE, "load from a user's page");
    good &= fault(probe_call(user), CAUSE_FETCH_PAGE, "call of a user's page");
    csr_set(sstatus, STATUS_SUM);
    good &= fault(probe_load(user), 0, "load from a user's page with SUM");
    csr_clear(sstatus, STATUS_SUM);
    *page_entry(USER_CODE) = page >> 12 << 10 | PTE_X | PTE_A | PTE_V;
    flush_page(USER_CODE);
    good &= fault(probe_load(user), CAUSE_LOAD_PAGE, "load from a page only for execution");
    csr_set(sstatus, STATUS_MXR);
    good &= fault(probe_load(user), 0, "the same with MXR");
    csr_clear(sstatus, STATUS_MXR);
    unmap(USER_CODE);
    page_free(page);
    return good & traps_physical() & traps_instructions();
}

static bool command_irq(void) {
    if (!check(machine.uart && machine.plic))
        return false;
    u64 before = self()->externals;
    bool good = uart_loopback();
    print("  the UART's loop-back gave %lu interrupts through the PLIC\n",
          self()->externals - before);
    return good;
}

static bool command_panic(void) {
    panic("as you asked", NULL);
}

static bool command_reboot(void) {
    reboot();
}

static bool command_poweroff(void) {
    power_off();
}

static const struct {
    const char *name, *about;
    bool (*run)(void);
    bool tour;
} commands[] = {
    {"help", "what there is", command_help, false},
    {"info", "the machine as its device tree tells", command_info, true},
    {"time", "timer interrupts", command_time, true},
    {"mem", "page tables, and a test of memory", command_mem, true},
    {"page", "memory on demand, copies on write, dirty pages", command_page, true},
    {"spaces", "address spaces, and deeper page tables", command_spaces, true},
    {"traps", "accesses that fault", command_traps, true},
    {"code", "code that changes, and pages of code that are exchanged", command_code, true},
    {"irq", "interrupts of the UART through the PLIC", command_irq, true},
    {"user", "a program in user mode", command_user, true},
    {"harts", "all harts at once", command_harts, true},
    {"prime", "the sieve of Eratosthenes", command_prime, true},
    {"mandel", "the Mandelbrot set in double precision", command_mandel, true},
    {"panic", "the end, with exit status 2", command_panic, false},
    {"reboot", "once more", command_reboot, false},
    {"poweroff", "the end", command_poweroff, false},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static bool command_help(void) {
    for (u32 i = 0; i < COMMANDS; i++)
        print("  %-10s %s\n", commands[i].name, commands[i].about);
    return true;
}

static bool run(u32 number) {
    bool good = commands[number].run();
    print("%s %s\n", good ? "ok    " : "FAILED", commands[number].name);
    return good;
}

// Every command that checks itself; then the end. The first that fails is the exit status.
_Noreturn void tour(void) {
    u32 passed = 0, failed = 0, first = 0;
    for (u32 i = 0; i < COMMANDS; i++) {
        if (!commands[i].tour)
            continue;
        print("> %s: %s\n", commands[i].name, commands[i].about);
        if (run(i)) {
            passed++;
        } else if (failed++ == 0) {
            first = 16 + i;
        }
    }
    print("%lu ok, %lu failed\n", (u64)passed, (u64)failed);
    if (failed)
        power_fail(first);
    power_off();
}

static void read_line(char *line, u32 room) {
    u32 length = 0;
    while (true) {
        int byte = -1;
        wait_until((byte = console_get()) >= 0);
        if (byte == '\r' || byte == '\n') {
            print("\n");
            line[length] = 0;
            return;
        }
        if ((byte == 8 || byte == 127) && length) {
            length--;
            print("\b \b");
        } else if (byte >= ' ' && byte < 127 && length + 1 < room) {
            line[length++] = (char)byte;
            print("%c", byte);
        }
    }
}

_Noreturn void shell(void) {
    char line[64];
    print("`help` says what there is.\n");
    while (true) {
        print("isomorph> ");
        read_line(line, sizeof line);
        u32 i = 0;
        while (i < COMMANDS && !same(line, commands[i].name))
            i++;
        if (i < COMMANDS)
            run(i);
        else if (line[0])
            print("no command `%s`; `help` says what there is\n", line);
    }
}
