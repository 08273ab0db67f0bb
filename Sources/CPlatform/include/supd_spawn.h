// Starting a process: what happens between clone and exec, where no Swift may run and nothing may be allocated.
#ifndef SUPD_SPAWN_H
#define SUPD_SPAWN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// The steps of a start in their order; a failure names one.
enum supd_spawn_stage {
    SUPD_STAGE_PREPARE,
    SUPD_STAGE_FORK,
    SUPD_STAGE_SESSION,
    SUPD_STAGE_DESCRIPTORS,
    SUPD_STAGE_SIGNALS,
    SUPD_STAGE_OOM_SCORE,
    SUPD_STAGE_LIMIT,
    SUPD_STAGE_GROUPS,
    SUPD_STAGE_GROUP,
    SUPD_STAGE_USER,
    SUPD_STAGE_DIRECTORY,
    SUPD_STAGE_PARENT_DEATH,
    SUPD_STAGE_EXECUTE,
};

/// The most characters of a process id, with the NUL at its end.
#define SUPD_PID_ROOM 12

/// In a plan's descriptors: this number is not open in the child.
#define SUPD_CLOSED (-2)

/// One prlimit(2) setting.
struct supd_spawn_limit {
    int resource;
    uint64_t soft;
    uint64_t hard;
};

/// All that the child needs. Every pointer stays valid until supd_spawn returns in the parent (the child has a copy of
/// the address space).
struct supd_spawn_plan {
    /// Paths for execve(2), in order, ended by NULL.
    const char *const *candidates;
    char *const *arguments;
    char *const *environment;
    /// Where the child writes its own process id, each with room for SUPD_PID_ROOM characters: the values of variables of
    /// `environment` that say whom others are for (LISTEN_PID, WATCHDOG_PID).
    char *const *pid_places;
    size_t pid_place_count;
    /// The working directory; NULL: the parent's.
    const char *directory;
    /// The child's descriptors 0, 1, 2, …, each one of the parent's, or -1 for /dev/null, or SUPD_CLOSED for none.
    const int *descriptors;
    size_t descriptor_count;
    /// Where a failure is written, as struct supd_spawn_failure; close-on-exec, so that its end means success.
    int status;
    const struct supd_spawn_limit *limits;
    size_t limit_count;
    /// The file mode creation mask; -1: the parent's.
    int mask;
    int sets_credentials;
    uid_t user;
    gid_t group;
    const gid_t *groups;
    size_t group_count;
    /// PR_SET_NO_NEW_PRIVS.
    int no_new_privileges;
    /// PR_SET_PDEATHSIG with SIGKILL: die with the thread that called supd_spawn.
    int dies_with_parent;
    /// Write 0 to /proc/self/oom_score_adj.
    int resets_oom_score;
    /// For tests: behave as if clone3 and close_range were refused, as old container runtimes do.
    int without_new_calls;
};

/// What a child that could not start writes to its status pipe.
struct supd_spawn_failure {
    int32_t stage;
    int32_t code;
    /// At SUPD_STAGE_LIMIT: the resource.
    int32_t limit;
};

/// The child in the parent.
struct supd_spawn_result {
    pid_t pid;
    /// Close-on-exec.
    int pidfd;
};

/// What a child that was forked in advance waits for. It lies in memory that parent and child share (MAP_SHARED), at the
/// same address in both, and so does all that its plan points to.
struct supd_spawn_orders {
    /// 0: it waits; 1: it goes. A futex(2).
    uint32_t goes;
    struct supd_spawn_plan plan;
    /// The whole of the shared memory, which begins here: the child touches its pages before it waits.
    size_t size;
};

/// Forks without waiting for anything. Returns 0, or -1 with the errno of clone3(2) or clone(2). With `orders` the child
/// takes only session, descriptors, signals and OOM score from `plan`, then waits, and takes the rest from there.
int supd_spawn(
    const struct supd_spawn_plan *plan, struct supd_spawn_orders *orders, struct supd_spawn_result *result);

/// Lets the child go that waits for these orders; its plan is complete.
void supd_spawn_go(struct supd_spawn_orders *orders);

#endif
