#pragma once
#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli; RFC 3720, B.4) of `size` bytes, continuing from `crc` (0 to begin).
/// Uses the CPU's instruction where there is one; the result never depends on it.
uint32_t downpour_crc32c(uint32_t crc, const void *bytes, size_t size);
/// The portable path, for tests that compare the two.
uint32_t downpour_crc32c_portable(uint32_t crc, const void *bytes, size_t size);
