# Where the harts begin (M-mode), where interrupts arrive, and the loops that they interrupt.
  .section .text.start
  .global _start
_start:
  la t0, machine_trap
  csrw mtvec, t0
  csrw mie, zero
  li t0, -1                 # everything may be reached from S-mode
  csrw pmpaddr0, t0
  li t0, 0x1f
  csrw pmpcfg0, t0
  la sp, stacks
  addi t0, a0, 1
  slli t0, t0, 14           # 16 KiB for each hart
  add sp, sp, t0
  bnez a0, 1f
  call first_hart
1:call other_hart

# The time is read by the second instruction of the handler: the first makes room for it.
.macro trap name, scratch, epc, cause, return
  .align 4
\name:
  csrw \scratch, t0
  rdtime t0
  addi sp, sp, -144
  sd ra, 0(sp)
  sd t1, 8(sp)
  sd t2, 16(sp)
  sd a0, 24(sp)
  sd a1, 32(sp)
  sd a2, 40(sp)
  sd a3, 48(sp)
  sd a4, 56(sp)
  sd a5, 64(sp)
  sd a6, 72(sp)
  sd a7, 80(sp)
  sd t3, 88(sp)
  sd t4, 96(sp)
  sd t5, 104(sp)
  sd t6, 112(sp)
  mv a0, t0
  csrr a1, \cause
  csrr a2, \epc
  call interrupted
  csrw \epc, a0
  ld ra, 0(sp)
  ld t1, 8(sp)
  ld t2, 16(sp)
  ld a0, 24(sp)
  ld a1, 32(sp)
  ld a2, 40(sp)
  ld a3, 48(sp)
  ld a4, 56(sp)
  ld a5, 64(sp)
  ld a6, 72(sp)
  ld a7, 80(sp)
  ld t3, 88(sp)
  ld t4, 96(sp)
  ld t5, 104(sp)
  ld t6, 112(sp)
  addi sp, sp, 144
  csrr t0, \scratch
  \return
.endm
  trap machine_trap, mscratch, mepc, mcause, mret
  .global supervisor_trap
  trap supervisor_trap, sscratch, sepc, scause, sret

# Each loop goes on until an interrupt's handler returns to loop_left; s0 keeps where they were called from.
# Interrupts are enabled only in the loops, or one could come before there is something to leave.
.macro enter
  addi sp, sp, -16
  sd s0, 0(sp)
  mv s0, ra
  jal t0, enable
.endm
enable:
  ld t1, supervisor
  bnez t1, 1f
  csrsi mstatus, 8
  jr t0
1:csrsi sstatus, 2
  jr t0

  .global loop_left
loop_left:
  ld t1, supervisor
  bnez t1, 1f
  csrci mstatus, 8
1:csrci sstatus, 2
  mv ra, s0
  ld s0, 0(sp)
  addi sp, sp, 16
  ret

  .global loop_tight
loop_tight:
  enter
1:addi a0, a0, 1
  j 1b

  .global loop_long
loop_long:
  enter
1:
  .rept 400
  add a0, a0, a1
  xor a1, a1, a0
  .endr
  j 1b

  .global loop_calls
loop_calls:
  enter
  la a2, 2f
1:jal 2f
  jalr a2
  jal 3f
  j 1b
2:addi a0, a0, 1
  ret
3:xor a1, a1, a0
  beqz a1, 4f
  addi a1, a1, 3
4:ret

  .global loop_memory
loop_memory:
  enter
  la a0, scratch_memory
  li a2, 0
  li a4, 0xfff8
1:add a3, a0, a2
  ld a1, 0(a3)
  addi a1, a1, 1
  sd a1, 0(a3)
  addi a2, a2, 72
  and a2, a2, a4
  j 1b

# Instructions that an engine may leave to an interpreter, and slow ones.
  .global loop_system
loop_system:
  enter
1:csrr a0, mcause
  csrr a1, mcycle
  rdtime a2
  fence.i
  div a0, a1, a2
  j 1b

  .global loop_wait
loop_wait:
  enter
1:wfi
  j 1b

# Looks at a halfword (a0) until it is no more a1, notes the time where a2 says, and goes on.
  .global loop_poll
loop_poll:
  enter
1:lhu t0, 0(a0)
  beq t0, a1, 1b
  rdtime t0
  sd t0, 0(a2)
1:addi a3, a3, 1
  j 1b

# to_supervisor(function): goes on in S-mode.
  .global to_supervisor
to_supervisor:
  li t0, 3 << 11
  csrc mstatus, t0
  li t0, 1 << 11
  csrs mstatus, t0
  csrw mepc, a0
  la t0, supervisor
  sd sp, 0(t0)
  mret

  .bss
  .align 4
supervisor: .dword 0        # not 0: this is S-mode
stacks: .space 2 << 14
scratch_memory: .space 65536 + 64
  .align 6
  .global tohost, fromhost
tohost: .dword 0            # what tells Doppel that this is a program for M-mode
fromhost: .dword 0
