// The little that our freestanding guest programs need: no libc, the same on every machine.
#ifndef RUNTIME_H
#define RUNTIME_H
#include <stddef.h>
#include <stdint.h>

// The program. Its result is the exit status.
int run(void);

// Prints to the standard output. Knows %s, %c, %u (unsigned), %lu (64 bits), %x (8 digits), %%.
void print(const char *format, ...);

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
#endif
