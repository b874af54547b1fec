     0  mov eax,2000h
     5  cmp rax,[rbp+1D88h]
     c  jne 0000000000000150h
    12  jmp qword ptr [rbp+1D90h]
    19  mov eax,1FFCh
    1e  jmp 0000000000000190h
