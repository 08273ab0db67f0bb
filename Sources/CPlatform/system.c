#define _GNU_SOURCE
#include "supd_system.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

int supd_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int supd_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int supd_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

int supd_sem_wait_until(sem_t *semaphore, int64_t nanoseconds) {
    struct timespec until = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return sem_clockwait(semaphore, CLOCK_MONOTONIC, &until);
}
