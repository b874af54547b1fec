     0  movsxd rbx,[rsi+10h]
     4  mov [rdi-1],r8b
     8  mov qword ptr [rdi],0
     f  mov rax,[rbp-10h]
    13  mov rcx,[rax]
    16  mov [rbp-18h],rcx
    1a  xchg ax,ax
    1c  jmp 0000000001000036h
    21  mov eax,1000h
    26  jmp 0000000000000190h
