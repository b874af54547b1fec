// Physical pages and Sv39 tables (privileged manual, 12.4).
//
// What is mapped: the image, in 4 KiB pages, each part with no more permissions than it needs; all
// of RAM and the devices at a fixed distance, in the largest pages that fit. Nothing is ever
// writable and executable: where the image lies in RAM, the second view of its code is read-only.
#include "kernel.h"

static const u64 sizes[3] = {1 << 12, 1 << 21, 1 << 30};
enum { ENTRIES = 512, GLOBAL = 32 };
#define KEPT (PTE_A | PTE_D) // set beforehand: no trap and no write of the walker's

static u64 *root;
static u64 next_page, last_page; // never given out yet
static u64 free_pages;           // given back: a list through the pages
static u64 free_count;

void *memcpy(void *to, const void *from, size_t size) {
    char *t = to;
    for (const char *f = from; size--;)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int byte, size_t size) {
    for (char *t = to; size--;)
        *t++ = (char)byte;
    return to;
}

// The physical address of the image's variables and of what direct() gives.
u64 physical(const void *pointer) {
    u64 address = (u64)pointer;
    return address - (address >= IMAGE_VIRTUAL ? IMAGE_OFFSET : DIRECT_OFFSET);
}

// A zeroed page, or 0.
u64 page_new(void) {
    u64 page = free_pages;
    if (page) {
        free_pages = *(u64 *)direct(page);
        free_count--;
    } else if (next_page < last_page) {
        page = next_page;
        next_page += PAGE_SIZE;
    } else {
        return 0;
    }
    u64 *words = direct(page);
    for (u32 i = 0; i < PAGE_SIZE / 8; i++)
        words[i] = 0;
    return page;
}

void page_free(u64 page) {
    *(u64 *)direct(page) = free_pages;
    free_pages = page;
    free_count++;
}

// Pages side by side, kept for ever; as they were found.
void *pages_new(u64 count) {
    if (count > (last_page - next_page) / PAGE_SIZE)
        return NULL;
    u64 first = next_page;
    next_page += count * PAGE_SIZE;
    return direct(first);
}

u64 pages_left(void) {
    return (last_page - next_page) / PAGE_SIZE + free_count;
}

static u64 *child(u64 *entry) {
    return direct(*entry >> 10 << 12);
}

static bool is_leaf(u64 entry) {
    return entry & (PTE_R | PTE_W | PTE_X);
}

// The entry for a page of sizes[level]; tables on the way are made if `make`.
static u64 *walk(u64 address, u32 level, bool make) {
    u64 *table = root;
    for (u32 at = 2;; at--) {
        u64 *entry = &table[address >> (12 + 9 * at) & (ENTRIES - 1)];
        if (at == level || (*entry & PTE_V && is_leaf(*entry)))
            return entry;
        if (!(*entry & PTE_V)) {
            u64 page = make ? page_new() : 0;
            if (!page) {
                if (make)
                    panic("no memory for page tables", NULL);
                return NULL;
            }
            *entry = page >> 12 << 10 | PTE_V;
        }
        table = child(entry);
    }
}

// The entry of a 4 KiB page, or NULL if there is no table for it.
u64 *page_entry(u64 address) {
    return walk(address, 0, false);
}

// Maps a range in the largest pages that its addresses allow. Old translations are the caller's.
void map(u64 address, u64 to, u64 size, u64 flags) {
    while (size) {
        u32 level = 2;
        while (level && ((address | to) % sizes[level] || size < sizes[level]))
            level--;
        *walk(address, level, true) = to >> 12 << 10 | flags | PTE_V;
        address += sizes[level];
        to += sizes[level];
        size -= sizes[level];
    }
}

void unmap(u64 address) {
    u64 *entry = page_entry(address);
    if (entry)
        *entry = 0;
    flush_page(address);
}

static void map_image(const char *from, const char *to, u64 flags) {
    u64 start = physical(from), size = (u64)(to - from);
    map((u64)from, start, size, flags | KEPT | GLOBAL);
    flags = flags & PTE_W ? PTE_R | PTE_W : PTE_R;
    map(start + DIRECT_OFFSET, start, size, flags | KEPT | GLOBAL);
}

void memory_init(void) {
    u64 end = physical(image_end);
    u64 limit = machine.memory + machine.memory_size;
    next_page = end;
    last_page = limit;
    if (machine.tree >= end && machine.tree < last_page)
        last_page = machine.tree & ~(u64)(PAGE_SIZE - 1);
    if (machine.initrd >= end && machine.initrd < last_page)
        last_page = machine.initrd & ~(u64)(PAGE_SIZE - 1);
    root = direct(page_new());

    map_image(image_start, user_end, PTE_R | PTE_X);
    map_image(user_end, data_start, PTE_R);
    map_image(data_start, image_end, PTE_R | PTE_W);
    // The 2 MiB below the image are the firmware's and stay unmapped.
    u64 data = PTE_R | PTE_W | KEPT | GLOBAL;
    map(end + DIRECT_OFFSET, end, limit - end, data);
    map(DIRECT_OFFSET, 0, sizes[2], data);
    memory_switch();
}

// This hart leaves the boot table.
void memory_switch(void) {
    csr_write(satp, physical(root) >> 12 | (u64)SATP_SV39 << 60);
    __asm__ volatile("sfence.vma" : : : "memory");
}

// Neighbours that look alike become one line.
struct run {
    u64 start, end, flags;
    u32 level;
};

static void run_show(const struct run *run) {
    static const char units[3][6] = {"4 KiB", "2 MiB", "1 GiB"};
    u64 f = run->flags;
    if (run->end != run->start)
        print("  %016lx-%016lx %c%c%c%c %5lu x %s\n", run->start, run->end - 1,
              f & PTE_R ? 'r' : '-', f & PTE_W ? 'w' : '-', f & PTE_X ? 'x' : '-',
              f & PTE_U ? 'u' : '-', (run->end - run->start) / sizes[run->level],
              units[run->level]);
}

static void visit(u64 *table, u32 level, u64 base, struct mapping *sum, struct run *run,
                  bool show) {
    for (u64 i = 0; i < ENTRIES; i++) {
        u64 entry = table[i], flags = entry & 0x1f;
        u64 address = base + i * sizes[level];
        if (level == 2 && i >= ENTRIES / 2) // the upper half: bit 38 goes on upwards
            address |= ~(u64)0 << 39;
        if (!(entry & PTE_V))
            continue;
        if (!is_leaf(entry)) {
            visit(child(&table[i]), level - 1, address, sum, run, show);
            continue;
        }
        sum->pages[level]++;
        sum->open += (flags & PTE_W) && (flags & PTE_X);
        if (run->end != address || run->flags != flags || run->level != level) {
            if (show)
                run_show(run);
            *run = (struct run){address, address, flags, level};
        }
        run->end += sizes[level];
    }
}

// Walks all tables, and lists what they map if `show`.
struct mapping mapping_show(bool show) {
    struct mapping sum = {0};
    struct run run = {0};
    visit(root, 2, 0, &sum, &run, show);
    if (show)
        run_show(&run);
    return sum;
}
