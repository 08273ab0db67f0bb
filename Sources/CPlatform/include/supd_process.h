// Processes by pidfd: calls that glibc 2.36 lacks or whose results are unions.
#ifndef SUPD_PROCESS_H
#define SUPD_PROCESS_H

#include <sys/types.h>

/// How a process ended.
struct supd_exit {
    /// 0 if it has not ended yet.
    pid_t pid;
    /// Whether a signal ended it; `value` is then the signal, else the exit code.
    int signaled;
    /// Whether it dumped core.
    int core_dumped;
    int value;
};

/// Closes all descriptors from this number on, by close_range(2), else one by one up to the limit.
void supd_close_from(int first);

/// execveat(2) of an open file, which may be close-on-exec. Returns -1 with errno: ENOENT for a script whose descriptor is
/// close-on-exec, before anything has changed; by a name of that descriptor, execve(2) would go on, and its interpreter fail.
int supd_execute(int image, char *const arguments[], char *const environment[]);

/// pidfd_open(2). Returns the descriptor, close-on-exec, or -1 with errno.
int supd_pidfd_open(pid_t pid);

/// pidfd_send_signal(2); `group`: with PIDFD_SIGNAL_PROCESS_GROUP (Linux 6.9). Returns 0, or -1 with errno.
int supd_pidfd_signal(int pidfd, int number, int group);

/// waitid(2) with P_PIDFD, WEXITED and WNOHANG; `keep`: WNOWAIT, which leaves the zombie. Returns 0, or -1 with errno.
int supd_pidfd_wait(int pidfd, int keep, struct supd_exit *result);

/// Takes the exit of one child that nobody else knows, by waitid(2) with P_PID and WNOHANG.
int supd_pid_wait(pid_t pid, struct supd_exit *result);

#endif
