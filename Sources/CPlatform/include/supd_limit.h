// prlimit(2): Swift's view of glibc lacks it.
#ifndef SUPD_LIMIT_H
#define SUPD_LIMIT_H

#include <stdint.h>
#include <sys/types.h>

/// prlimit(2) on one resource: soft and hard. `current` gets what was in force before; `wanted` may be NULL. Returns 0,
/// or -1 with errno.
int supd_process_limit(pid_t pid, int resource, const uint64_t wanted[2], uint64_t current[2]);

#endif
