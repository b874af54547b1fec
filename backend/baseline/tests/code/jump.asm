     0  mov rax,rbx
     3  mov ecx,eax
     5  and ecx,1FFEh
     b  cmp rax,[rbp+rcx*8+1D88h]
    13  jne 0000000000000150h
    19  jmp qword ptr [rbp+rcx*8+1D90h]
    21  mov eax,1000h
    26  jmp 0000000000000190h
