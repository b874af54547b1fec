     0  mov rax,rbx
     3  and rax,0FFFFFFFFFFFFFFFEh
     7  ret
     8  mov eax,1000h
     d  jmp 0000000000000190h
