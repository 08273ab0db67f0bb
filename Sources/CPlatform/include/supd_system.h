// System headers that Swift's Glibc leaves out, and calls that are variadic or need _GNU_SOURCE.
#ifndef SUPD_SYSTEM_H
#define SUPD_SYSTEM_H

#include <semaphore.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

/// pipe2(2) with O_CLOEXEC. Returns 0, or -1 with errno.
int supd_pipe(int ends[2]);

/// prctl(PR_SET_NAME).
int supd_set_name(const char *name);

/// prctl(PR_SET_CHILD_SUBREAPER, 1).
int supd_become_subreaper(void);

/// sem_clockwait(3) until an instant of CLOCK_MONOTONIC in nanoseconds. Returns 0, or -1 with errno.
int supd_sem_wait_until(sem_t *semaphore, int64_t nanoseconds);

#endif
