     0  cmp rbx,rsi
     3  jb 0000000001000037h
     9  test rbx,rbx
     c  je 0000000001000041h
    12  cmp qword ptr [rbp-18h],10h
    17  jge 000000000100004Bh
    1d  jmp 0000000001000055h
    22  mov eax,1000h
    27  jmp 0000000000000190h
