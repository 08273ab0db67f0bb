#define _GNU_SOURCE
#include "processes.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int cplatform_process_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int cplatform_process_signal(int pidfd, int number) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

int cplatform_process_limit(pid_t pid, int resource, const uint64_t wanted[2], uint64_t current[2]) {
    // The raw call: its struct has 64-bit members on every architecture, as here.
    return (int)syscall(SYS_prlimit64, pid, resource, wanted, current);
}
