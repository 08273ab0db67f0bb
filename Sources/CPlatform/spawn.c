#define _GNU_SOURCE
#include "supd_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif

// The child makes raw system calls only. glibc's setresuid and its like would look for other threads, which do not
// exist in the child of a raw clone; a sanitizer's interceptors might wait for a lock that another thread held.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHILD_SIDE __attribute__((no_sanitize("thread")))
#endif
#endif
#ifndef CHILD_SIDE
#define CHILD_SIDE
#endif

// The kernel's signal sets are 64 bits wide on x86-64 and arm64.
enum { KERNEL_SIGNAL_SET_SIZE = 8, KERNEL_SIGNAL_COUNT = 64 };

CHILD_SIDE _Noreturn static void fail(int status, enum supd_spawn_stage stage, int code, int limit) {
    struct supd_spawn_failure failure = {.stage = stage, .code = code, .limit = limit};
    // Shorter than PIPE_BUF into an empty pipe: written whole, at once.
    syscall(SYS_write, status, &failure, sizeof failure);
    for (;;) syscall(SYS_exit_group, 127);
}

// Puts the plan's descriptors at 0, 1, 2, …, the status pipe right above them, and closes all else. Returns the number
// of the status pipe.
CHILD_SIDE static int place_descriptors(const struct supd_spawn_plan *plan) {
    int count = (int)plan->descriptor_count;
    // Out of the way first: whatever is at a number that is about to be taken.
    int status = plan->status;
    if (status <= count) {
        status = (int)syscall(SYS_fcntl, status, F_DUPFD_CLOEXEC, count + 1);
        if (status < 0) fail(plan->status, SUPD_STAGE_DESCRIPTORS, errno, 0);
    }
    int null = -1;
    int moved[count > 0 ? count : 1];
    for (int i = 0; i < count; i++) {
        int source = plan->descriptors[i];
        if (source < 0) {
            if (null < 0) {
                null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
                if (null < 0) fail(status, SUPD_STAGE_DESCRIPTORS, errno, 0);
            }
            source = null;
        }
        moved[i] = source > count ? source : (int)syscall(SYS_fcntl, source, F_DUPFD_CLOEXEC, count + 1);
        if (moved[i] < 0) fail(status, SUPD_STAGE_DESCRIPTORS, errno, 0);
    }
    for (int i = 0; i < count; i++) {
        if (syscall(SYS_dup3, moved[i], i, 0) < 0) fail(status, SUPD_STAGE_DESCRIPTORS, errno, 0);
    }
    if (syscall(SYS_dup3, status, count, O_CLOEXEC) < 0) fail(status, SUPD_STAGE_DESCRIPTORS, errno, 0);
    status = count;

    long closed = plan->without_new_calls ? -1 : syscall(SYS_close_range, count + 1, ~0U, 0);
    if (closed != 0) {
        struct rlimit64 open_files = {.rlim_cur = 1024};
        syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &open_files);
        for (uint64_t number = (uint64_t)count + 1; number < open_files.rlim_cur; number++) {
            syscall(SYS_close, number);
        }
    }
    return status;
}

CHILD_SIDE static void reset_signals(int status) {
    // Zeros are SIG_DFL, no flags, an empty mask, in whatever order the kernel has them.
    uint64_t action[8] = {0};
    for (int number = 1; number <= KERNEL_SIGNAL_COUNT; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        if (syscall(SYS_rt_sigaction, number, action, NULL, KERNEL_SIGNAL_SET_SIZE) != 0) {
            fail(status, SUPD_STAGE_SIGNALS, errno, 0);
        }
    }
    uint64_t none = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, KERNEL_SIGNAL_SET_SIZE) != 0) {
        fail(status, SUPD_STAGE_SIGNALS, errno, 0);
    }
}

CHILD_SIDE static void reset_oom_score(int status) {
    int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    long written = file < 0 ? -1 : syscall(SYS_write, file, "0", 1);
    int code = errno;
    if (file >= 0) syscall(SYS_close, file);
    // Lowering it needs a capability, and some containers have no writable /proc: not worth a failed start.
    if (written < 0 && code != EACCES && code != EPERM && code != ENOENT && code != EROFS) {
        fail(status, SUPD_STAGE_OOM_SCORE, code, 0);
    }
}

CHILD_SIDE static void change_credentials(const struct supd_spawn_plan *plan, int status) {
    if (syscall(SYS_setgroups, plan->group_count, plan->groups) != 0) fail(status, SUPD_STAGE_GROUPS, errno, 0);
    if (syscall(SYS_setresgid, plan->group, plan->group, plan->group) != 0) fail(status, SUPD_STAGE_GROUP, errno, 0);
    if (syscall(SYS_setresuid, plan->user, plan->user, plan->user) != 0) fail(status, SUPD_STAGE_USER, errno, 0);
}

