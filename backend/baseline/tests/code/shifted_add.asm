     0  mov rbx,rsi
     3  shl rbx,3
     7  add rbx,rdi
     a  xchg ax,ax
     c  jmp 0000000001000026h
    11  mov eax,1000h
    16  jmp 0000000000000190h
