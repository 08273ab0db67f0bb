#define _GNU_SOURCE
#include "supd_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1U << 2)
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

void supd_close_from(int first) {
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
    // The limit may be a billion: only what is open is closed, until nothing is found any more.
    for (int found = 1; found;) {
        DIR *directory = opendir("/proc/self/fd");
        if (!directory) break;
        found = 0;
        for (struct dirent *entry; (entry = readdir(directory));) {
            int number = atoi(entry->d_name);
            if (number >= first && number != dirfd(directory) && close(number) == 0) found = 1;
        }
        closedir(directory);
        if (!found) return;
    }
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int number = first; (rlim_t)number < limit.rlim_cur && number < 65536; number++) close(number);
}

int supd_execute(int image, char *const arguments[], char *const environment[]) {
    return (int)syscall(SYS_execveat, image, "", arguments, environment, AT_EMPTY_PATH);
}

int supd_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int supd_pidfd_signal(int pidfd, int number, int group) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, group ? PIDFD_SIGNAL_PROCESS_GROUP : 0);
}

static int wait_for(idtype_t type, id_t id, int options, struct supd_exit *result) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    memset(result, 0, sizeof *result);
    if (waitid(type, id, &info, options) != 0) return -1;
    result->pid = info.si_pid;
    result->signaled = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
    result->core_dumped = info.si_code == CLD_DUMPED;
    result->value = info.si_status;
    return 0;
}

int supd_pidfd_wait(int pidfd, int keep, struct supd_exit *result) {
    return wait_for((idtype_t)P_PIDFD, (id_t)pidfd, WEXITED | WNOHANG | (keep ? WNOWAIT : 0), result);
}

int supd_pid_wait(pid_t pid, struct supd_exit *result) {
    return wait_for(P_PID, (id_t)pid, WEXITED | WNOHANG, result);
}
