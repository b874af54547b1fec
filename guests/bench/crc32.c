// CRC-32 of a buffer, by table and bit by bit.
#include "bench.h"

static uint32_t table[256];
static uint8_t buffer[65536];

static NOINLINE uint32_t crc_table(uint32_t crc) {
    for (size_t i = 0; i < sizeof buffer; i++)
        crc = table[(crc ^ buffer[i]) & 255] ^ crc >> 8;
    return crc;
}

static NOINLINE uint32_t crc_bits(uint32_t crc) {
    for (size_t i = 0; i < sizeof buffer / 8; i++) {
        crc ^= buffer[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return crc;
}

int main(int argc, char **argv) {
    long rounds = size_argument(argc, argv);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int b = 0; b < 8; b++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = (uint8_t)next_random();
    uint64_t hash = 0;
    for (long r = 0; r < rounds; r++) {
        hash = mix(hash, crc_table((uint32_t)hash));
        hash = mix(hash, crc_bits((uint32_t)hash));
    }
    return report(hash);
}