CHILD_SIDE _Noreturn static void execute(const struct supd_spawn_plan *plan, int status) {
    int code = ENOENT;
    int is_denied = 0;
    for (const char *const *path = plan->candidates; *path; path++) {
        syscall(SYS_execve, *path, plan->arguments, plan->environment);
        code = errno;
        if (code == EACCES) is_denied = 1;
        if (code != EACCES && code != ENOENT && code != ENOTDIR) break;
    }
    if (is_denied && (code == ENOENT || code == ENOTDIR)) code = EACCES;
    fail(status, SUPD_STAGE_EXECUTE, code, 0);
}

// What does not depend on the program. Returns the number of the status pipe.
CHILD_SIDE static int prepare(const struct supd_spawn_plan *plan) {
    if (syscall(SYS_setsid) < 0) fail(plan->status, SUPD_STAGE_SESSION, errno, 0);
    int status = place_descriptors(plan);
    reset_signals(status);
    if (plan->resets_oom_score) reset_oom_score(status);
    return status;
}

CHILD_SIDE static void die_with(pid_t parent, int status) {
    // A parent that died before it was set sends nothing.
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) {
        fail(status, SUPD_STAGE_PARENT_DEATH, errno, 0);
    }
    if ((pid_t)syscall(SYS_getppid) != parent) fail(status, SUPD_STAGE_PARENT_DEATH, ESRCH, 0);
}

CHILD_SIDE static void await(struct supd_spawn_orders *orders) {
    syscall(SYS_prctl, PR_SET_NAME, "supd: spare");
    // Page faults now are none later.
    const volatile unsigned char *memory = (const volatile unsigned char *)orders;
    for (size_t offset = 0; offset < orders->size; offset += 4096) (void)memory[offset];
    while (__atomic_load_n(&orders->goes, __ATOMIC_ACQUIRE) == 0) {
        syscall(SYS_futex, &orders->goes, FUTEX_WAIT, 0, NULL, NULL, 0);
    }
}

CHILD_SIDE _Noreturn static void become(const struct supd_spawn_plan *plan, int status, pid_t parent) {
    if (plan->mask >= 0) syscall(SYS_umask, plan->mask);
    // Before the change of credentials: raising a hard limit is a privilege. After all that opens descriptors.
    for (size_t i = 0; i < plan->limit_count; i++) {
        struct rlimit64 limit = {.rlim_cur = plan->limits[i].soft, .rlim_max = plan->limits[i].hard};
        if (syscall(SYS_prlimit64, 0, plan->limits[i].resource, &limit, NULL) != 0) {
            fail(status, SUPD_STAGE_LIMIT, errno, plan->limits[i].resource);
        }
    }
    if (plan->sets_credentials) change_credentials(plan, status);
    if (plan->no_new_privileges && syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        fail(status, SUPD_STAGE_USER, errno, 0);
    }
    // As the user who will run there, so that the user's permissions count.
    if (plan->directory && syscall(SYS_chdir, plan->directory) != 0) fail(status, SUPD_STAGE_DIRECTORY, errno, 0);
    // Last, for a change of credentials clears it.
    if (plan->dies_with_parent) die_with(parent, status);
    execute(plan, status);
}

int supd_spawn(
    const struct supd_spawn_plan *plan, struct supd_spawn_orders *orders, struct supd_spawn_result *result) {
    pid_t parent = getpid();
    int pidfd = -1;
    // No handler of the parent may run in the child.
    uint64_t all = ~0ULL;
    uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, KERNEL_SIGNAL_SET_SIZE);

    struct clone_args arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    arguments.pidfd = (uint64_t)(uintptr_t)&pidfd;
    arguments.exit_signal = SIGCHLD;
    long pid = -1;
    errno = ENOSYS;
    if (!plan->without_new_calls) pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid < 0 && (errno == ENOSYS || errno == EPERM)) {
        // Seccomp filters of older container runtimes refuse clone3, whose arguments they cannot see. clone knows
        // CLONE_PIDFD as well, in place of the parent's thread id: its third argument on every architecture.
        pid = syscall(SYS_clone, (unsigned long)(CLONE_PIDFD | SIGCHLD), NULL, &pidfd, NULL, NULL);
    }
    if (pid == 0) {
        int status = prepare(plan);
        if (orders) {
            if (plan->dies_with_parent) die_with(parent, status);
            await(orders);
        }
        become(orders ? &orders->plan : plan, status, parent);
    }
    int code = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, KERNEL_SIGNAL_SET_SIZE);
    if (pid < 0) {
        errno = code;
        return -1;
    }
    result->pid = (pid_t)pid;
    result->pidfd = pidfd;
    return 0;
}

void supd_spawn_go(struct supd_spawn_orders *orders) {
    __atomic_store_n(&orders->goes, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &orders->goes, FUTEX_WAKE, 1, NULL, NULL, 0);
}
