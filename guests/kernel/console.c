// The console. Output goes through the SBI's debug console, or to the 16550 itself if the firmware
// has none; input comes from the 16550, by interrupt.
#include "kernel.h"

#include <stdarg.h>

// Registers of a 16550 (PC16550D data sheet) and their bits.
enum { DATA = 0, INTERRUPT_ENABLE = 1, FIFO = 2, MODEM = 4, LINE_STATUS = 5 };
enum { RECEIVED = 1, SENDABLE = 0x20, IDLE = 0x40, LOOP = 0x10, OUT2 = 8 };

static volatile u8 *uart;
static bool debug_console;

// What has come in: the interrupt puts, the shell takes.
static volatile u8 ring[256];
static volatile u32 ring_in, ring_out;

// One buffer for all harts, under a lock: lines stay whole.
static u32 print_lock;
static char line[256];
static u32 line_length;

static void uart_write(const char *text, u32 length) {
    for (u32 i = 0; uart && i < length; i++) {
        while (!(uart[LINE_STATUS] & SENDABLE))
            ;
        uart[DATA] = (u8)text[i];
    }
}

static void flush(void) {
    u32 done = 0;
    // Debug console extension, console_write(bytes, address low, address high).
    while (debug_console && done < line_length) {
        u64 from = physical(line + done);
        struct sbi_result wrote = sbi(SBI_DBCN, 0, line_length - done, from, 0, 0);
        if (wrote.error)
            debug_console = false;
        else
            done += (u32)wrote.value;
    }
    uart_write(line + done, line_length - done);
    line_length = 0;
}

static void put(char c) {
    if (line_length + 2 > sizeof line)
        flush();
    if (c == '\n')
        line[line_length++] = '\r';
    line[line_length++] = c;
}

static void put_number(u64 value, u32 base, u32 width, char pad) {
    char digits[24];
    u32 count = 0;
    do
        digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (width > count) {
        put(pad);
        width--;
    }
    while (count)
        put(digits[--count]);
}

static void put_text(const char *text, u32 width, bool left) {
    u32 length = 0;
    while (text[length])
        length++;
    for (u32 i = length; !left && i < width; i++)
        put(' ');
    for (u32 i = 0; i < length; i++)
        put(text[i]);
    for (u32 i = length; left && i < width; i++)
        put(' ');
}

static const char *put_argument(const char *at, va_list *arguments) {
    bool left = *at == '-';
    at += left;
    char pad = *at == '0' ? '0' : ' ';
    u32 width = 0;
    while (*at >= '0' && *at <= '9')
        width = width * 10 + (u32)(*at++ - '0');
    while (*at == 'l')
        at++;
    if (*at == 's') {
        put_text(va_arg(*arguments, const char *), width, left);
    } else if (*at == 'c') {
        put((char)va_arg(*arguments, int));
    } else if (*at == 'x') {
        put_number(va_arg(*arguments, u64), 16, width, pad);
    } else if (*at == 'u') {
        put_number(va_arg(*arguments, u64), 10, width, pad);
    } else {
        put(*at);
    }
    return at;
}

void print(const char *format, ...) {
    va_list arguments;
    u64 enabled = csr_read(sstatus) & STATUS_SIE;
    csr_clear(sstatus, STATUS_SIE);
    while (__atomic_exchange_n(&print_lock, 1, __ATOMIC_ACQUIRE))
        ;
    va_start(arguments, format);
    for (const char *at = format; *at; at++) {
        if (*at == '%')
            at = put_argument(at + 1, &arguments);
        else
            put(*at);
    }
    va_end(arguments);
    flush();
    __atomic_store_n(&print_lock, 0, __ATOMIC_RELEASE);
    csr_set(sstatus, enabled);
}

void console_init(void) {
    debug_console = sbi_has(SBI_DBCN);
    if (!machine.uart)
        return;
    uart = direct(machine.uart);
    uart[INTERRUPT_ENABLE] = 0;
    uart[FIFO] = 7; // on, both emptied, an interrupt for each byte
    uart[MODEM] = OUT2 | 3;
    uart[INTERRUPT_ENABLE] = RECEIVED;
}

const char *console_name(void) {
    return debug_console ? "SBI debug console" : uart ? "16550" : "none";
}

// The 16550 wants attention.
void console_interrupt(void) {
    while (uart[LINE_STATUS] & RECEIVED) {
        u8 byte = uart[DATA];
        if (ring_in - ring_out < sizeof ring)
            ring[ring_in++ % sizeof ring] = byte;
    }
}

// The next byte of input, or -1.
int console_get(void) {
    if (ring_in == ring_out)
        return -1;
    int byte = ring[ring_out % sizeof ring];
    ring_out++;
    return byte;
}

// Sends a message round the 16550's loop-back: each byte has to come in by interrupt.
bool uart_loopback(void) {
    static const char message[] = "round and back";
    bool good = true;
    u64 before = self()->externals;
    while (!(uart[LINE_STATUS] & IDLE)) // what others print shall not come back
        ;
    uart[MODEM] = LOOP | OUT2 | 3;
    for (u32 i = 0; i < sizeof message && good; i++) {
        int byte = -1;
        u64 limit = now() + machine.timebase;
        uart_write(message + i, 1);
        timer_at(limit);
        wait_until((byte = console_get()) >= 0 || now() > limit);
        good = byte == message[i];
    }
    uart[MODEM] = OUT2 | 3;
    return check(good) && check(self()->externals > before);
}

bool same(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

_Noreturn void panic(const char *why, const struct frame *frame) {
    static const char names[32][5] = {"zero", "ra", "sp", "gp",  "tp",  "t0", "t1", "t2",
                                      "s0",   "s1", "a0", "a1",  "a2",  "a3", "a4", "a5",
                                      "a6",   "a7", "s2", "s3",  "s4",  "s5", "s6", "s7",
                                      "s8",   "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
    csr_clear(sstatus, STATUS_SIE);
    print_lock = 0; // this hart may hold it
    print("\npanic: %s, on hart %lu\n", why, self()->id);
    if (frame) {
        print("  pc %016lx  cause %lx  value %lx  status %lx\n", frame->pc, frame->cause,
              frame->value, frame->status);
        for (u32 i = 0; i < 32; i++)
            print("%6s %016lx%s", names[i], frame->x[i], i % 4 == 3 ? "\n" : "");
    }
    power_fail(2);
}
