// The commands that play with page tables: memory on demand, and code that changes.
#include "kernel.h"

enum { PAGES = 64, SHARED = 16 };
#define PTE_COPY ((u64)1 << 8) // one of the bits that are software's: copied when written to
#define SHARED_START (PLAYGROUND + PAGES * PAGE_SIZE)
#define SHARED_END (SHARED_START + SHARED * PAGE_SIZE)

// Counted in traps, where the compiler does not see it.
static volatile u64 on_demand, copied, marked;

// Gives the page a frame of its own, with what it shared until now.
static bool copy_page(u64 *entry) {
    u64 page = page_new();
    if (!page)
        return false;
    memcpy(direct(page), direct(*entry >> 10 << 12), PAGE_SIZE);
    *entry = page >> 12 << 10 | PTE_V | PTE_R | PTE_W | PTE_A | PTE_D;
    copied++;
    return true;
}

static bool serve(u64 address, u64 cause) {
    if (address < PLAYGROUND || address >= SHARED_END)
        return false;
    u64 at = address & ~(u64)(PAGE_SIZE - 1);
    u64 *entry = page_entry(at);
    u64 mark = cause == CAUSE_STORE_PAGE ? PTE_A | PTE_D : PTE_A;
    if (!entry || !(*entry & PTE_V)) {
        u64 page = page_new();
        if (!page)
            return false;
        map(at, page, PAGE_SIZE, PTE_R | PTE_W | mark);
        on_demand++;
    } else if (cause == CAUSE_STORE_PAGE && *entry & PTE_COPY) {
        if (!copy_page(entry))
            return false;
    } else if ((*entry & mark) != mark) {
        *entry |= mark; // this machine leaves setting them to software
        marked++;
    } else {
        return false;
    }
    flush_page(at);
    return true;
}

static volatile u64 *word(u64 start, u64 page) {
    return (u64 *)(start + page * PAGE_SIZE + page * 8);
}

// Accesses that are not aligned: C must not know.
static void store_across(u64 address, u64 value) {
    __asm__ volatile("sd %1, (%0)" : : "r"(address), "r"(value) : "memory");
}

static u64 load_across(u64 address) {
    u64 value;
    __asm__ volatile("ld %0, (%1)" : "=r"(value) : "r"(address) : "memory");
    return value;
}

// Stores make pages, loads find what was stored. The second half is first touched by words that
// lie across two pages: the one that is there and the next.
static bool demand(void) {
    bool good = true;
    for (u64 i = 0; i < PAGES / 2; i++)
        *word(PLAYGROUND, i) = ~i;
    for (u64 i = PAGES / 2; i < PAGES; i++)
        store_across(PLAYGROUND + i * PAGE_SIZE - 3, 0x0102030405060708 + i);
    for (u64 i = PAGES / 2; i < PAGES; i++)
        good &= load_across(PLAYGROUND + i * PAGE_SIZE - 3) == 0x0102030405060708 + i;
    for (u64 i = PAGES / 2; i < PAGES; i++)
        *word(PLAYGROUND, i) = ~i;
    for (u64 i = 0; i < PAGES; i++)
        good &= *word(PLAYGROUND, i) == ~i;
    return check(good) & check(on_demand == PAGES);
}

// Takes the marks away: a load sets A again and a store D, by hardware or by a fault.
static bool dirty(void) {
    bool good = true;
    for (u64 i = 0; i < PAGES; i++) {
        u64 *entry = page_entry((u64)word(PLAYGROUND, i));
        *entry &= ~(u64)(PTE_A | PTE_D);
        flush_page((u64)word(PLAYGROUND, i));
        u64 value = *word(PLAYGROUND, i);
        good &= (*(volatile u64 *)entry & (PTE_A | PTE_D)) == PTE_A;
        *word(PLAYGROUND, i) = value + 1;
        good &= (*(volatile u64 *)entry & (PTE_A | PTE_D)) == (PTE_A | PTE_D);
    }
    return check(good);
}

// One page at many addresses, until somebody writes.
static bool share(void) {
    u64 page = page_new();
    if (!page)
        return check(page);
    bool good = true;
    for (u64 i = 0; i < SHARED; i++) {
        map(SHARED_START + i * PAGE_SIZE, page, PAGE_SIZE, PTE_R | PTE_COPY | PTE_A);
        flush_page(SHARED_START + i * PAGE_SIZE);
        *(u64 *)direct(page + i * 8) = i;
    }
    for (u64 i = 0; i < SHARED; i++)
        good &= *word(SHARED_START, i) == i;
    for (u64 i = 0; i < SHARED; i++)
        *word(SHARED_START, i) = i + 100;
    for (u64 i = 0; i < SHARED; i++)
        good &= *word(SHARED_START, i) == i + 100;
    good &= *(u64 *)direct(page) == 0;
    page_free(page);
    return check(good) & check(copied == SHARED);
}

bool command_page(void) {
    on_demand = copied = marked = 0;
    playground_fault = serve;
    bool good = demand() & dirty() & share();
    playground_fault = NULL;
    for (u64 at = PLAYGROUND; at < SHARED_END; at += PAGE_SIZE) {
        u64 *entry = page_entry(at);
        if (entry && *entry & PTE_V)
            page_free(*entry >> 10 << 12);
        unmap(at);
    }
    print("  %lu pages on demand, %lu copies on write, marked %s\n", on_demand, copied,
          marked ? "by faults" : "by hardware");
    return good;
}

#define CODE (PLAYGROUND + 0x400000)

// `li a0, result; ret` (unprivileged manual, addi and jalr).
static void put_function(u64 page, u32 result) {
    volatile u32 *code = direct(page);
    code[0] = result << 20 | 0x513;
    code[1] = 0x8067;
}

static u64 call_code(void) {
    return ((u64(*)(void))CODE)();
}

// Code is written at one address and runs at another. `fence.i` makes new code seen; a page of
// code that takes another's place needs `sfence.vma` alone.
bool command_code(void) {
    enum { TIMES = 100 };
    u64 pages[2] = {page_new(), page_new()};
    if (!check(pages[0] && pages[1]))
        return false;
    bool changed = true, exchanged = true;
    map(CODE, pages[0], PAGE_SIZE, PTE_R | PTE_X | PTE_A);
    flush_page(CODE);
    for (u32 i = 0; i < TIMES; i++) {
        put_function(pages[0], i);
        __asm__ volatile("fence.i" : : : "memory");
        changed &= call_code() == i;
    }
    put_function(pages[1], TIMES);
    __asm__ volatile("fence.i" : : : "memory");
    for (u32 i = 0; i < TIMES; i++) {
        map(CODE, pages[i % 2], PAGE_SIZE, PTE_R | PTE_X | PTE_A);
        flush_page(CODE);
        exchanged &= call_code() == TIMES - 1 + i % 2;
    }
    unmap(CODE);
    page_free(pages[0]);
    page_free(pages[1]);
    print("  a function changed %lu times, its page %lu times\n", (u64)TIMES, (u64)TIMES);
    return check(changed) & check(exchanged);
}
