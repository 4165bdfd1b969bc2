// libFuzzer's entry point; clang's runtime brings it along under -sanitize=fuzzer.
#ifndef DOWNPOUR_CFUZZ_H
#define DOWNPOUR_CFUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(
    int *argc, char ***argv, int (*test)(const uint8_t *data, size_t size));

#endif
