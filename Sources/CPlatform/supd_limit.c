#define _GNU_SOURCE
#include "supd_limit.h"

#include <sys/syscall.h>
#include <unistd.h>

int supd_process_limit(pid_t pid, int resource, const uint64_t wanted[2], uint64_t current[2]) {
    // The raw call: its struct has 64-bit members on every architecture, as here.
    return (int)syscall(SYS_prlimit64, pid, resource, wanted, current);
}
