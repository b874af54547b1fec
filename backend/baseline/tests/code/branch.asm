     0  nop
     1  cmp rbx,rsi
     4  jb 0000000001000037h
     a  test rbx,rbx
     d  je 0000000001000041h
    13  cmp qword ptr [rbp-18h],10h
    18  jge 000000000100004Bh
    1e  jmp 0000000001000055h
    23  mov eax,1000h
    28  jmp 0000000000000190h
