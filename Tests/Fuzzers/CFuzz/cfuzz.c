#include "CFuzz.h"
#include <stdlib.h>

// The runtime's own main refers to it; ours hands another function to the driver.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    abort();
}
