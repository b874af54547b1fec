     0  mov rbx,rsi
     3  shl rbx,3
     7  add rbx,rdi
     a  nop [rax]
     d  jmp 0000000001000026h
    12  mov eax,1000h
    17  jmp 0000000000000190h
