// The device tree blob, read once in one pass (Devicetree Specification 0.4, chapter 5).
#include "kernel.h"

struct machine machine = {.timebase = 10000000};

enum { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOP = 4, END = 9 };
enum { DEPTH = 8 };

// A node while its properties go by: what it is comes clear only at its end.
struct node {
    const char *name;
    const char *compatible, *type, *isa, *extensions, *status;
    u32 compatible_size, extensions_size;
    u64 reg[2];
    u32 interrupt, phandle;
    const u32 *interrupts_extended;
    u32 interrupts_extended_size;
};

// The PLIC's contexts name the harts' interrupt controllers by phandle, and may come first.
static u32 boot_phandle;
static const u32 *contexts;
static u32 contexts_size;

static u32 big32(const void *at) {
    const u8 *byte = at;
    return (u32)byte[0] << 24 | (u32)byte[1] << 16 | (u32)byte[2] << 8 | byte[3];
}

static u64 cells(const u32 *at, u32 size) {
    return size >= 8 ? (u64)big32(at) << 32 | big32(at + 1) : size >= 4 ? big32(at) : 0;
}

static bool starts(const char *text, const char *with) {
    while (*with)
        if (*text++ != *with++)
            return false;
    return true;
}

static void copy(char *to, u64 room, const char *from) {
    while (--room && *from)
        *to++ = *from++;
    *to = 0;
}

// Whether one of the strings in a list is this.
static bool lists(const char *list, u32 size, const char *wanted) {
    for (u32 at = 0; list && at < size;) {
        if (same(list + at, wanted))
            return true;
        while (at < size && list[at])
            at++;
        at++;
    }
    return false;
}

// Whether a string such as rv64imafdc_zicsr_sstc has this among its parts.
static bool isa_has(const char *isa, const char *wanted) {
    for (; isa && *isa; isa++) {
        if (*isa != '_' || !starts(isa + 1, wanted))
            continue;
        const char *rest = isa + 1;
        while (*wanted && *rest == *wanted) {
            wanted++;
            rest++;
        }
        return *rest == 0 || *rest == '_';
    }
    return false;
}

static void property(struct node *node, u32 depth, const char *name, const u32 *value, u32 size) {
    const char *text = (const char *)value;
    if (same(name, "compatible")) {
        node->compatible = text;
        node->compatible_size = size;
    } else if (same(name, "device_type")) {
        node->type = text;
    } else if (same(name, "status")) {
        node->status = text;
    } else if (same(name, "riscv,isa")) {
        node->isa = text;
    } else if (same(name, "riscv,isa-extensions")) {
        node->extensions = text;
        node->extensions_size = size;
    } else if (same(name, "reg")) {
        node->reg[0] = cells(value, size);
        node->reg[1] = size >= 16 ? cells(value + 2, size) : 0;
    } else if (same(name, "interrupts")) {
        node->interrupt = size >= 4 ? big32(value) : 0;
    } else if (same(name, "phandle")) {
        node->phandle = big32(value);
    } else if (same(name, "interrupts-extended")) {
        node->interrupts_extended = value;
        node->interrupts_extended_size = size;
    } else if (same(name, "timebase-frequency")) {
        machine.timebase = cells(value, size);
    } else if (same(name, "bootargs") && depth == 2) {
        copy(machine.arguments, sizeof machine.arguments, text);
    } else if (same(name, "linux,initrd-start")) {
        machine.initrd = cells(value, size);
    } else if (same(name, "model") && depth == 1) {
        copy(machine.model, sizeof machine.model, text);
    }
}

static void cpu(const struct node *node, u64 boot_hart) {
    bool usable = !node->status || same(node->status, "okay");
    if (!usable || machine.hart_count == HARTS_MAX)
        return;
    machine.hart_ids[machine.hart_count++] = node->reg[0];
    if (node->reg[0] != boot_hart)
        return;
    if (node->isa)
        copy(machine.isa, sizeof machine.isa, node->isa);
    machine.sstc =
        isa_has(node->isa, "sstc") || lists(node->extensions, node->extensions_size, "sstc");
}

static void node_end(const struct node *node, const struct node *parent, u64 boot_hart) {
    const char *is = node->compatible;
    u32 size = node->compatible_size;
    if (node->type && same(node->type, "cpu")) {
        cpu(node, boot_hart);
    } else if (node->type && same(node->type, "memory") && !machine.memory_size) {
        machine.memory = node->reg[0];
        machine.memory_size = node->reg[1];
    } else if (lists(is, size, "riscv,cpu-intc") && parent->reg[0] == boot_hart) {
        boot_phandle = node->phandle;
    } else if (lists(is, size, "ns16550a") && !machine.uart) {
        machine.uart = node->reg[0];
        machine.uart_irq = node->interrupt;
    } else if (lists(is, size, "sifive,test0")) {
        machine.finisher = node->reg[0];
    } else if (lists(is, size, "sifive,plic-1.0.0") || lists(is, size, "riscv,plic0")) {
        machine.plic = node->reg[0];
        contexts = node->interrupts_extended;
        contexts_size = node->interrupts_extended_size;
    }
}

// The PLIC's context of the boot hart's supervisor mode: its place in interrupts-extended.
static void find_context(void) {
    for (u32 i = 0; i + 1 < contexts_size / 4; i += 2)
        if (big32(contexts + i) == boot_phandle && big32(contexts + i + 1) == IRQ_EXTERNAL)
            machine.plic_context = i / 2;
}

bool fdt_parse(u64 physical, u64 boot_hart) {
    const char *blob = direct(physical);
    if (big32(blob) != 0xd00dfeed)
        return false;
    machine.tree = physical;
    machine.tree_size = big32(blob + 4);
    const u32 *at = (const u32 *)(blob + big32(blob + 8));
    const char *strings = blob + big32(blob + 12);
    struct node nodes[DEPTH] = {0};
    u32 depth = 0;
    while (true) {
        u32 token = big32(at++);
        if (token == BEGIN_NODE) {
            if (++depth == DEPTH)
                return false;
            const char *name = (const char *)at;
            nodes[depth] = (struct node){.name = name};
            while (*name)
                name++;
            at += (name - (const char *)at) / 4 + 1;
        } else if (token == END_NODE && depth) {
            node_end(&nodes[depth], &nodes[depth - 1], boot_hart);
            depth--;
        } else if (token == PROPERTY) {
            u32 size = big32(at);
            property(&nodes[depth], depth, strings + big32(at + 1), at + 2, size);
            at += 2 + (size + 3) / 4;
        } else if (token == END) {
            find_context();
            return machine.memory_size != 0;
        } else if (token != NOP) {
            return false;
        }
    }
}
