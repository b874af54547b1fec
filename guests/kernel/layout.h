// Numbers that C, the assembly and the linker script share.
#ifndef LAYOUT_H
#define LAYOUT_H

// Where the boot convention puts the image (2 MiB into RAM: the firmware lies below), and where
// the kernel sees it: the top 2 GiB, so that code compiled for `medany` reaches all of it.
#define IMAGE_PHYSICAL 0x80200000
#define IMAGE_OFFSET 0xffffffff00000000
#define IMAGE_VIRTUAL 0xffffffff80200000

// All of physical memory, at this distance (the first address of the upper half of Sv39).
#define DIRECT_OFFSET 0xffffffc000000000
// Virtual memory that commands give a meaning as they like. Nothing is mapped there at first.
#define PLAYGROUND 0xffffffe000000000
// The user program and the end of its stack.
#define USER_CODE 0x10000
#define USER_STACK_TOP 0x40000000
#define USER_STACK_PAGES 8

#define PAGE_SIZE 4096
#define STACK_SIZE 8192
#define HARTS_MAX 8

// `struct hart`, for the assembly.
#define HART_STACK 0
#define HART_TRAP_SP 8
#define HART_EXIT_SP 16
#define HART_ID 24

// `struct frame`: register n at 8 * n, then these.
#define FRAME_PC 256
#define FRAME_STATUS 264
#define FRAME_CAUSE 272
#define FRAME_VALUE 280
#define FRAME_SIZE 288

// sstatus (privileged manual, 12.1.1).
#define STATUS_SIE 0x2
#define STATUS_SPIE 0x20
#define STATUS_SPP 0x100
#define STATUS_FS_INITIAL 0x2000
#define STATUS_SUM 0x40000
#define SATP_SV39 8
#endif
