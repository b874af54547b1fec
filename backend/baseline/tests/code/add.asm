     0  lea rbx,[rsi+rdi]
     4  add r8,8
     8  add r9,r10
     b  add r11,r10
     e  add qword ptr [rbp-18h],1
    13  mov rbx,[rbp-18h]
    17  add rbx,[rbp-10h]
    1b  xchg ax,ax
    1d  jmp 0000000001000036h
    22  mov eax,1000h
    27  jmp 0000000000000190h
