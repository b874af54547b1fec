// Traps in and out, and the way into user mode.
//
// In user mode sscratch holds the hart's `struct hart`, in the kernel zero: so the entry knows
// where it comes from before it has a register to spare. In the kernel tp is the `struct hart`.
#include "layout.h"

    .macro  all_but_sp_and_tp op
    \op     x1, 1 * 8(sp)
    \op     x3, 3 * 8(sp)
    .irp    n, 5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    \op     x\n, \n * 8(sp)
    .endr
    .endm

    .text
    .globl  trap_entry
    .balign 4
trap_entry:
    csrrw   tp, sscratch, tp
    bnez    tp, 1f
    csrr    tp, sscratch
    sd      sp, HART_STACK(tp)          // from the kernel: stay on its stack
1:  sd      sp, HART_TRAP_SP(tp)
    ld      sp, HART_STACK(tp)
    addi    sp, sp, -FRAME_SIZE
    all_but_sp_and_tp sd
    ld      t0, HART_TRAP_SP(tp)
    csrr    t1, sscratch
    csrr    t2, sepc
    csrr    t3, sstatus
    csrr    t4, scause
    csrr    t5, stval
    csrw    sscratch, zero
    sd      t0, 2 * 8(sp)
    sd      t1, 4 * 8(sp)
    sd      t2, FRAME_PC(sp)
    sd      t3, FRAME_STATUS(sp)
    sd      t4, FRAME_CAUSE(sp)
    sd      t5, FRAME_VALUE(sp)
    mv      a0, sp
    call    trap

trap_return:
    ld      t0, FRAME_STATUS(sp)
    ld      t1, FRAME_PC(sp)
    csrw    sstatus, t0
    csrw    sepc, t1
    andi    t0, t0, STATUS_SPP
    bnez    t0, 2f
    addi    t0, sp, FRAME_SIZE
    sd      t0, HART_STACK(tp)
    csrw    sscratch, tp
2:  all_but_sp_and_tp ld
    ld      tp, 4 * 8(sp)
    ld      sp, 2 * 8(sp)
    sret

    // long user_run(pc, sp, argument): runs user code until user_leave(result). Interrupts must be
    // off. What C keeps over a call lies below the frame that user_leave finds again.
    .globl  user_run
user_run:
    addi    sp, sp, -112
    sd      ra, 0(sp)
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
    sd      s\n, 8 + 8 * \n(sp)
    .endr
    sd      sp, HART_EXIT_SP(tp)
    addi    sp, sp, -FRAME_SIZE
    li      t0, FRAME_SIZE              // no register of ours is seen by the user
    mv      t1, sp
3:  sd      zero, (t1)
    addi    t1, t1, 8
    addi    t0, t0, -8
    bnez    t0, 3b
    sd      a1, 2 * 8(sp)
    sd      a2, 10 * 8(sp)
    sd      a0, FRAME_PC(sp)
    li      t0, STATUS_SPIE | STATUS_FS_INITIAL
    sd      t0, FRAME_STATUS(sp)
    j       trap_return

    .globl  user_leave
user_leave:
    ld      sp, HART_EXIT_SP(tp)
    ld      ra, 0(sp)
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
    ld      s\n, 8 + 8 * \n(sp)
    .endr
    addi    sp, sp, 112
    ret

    // Accesses that may fault. Each returns zero, or the cause that `trap` puts into a0 before it
    // sends the hart to ra: `trap` knows them by lying between these two labels.
    .globl  probe_start, probe_end
    .globl  probe_load, probe_store, probe_illegal, probe_break, probe_float
probe_start:
probe_load:
    lb      a0, (a0)
    li      a0, 0
    ret
probe_store:
    sb      zero, (a0)
    li      a0, 0
    ret
probe_illegal:
    csrr    a0, mstatus                 // a machine-mode register
    li      a0, 0
    ret
probe_break:
    ebreak
    li      a0, 0
    ret
probe_float:
    .word   0xe2050553                  // fmv.x.d a0, fa0
    li      a0, 0
    ret
probe_end:

    // long probe_call(address): calls it. `trap` knows it by the faulting pc being the address.
    .globl  probe_call
probe_call:
    jr      a0
