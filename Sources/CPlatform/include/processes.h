// Calls on other processes that Swift's view of glibc lacks.
#ifndef CPLATFORM_PROCESSES_H
#define CPLATFORM_PROCESSES_H

#include <stdint.h>
#include <sys/types.h>

// pidfd_open(2): a descriptor (close-on-exec) for the process, or -1 and errno.
int cplatform_process_open(pid_t pid);

// pidfd_send_signal(2): 0, or -1 and errno.
int cplatform_process_signal(int pidfd, int number);

// prlimit(2) on one resource. `current` gets soft and hard before the change; `wanted` may be NULL. 0, or -1 and errno.
int cplatform_process_limit(pid_t pid, int resource, const uint64_t wanted[2], uint64_t current[2]);

#endif
