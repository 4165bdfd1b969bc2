#pragma once
// What Swift cannot say: a prefetch instruction. Inlined into the caller.

static inline void downpour_prefetch(const void *address) {
    __builtin_prefetch(address, 1, 3);
}
