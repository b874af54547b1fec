     0  lea rbx,[rsi+rdi]
     4  add r8,8
     8  add r9,r10
     b  add r11,r10
     e  add qword ptr [rbp-18h],1
    13  mov rbx,[rbp-18h]
    17  add rbx,[rbp-10h]
    1b  nop
    1c  jmp 0000000001000036h
    21  mov eax,1000h
    26  jmp 0000000000000190h
