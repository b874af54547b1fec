     0  lea ebx,[rsi+rdi]
     3  movsxd rbx,ebx
     6  neg r8d
     9  add r8d,ebx
     c  movsxd r8,r8d
     f  jmp 0000000001000028h
    14  mov eax,1000h
    19  jmp 0000000000000190h
