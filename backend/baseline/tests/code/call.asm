     0  mov ebx,1004h
     5  call 0000000001000036h
     a  cmp rax,[1000050h]
    11  jne 00000000000001C0h
    17  add rsi,1
    1b  nop
    1c  jmp 0000000001000040h
    21  mov eax,1000h
    26  jmp 0000000000000190h
