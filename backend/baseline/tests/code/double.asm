     0  vaddsd xmm3,xmm4,xmm5
     4  vucomisd xmm3,xmm3
     8  jp 0000000001000066h
     e  vmovaps xmm0,xmm6
    12  vfmadd231sd xmm0,xmm4,xmm5
    17  vucomisd xmm0,xmm0
    1b  jp 0000000001000073h
    21  vmovaps xmm6,xmm0
    25  xor ebx,ebx
    27  vcomisd xmm5,xmm4
    2b  seta bl
    2f  vcvttsd2si rsi,xmm3
    34  cmp rsi,1
    38  jo 00000000010000A8h
    3e  vucomisd xmm4,xmm5
    42  je 00000000010000CCh
    48  vminsd xmm7,xmm4,xmm5
    4c  nop
    4d  jmp 0000000001000104h
    52  mov eax,1000h
    57  jmp 0000000000000190h
    5c  vmovsd xmm3,[600h]
    64  jmp 0000000001000018h
    69  vmovsd [rbp-240h],xmm4
    71  vmovsd [rbp-238h],xmm5
    79  vmovsd [rbp-230h],xmm6
    81  mov qword ptr [rbp-228h],50532h
    8c  call 0000000000000320h
    91  vmovsd xmm0,[rbp-240h]
    99  jmp 000000000100002Bh
    9e  vmovsd [rbp-240h],xmm3
    a6  mov qword ptr [rbp-228h],10547h
    b1  call 0000000000000320h
    b6  mov rsi,[rbp-240h]
    bd  jmp 0000000001000048h
    c2  jp short 00000000010000D7h
    c4  vorps xmm7,xmm4,xmm5
    c8  jmp 0000000001000056h
    cd  vmovsd [rbp-240h],xmm4
    d5  vmovsd [rbp-238h],xmm5
    dd  mov qword ptr [rbp-228h],536h
    e8  call 0000000000000320h
    ed  vmovsd xmm7,[rbp-240h]
    f5  jmp 0000000001000056h
