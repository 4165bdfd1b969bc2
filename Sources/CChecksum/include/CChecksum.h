#pragma once
#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli; RFC 3720, B.4) of `size` bytes, continuing from `crc` (0 to begin).
/// Uses the CPU's instruction where there is one; the result never depends on it.
uint32_t downpour_crc32c(uint32_t crc, const void *bytes, size_t size);
/// The portable path, for tests that compare the two.
uint32_t downpour_crc32c_portable(uint32_t crc, const void *bytes, size_t size);

/// CRC-32C of the `size - 4` bytes that follow a frame's own 4 checksum bytes.
/// `size` is a multiple of 8 and at least 8: one instruction a word, no tail.
uint32_t downpour_crc32c_frame(const void *frame, size_t size);
