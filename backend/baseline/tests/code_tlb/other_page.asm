     0  mov rdx,[rbp-0C8h]
     7  mov eax,2000h
     c  cmp rax,[rdx]
     f  jne 0000000000000150h
    15  jmp qword ptr [rdx+8]
    19  mov eax,1FFCh
    1e  jmp 0000000000000190h
