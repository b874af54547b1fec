// The command that changes satp: address spaces with identifiers, and deeper page tables.
#include "kernel.h"

enum { SV39 = 8, SV48 = 9, SV57 = 10, ENTRIES = 512, ASID_SHIFT = 44, MODE_SHIFT = 60 };

// All on one hart, one command at a time: the tables need not be allocated.
enum { SPACE_A, SPACE_B = 3, LOW_48 = 6, ROOT_48 = 9, ROOT_57, TABLES };
// The word that is looked at, within the span of three tables.
#define INSIDE ((u64)PAGE_SIZE + 8)
static u64 tables[TABLES][ENTRIES] __attribute__((aligned(PAGE_SIZE)));
static u64 pages[3][ENTRIES] __attribute__((aligned(PAGE_SIZE)));

static u64 pointer(const void *to) {
    return physical(to) >> 12 << 10 | PTE_V;
}

static u64 leaf(const void *to) {
    return pointer(to) | PTE_R | PTE_W | PTE_A | PTE_D;
}

// Maps a page near the bottom of what a table with two below it spans.
static void map_first(u32 table, const void *page) {
    tables[table][0] = pointer(tables[table + 1]);
    tables[table + 1][0] = pointer(tables[table + 2]);
    tables[table + 2][INSIDE / PAGE_SIZE] = leaf(page);
}

static void flush_all(void) {
    __asm__ volatile("sfence.vma" : : : "memory");
}

static void enter(u64 mode, u64 asid, const void *root) {
    csr_write(satp, mode << MODE_SHIFT | asid << ASID_SHIFT | physical(root) >> 12);
}

static u64 asid_bits(void) {
    u64 satp = csr_read(satp), bits = 0;
    csr_write(satp, satp | (u64)0xffff << ASID_SHIFT);
    for (u64 left = csr_read(satp) >> ASID_SHIFT & 0xffff; left; left >>= 1)
        bits++;
    csr_write(satp, satp);
    return bits;
}

// Two spaces have different pages at one address. With identifiers no fence is due between them.
static bool two_spaces(const u64 *kernel, bool identifiers) {
    volatile u64 *at = (u64 *)INSIDE;
    bool apart = true, fenced;
    for (u32 i = ENTRIES / 2; i < ENTRIES; i++)
        tables[SPACE_A][i] = tables[SPACE_B][i] = kernel[i];
    map_first(SPACE_A, pages[0]);
    map_first(SPACE_B, pages[1]);
    pages[0][1] = pages[1][1] = 0;
    pages[2][1] = 1000;
    flush_all();
    for (u64 i = 0; i < 100; i++) {
        bool a = i % 2 == 0;
        enter(SV39, a ? 1 : 2, tables[a ? SPACE_A : SPACE_B]);
        if (!identifiers)
            flush_all();
        *at += a ? 1 : 3;
        apart &= *at == (i / 2 + 1) * (a ? 1 : 3);
    }
    // From within B: A gets another page, fenced for its identifier alone.
    tables[SPACE_A + 2][INSIDE / PAGE_SIZE] = leaf(pages[2]);
    __asm__ volatile("sfence.vma %0, %1" : : "r"(at), "r"((u64)1) : "memory");
    fenced = *at == 150;
    enter(SV39, 1, tables[SPACE_A]);
    if (!identifiers)
        flush_all();
    fenced &= *at == 1000;
    enter(SV39, 0, kernel);
    flush_all();
    return check(apart) & check(fenced) & check(pages[0][1] == 50);
}

// In a deeper mode our tables stay as they are, below new ones: addresses of Sv39 mean the same,
// and there are more. False if this machine does not have the mode: then satp does not change.
static bool deeper(u64 mode, const u64 *root, u64 inside, u64 outside, bool *good) {
    u64 before = csr_read(satp);
    *good &= check(probe_load((void *)inside) == CAUSE_LOAD_PAGE);
    enter(mode, 0, root);
    if (csr_read(satp) == before)
        return false;
    flush_all();
    u64 value = *(volatile u64 *)inside;
    u64 cause = probe_load((void *)outside);
    csr_write(satp, before);
    flush_all();
    *good &= check(value == 150) & check(cause == CAUSE_LOAD_PAGE);
    return true;
}

bool command_spaces(void) {
    const u64 *kernel = direct(csr_read(satp) << 20 >> 8);
    u64 bits = asid_bits();
    bool good = two_spaces(kernel, bits >= 2);
    u64 *root = tables[ROOT_48], *root_57 = tables[ROOT_57];
    map_first(LOW_48, pages[1]);
    root[0] = root[ENTRIES - 1] = pointer(kernel);
    root[1] = pointer(tables[LOW_48]);
    root_57[0] = root_57[1] = root_57[ENTRIES - 1] = pointer(root);
    u64 first_48 = (u64)1 << 39 | INSIDE, first_57 = (u64)1 << 48 | first_48;
    bool sv48 = deeper(SV48, root, first_48, first_57, &good);
    bool sv57 = deeper(SV57, root_57, first_57, first_57 << 9, &good);
    print("  Sv39%s%s, address-space identifiers of %lu bits\n", sv48 ? ", Sv48" : "",
          sv57 ? ", Sv57" : "", bits);
    return good;
}
