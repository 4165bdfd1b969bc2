#ifndef DOWNPOUR_ALLOCATION_COUNTER_H
#define DOWNPOUR_ALLOCATION_COUNTER_H

#include <stdint.h>

// Counts what this thread takes from the heap, by standing in front of malloc and its kin in the
// process that links it. Under a sanitizer, which has a heap of its own, nothing is counted.

// Whether calls are counted at all in this build.
int downpour_counts_allocations(void);

// Allocations of the calling thread since it began.
uint64_t downpour_allocations(void);

#endif
