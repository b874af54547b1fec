// From the firmware's jump to C.
//
// The firmware enters at the first byte in supervisor mode with paging off, a0 = hart id,
// a1 = physical address of the device tree (Linux Documentation/arch/riscv/boot.rst).
#include "layout.h"

    .section .head, "ax"
    // The header of a riscv `Image` (Linux Documentation/arch/riscv/boot-image-header.rst).
header:
    j       start
    .balign 8
    .quad   IMAGE_PHYSICAL - 0x80000000     // where in RAM it wants to lie
    .quad   image_end - image_start         // how much memory it takes
    .quad   0                               // little endian
    .word   2                               // header version 0.2
    .word   0
    .quad   0
    .ascii  "RISCV\0\0\0"
    .ascii  "RSC\x05"
    .word   0

start:
    csrw    sie, zero
    csrw    sstatus, zero
    mv      s0, a0
    mv      s1, a1
    lla     t0, image_filled
    lla     t1, image_end
1:  sd      zero, (t0)
    addi    t0, t0, 8
    bltu    t0, t1, 1b

    // Two mappings of the RAM that we are in are enough to get up: here, where the program counter
    // is, and at the top, where the code is linked for. Gigabyte pages make that three words; a
    // third kind, of the low 4 GiB, is for building the real tables and for the device tree.
    lla     t0, boot_table
    li      t1, 0x800000cf >> 12 << 10 | 0xcf   // 0x80000000, D A X W R V
    sd      t1, 2 * 8(t0)
    li      t2, 510 * 8
    add     t2, t2, t0
    sd      t1, (t2)
    li      t1, 0xc7                            // 0, D A W R V
    li      t2, 256 * 8
    add     t2, t2, t0
    li      t3, 0x40000000 >> 12 << 10
    li      t4, 4
2:  sd      t1, (t2)
    add     t1, t1, t3
    addi    t2, t2, 8
    addi    t4, t4, -1
    bnez    t4, 2b

    lla     tp, harts
    lla     sp, stacks + STACK_SIZE
    call    go_high
    mv      a0, s0
    mv      a1, s1
    sd      s0, HART_ID(tp)
    call    kernel_main
3:  wfi
    j       3b

    // A hart that the SBI's hart_start has started: a0 = hart id, a1 = physical address of its
    // `struct hart`.
    .globl  secondary_start
secondary_start:
    csrw    sie, zero
    csrw    sstatus, zero
    mv      tp, a1
    li      t0, IMAGE_OFFSET
    ld      sp, HART_STACK(tp)
    sub     sp, sp, t0
    call    go_high
    call    secondary_main
4:  wfi
    j       4b

    // Turns paging on with the boot table and goes on at the linked address. ra, sp and tp, which
    // hold physical addresses, are moved along.
go_high:
    lla     t0, boot_table
    srli    t0, t0, 12
    li      t1, SATP_SV39 << 60
    or      t0, t0, t1
    sfence.vma
    csrw    satp, t0
    li      t0, IMAGE_OFFSET
    add     ra, ra, t0
    add     sp, sp, t0
    add     tp, tp, t0
    lla     t1, trap_entry
    add     t1, t1, t0
    csrw    stvec, t1
    csrw    sscratch, zero
    ret

    .bss
    .balign PAGE_SIZE
boot_table:
    .skip   PAGE_SIZE
    .globl  stacks
    .balign 16
stacks:
    .skip   STACK_SIZE * HARTS_MAX
