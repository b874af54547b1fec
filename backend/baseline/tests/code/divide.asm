     0  mov rax,rsi
     3  lea rdx,[rdi+1]
     7  cmp rdx,1
     b  jbe 0000000001000042h
    11  cqo
    13  idiv rdi
    16  mov rbx,rax
    19  mov rax,r8
    1c  mov ecx,0Ah
    21  xor edx,edx
    23  div rcx
    26  mov r8,rdx
    29  jmp 0000000001000053h
    2e  mov eax,1000h
    33  jmp 0000000000000190h
    38  neg rax
    3b  test rdi,rdi
    3e  jne short 000000000100004Eh
    40  or rax,0FFFFFFFFFFFFFFFFh
    44  jmp 0000000001000020h
