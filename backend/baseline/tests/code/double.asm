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
    4c  jmp 0000000001000104h
    51  mov eax,1000h
    56  jmp 0000000000000190h
    5b  vmovsd xmm3,[600h]
    63  jmp 0000000001000019h
    68  vmovsd [rbp-240h],xmm4
    70  vmovsd [rbp-238h],xmm5
    78  vmovsd [rbp-230h],xmm6
    80  mov qword ptr [rbp-228h],50532h
    8b  call 0000000000000320h
    90  vmovsd xmm0,[rbp-240h]
    98  jmp 000000000100002Ch
    9d  vmovsd [rbp-240h],xmm3
    a5  mov qword ptr [rbp-228h],10547h
    b0  call 0000000000000320h
    b5  mov rsi,[rbp-240h]
    bc  jmp 0000000001000049h
    c1  jp short 00000000010000D7h
    c3  vorps xmm7,xmm4,xmm5
    c7  jmp 0000000001000057h
    cc  vmovsd [rbp-240h],xmm4
    d4  vmovsd [rbp-238h],xmm5
    dc  mov qword ptr [rbp-228h],536h
    e7  call 0000000000000320h
    ec  vmovsd xmm7,[rbp-240h]
    f4  jmp 0000000001000057h
