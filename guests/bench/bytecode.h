// A small stack machine's byte code and one program for it, run by two kinds of interpreter.
#ifndef BYTECODE_H
#define BYTECODE_H
#include "bench.h"

#define OPCODES(X) \
    X(PUSH) X(LOAD) X(STORE) X(ADD) X(MUL) X(XOR) X(SHR) X(LESS) X(JUMP) X(JUMP_IF_ZERO) X(HALT)
#define NAME(op) op,
enum { OPCODES(NAME) };

// Variables: 0 = i, 1 = n, 2 = hash, 3 = shifted.
// while (i < n) { shifted = hash >> 7; hash = ((hash ^ i) * 31 + i) ^ shifted; i += 1; }
static const int32_t program[] = {
    LOAD, 0, LOAD, 1, LESS, JUMP_IF_ZERO, 39,
    LOAD, 2, PUSH, 7, SHR, STORE, 3,
    LOAD, 2, LOAD, 0, XOR, PUSH, 31, MUL, LOAD, 0, ADD, LOAD, 3, XOR, STORE, 2,
    LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 0,
    HALT,
};
_Static_assert(sizeof program / sizeof *program == 40, "the loop's exit is the last opcode");
#endif
