#include "CChecksum.h"
#include <string.h>

// Tables for slicing by 8 (Intel, 2006), made on first use by a thread-safe constructor.
static uint32_t table[8][256];

__attribute__((constructor)) static void make_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
        table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int k = 1; k < 8; k++)
            table[k][byte] = (table[k - 1][byte] >> 8) ^ table[0][table[k - 1][byte] & 0xFF];
}

uint32_t downpour_crc32c_portable(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    crc = ~crc;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = 0;
        for (int k = 0; k < 8; k++) crc ^= table[7 - k][(word >> (8 * k)) & 0xFF];
        p += 8;
        size -= 8;
    }
    while (size--) crc = (crc >> 8) ^ table[0][(crc ^ *p++) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    uint64_t c = ~crc;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
        p += 8;
        size -= 8;
    }
    uint32_t c32 = (uint32_t)c;
    while (size--) c32 = __builtin_ia32_crc32qi(c32, *p++);
    return ~c32;
}

__attribute__((target("sse4.2")))
static uint32_t crc32c_frame_sse42(const uint8_t *frame, size_t size) {
    uint32_t first;
    memcpy(&first, frame + 4, 4);
    uint64_t c = __builtin_ia32_crc32si(~0u, first);
    for (size_t at = 8; at < size; at += 8) {
        uint64_t word;
        memcpy(&word, frame + at, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    return ~(uint32_t)c;
}

static int has_sse42;
__attribute__((constructor)) static void detect(void) {
    __builtin_cpu_init();
    has_sse42 = __builtin_cpu_supports("sse4.2");
}

uint32_t downpour_crc32c(uint32_t crc, const void *bytes, size_t size) {
    return has_sse42 ? crc32c_sse42(crc, bytes, size) : downpour_crc32c_portable(crc, bytes, size);
}

uint32_t downpour_crc32c_frame(const void *frame, size_t size) {
    return has_sse42 ? crc32c_frame_sse42(frame, size)
                     : downpour_crc32c_portable(0, (const uint8_t *)frame + 4, size - 4);
}
#else
uint32_t downpour_crc32c_frame(const void *frame, size_t size) {
    return downpour_crc32c_portable(0, (const uint8_t *)frame + 4, size - 4);
}

uint32_t downpour_crc32c(uint32_t crc, const void *bytes, size_t size) {
    return downpour_crc32c_portable(crc, bytes, size);
}
#endif
