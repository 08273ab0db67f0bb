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

#include "child_side.h"

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif

// The kernel's signal sets are 64 bits wide on x86-64 and arm64.
enum { KERNEL_SIGNAL_SET_SIZE = 8, KERNEL_SIGNAL_COUNT = 64 };

CHILD_SIDE _Noreturn static void fail(int status, enum supd_spawn_stage stage, long error, int limit) {
    struct supd_spawn_failure failure = {.stage = stage, .code = (int32_t)-error, .limit = limit};
    // Shorter than PIPE_BUF into an empty pipe: written whole, at once.
    CHILD_CALL(SYS_write, status, &failure, sizeof failure);
    for (;;) CHILD_CALL(SYS_exit_group, 127);
}

// Ends the child if a call has failed.
CHILD_SIDE static void require(long result, int status, enum supd_spawn_stage stage) {
    if (result < 0) fail(status, stage, result, 0);
}

// Puts the plan's descriptors at 0, 1, 2, …, the status pipe right above them, and closes all else. Returns the number
// of the status pipe.
CHILD_SIDE static int place_descriptors(const struct supd_spawn_plan *plan) {
    int count = (int)plan->descriptor_count;
    // Out of the way first: whatever is at a number that is about to be taken.
    int status = plan->status;
    if (status <= count) {
        long moved = CHILD_CALL(SYS_fcntl, status, F_DUPFD_CLOEXEC, count + 1);
        require(moved, plan->status, SUPD_STAGE_DESCRIPTORS);
        status = (int)moved;
    }
    long null = -1;
    long moved[count > 0 ? count : 1];
    for (int i = 0; i < count; i++) {
        long source = plan->descriptors[i];
        if (source == SUPD_CLOSED) {
            moved[i] = SUPD_CLOSED;
            continue;
        }
        if (source < 0) {
            if (null < 0) {
                null = CHILD_CALL(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
                require(null, status, SUPD_STAGE_DESCRIPTORS);
            }
            source = null;
        }
        moved[i] = source > count ? source : CHILD_CALL(SYS_fcntl, source, F_DUPFD_CLOEXEC, count + 1);
        require(moved[i], status, SUPD_STAGE_DESCRIPTORS);
    }
    for (int i = 0; i < count; i++) {
        if (moved[i] == SUPD_CLOSED) {
            CHILD_CALL(SYS_close, i);
        } else {
            require(CHILD_CALL(SYS_dup3, moved[i], i, 0), status, SUPD_STAGE_DESCRIPTORS);
        }
    }
    require(CHILD_CALL(SYS_dup3, status, count, O_CLOEXEC), status, SUPD_STAGE_DESCRIPTORS);
    status = count;

    long closed = plan->without_new_calls ? -1 : CHILD_CALL(SYS_close_range, count + 1, ~0U, 0);
    if (closed != 0) {
        struct rlimit64 open_files = {.rlim_cur = 1024};
        CHILD_CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &open_files);
        for (uint64_t number = (uint64_t)count + 1; number < open_files.rlim_cur; number++) {
            CHILD_CALL(SYS_close, number);
        }
    }
    return status;
}

CHILD_SIDE static void reset_signals(int status) {
    // Zeros are SIG_DFL, no flags, an empty mask, in whatever order the kernel has them.
    uint64_t action[8] = {0};
    for (int number = 1; number <= KERNEL_SIGNAL_COUNT; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        require(CHILD_CALL(SYS_rt_sigaction, number, action, 0, KERNEL_SIGNAL_SET_SIZE), status, SUPD_STAGE_SIGNALS);
    }
    uint64_t none = 0;
    require(CHILD_CALL(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, KERNEL_SIGNAL_SET_SIZE), status, SUPD_STAGE_SIGNALS);
}

CHILD_SIDE static void reset_oom_score(int status) {
    long file = CHILD_CALL(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    long written = file < 0 ? file : CHILD_CALL(SYS_write, file, "0", 1);
    if (file >= 0) CHILD_CALL(SYS_close, file);
    // Lowering it needs a capability, and some containers have no writable /proc: not worth a failed start.
    if (written == -EACCES || written == -EPERM || written == -ENOENT || written == -EROFS) return;
    require(written, status, SUPD_STAGE_OOM_SCORE);
}

CHILD_SIDE static void change_credentials(const struct supd_spawn_plan *plan, int status) {
    require(CHILD_CALL(SYS_setgroups, plan->group_count, plan->groups), status, SUPD_STAGE_GROUPS);
    require(CHILD_CALL(SYS_setresgid, plan->group, plan->group, plan->group), status, SUPD_STAGE_GROUP);
    require(CHILD_CALL(SYS_setresuid, plan->user, plan->user, plan->user), status, SUPD_STAGE_USER);
}

CHILD_SIDE _Noreturn static void execute(const struct supd_spawn_plan *plan, int status) {
    long error = -ENOENT;
    int is_denied = 0;
    for (const char *const *path = plan->candidates; *path; path++) {
        error = CHILD_CALL(SYS_execve, *path, plan->arguments, plan->environment);
        if (error == -EACCES) is_denied = 1;
        if (error != -EACCES && error != -ENOENT && error != -ENOTDIR) break;
    }
    if (is_denied && (error == -ENOENT || error == -ENOTDIR)) error = -EACCES;
    fail(status, SUPD_STAGE_EXECUTE, error, 0);
}

// What does not depend on the program. Returns the number of the status pipe.
CHILD_SIDE static int prepare(const struct supd_spawn_plan *plan) {
    require(CHILD_CALL(SYS_setsid), plan->status, SUPD_STAGE_SESSION);
    int status = place_descriptors(plan);
    reset_signals(status);
    if (plan->resets_oom_score) reset_oom_score(status);
    return status;
}

CHILD_SIDE static void die_with(pid_t parent, int status) {
    // A parent that died before it was set sends nothing.
    require(CHILD_CALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), status, SUPD_STAGE_PARENT_DEATH);
    if (CHILD_CALL(SYS_getppid) != parent) fail(status, SUPD_STAGE_PARENT_DEATH, -ESRCH, 0);
}

