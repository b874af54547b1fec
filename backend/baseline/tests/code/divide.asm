     0  mov rax,rsi
     3  lea rdx,[rdi+1]
     7  cmp rdx,1
     b  jbe 0000000001000046h
    11  cqo
    13  idiv rdi
    16  mov rbx,rax
    19  mov rax,r8
    1c  mov ecx,0Ah
    21  xor edx,edx
    23  div rcx
    26  mov r8,rdx
    29  nop [rax]
    2c  jmp 0000000001000057h
    31  mov eax,1000h
    36  jmp 0000000000000190h
    3b  neg rax
    3e  test rdi,rdi
    41  jne short 0000000001000052h
    43  or rax,0FFFFFFFFFFFFFFFFh
    47  jmp 0000000001000021h
