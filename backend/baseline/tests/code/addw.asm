     0  lea ebx,[rsi+rdi]
     4  movsxd rbx,ebx
     7  neg r8d
     a  add r8d,ebx
     d  movsxd r8,r8d
    10  jmp 000000000100002Ah
    15  mov eax,1000h
    1a  jmp 0000000000000190h