// Writes the decimal digits of this process's id, and a NUL.
CHILD_SIDE static void write_pid(char *place) {
    char digits[SUPD_PID_ROOM];
    int count = 0;
    unsigned long pid = (unsigned long)CHILD_CALL(SYS_getpid);
    do {
        digits[count++] = (char)('0' + pid % 10);
        pid /= 10;
    } while (pid > 0 && count < SUPD_PID_ROOM - 1);
    for (int i = 0; i < count; i++) place[i] = digits[count - 1 - i];
    place[count] = 0;
}

CHILD_SIDE _Noreturn static void become(const struct supd_spawn_plan *plan, int status, pid_t parent) {
    if (plan->mask >= 0) CHILD_CALL(SYS_umask, plan->mask);
    for (size_t i = 0; i < plan->pid_place_count; i++) write_pid(plan->pid_places[i]);
    // Before the change of credentials: raising a hard limit is a privilege. After all that opens descriptors.
    for (size_t i = 0; i < plan->limit_count; i++) {
        struct rlimit64 limit = {.rlim_cur = plan->limits[i].soft, .rlim_max = plan->limits[i].hard};
        long set = CHILD_CALL(SYS_prlimit64, 0, plan->limits[i].resource, &limit, 0);
        if (set < 0) fail(status, SUPD_STAGE_LIMIT, set, plan->limits[i].resource);
    }
    if (plan->sets_credentials) change_credentials(plan, status);
    if (plan->no_new_privileges) require(CHILD_CALL(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), status, SUPD_STAGE_USER);
    // As the user who will run there, so that the user's permissions count.
    if (plan->directory) require(CHILD_CALL(SYS_chdir, plan->directory), status, SUPD_STAGE_DIRECTORY);
    // Last, for a change of credentials clears it.
    if (plan->dies_with_parent) die_with(parent, status);
    execute(plan, status);
}

enum { MAPPING_LIMIT = 128 };

struct mapping {
    uintptr_t start;
    uintptr_t end;
};

// Reads the address ranges of this process, of every line of /proc/self/maps the two first numbers; answers how many.
CHILD_SIDE static size_t read_mappings(struct mapping *mappings) {
    long file = CHILD_CALL(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    size_t count = 0;
    uintptr_t number = 0;
    enum { START, END, REST } field = START;
    char text[1024];
    long length;
    while (count < MAPPING_LIMIT && (length = CHILD_CALL(SYS_read, file, text, sizeof text)) > 0) {
        for (long i = 0; i < length && count < MAPPING_LIMIT; i++) {
            char character = text[i];
            if (character == '\n') {
                field = START;
                number = 0;
            } else if (field == START && character == '-') {
                mappings[count].start = number;
                field = END;
                number = 0;
            } else if (field == END && character == ' ') {
                mappings[count++].end = number;
                field = REST;
            } else if (field != REST) {
                number = number << 4 | (uintptr_t)(character <= '9' ? character - '0' : character - 'a' + 10);
            }
        }
    }
    CHILD_CALL(SYS_close, file);
    return count;
}

// Gives back all memory but what is used from here to exec, which then has less to do: libc is gone afterwards, and so
// are all variables but the stack's and the orders.
CHILD_SIDE static void shed_memory(const struct supd_spawn_orders *orders) {
#ifndef CHILD_KEEPS_MEMORY
    struct mapping mappings[MAPPING_LIMIT];
    // The code, the stack, the orders, and what belongs to the thread (the canary of the stack).
    const uintptr_t kept[] = {
        (uintptr_t)become, (uintptr_t)mappings, (uintptr_t)orders, (uintptr_t)__errno_location()};
    size_t count = read_mappings(mappings);
    for (size_t i = 0; i < count; i++) {
        int is_kept = 0;
        for (size_t k = 0; k < sizeof kept / sizeof *kept; k++) {
            is_kept |= kept[k] >= mappings[i].start && kept[k] < mappings[i].end;
        }
        // What is the kernel's own stays there.
        if (!is_kept) CHILD_CALL(SYS_munmap, mappings[i].start, mappings[i].end - mappings[i].start);
    }
#endif
}

CHILD_SIDE static void await(struct supd_spawn_orders *orders) {
    CHILD_CALL(SYS_prctl, PR_SET_NAME, "supd: spare");
    shed_memory(orders);
    // Page faults now are none later.
    const volatile unsigned char *memory = (const volatile unsigned char *)orders;
    for (size_t offset = 0; offset < orders->size; offset += 4096) (void)memory[offset];
    (void)*(const volatile unsigned char *)(uintptr_t)become;
    (void)*(const volatile unsigned char *)(uintptr_t)execute;
    while (__atomic_load_n(&orders->goes, __ATOMIC_ACQUIRE) == 0) {
        CHILD_CALL(SYS_futex, &orders->goes, FUTEX_WAIT, 0, 0);
    }
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
    // It may have been put on this processor, and what the caller does next can wait.
    syscall(SYS_sched_yield);
}
