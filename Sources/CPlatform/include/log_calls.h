// Calls of the log path that Swift's Glibc module leaves out, because they need _GNU_SOURCE. Each returns -1 with errno.
#ifndef SUPD_LOG_CALLS_H
#define SUPD_LOG_CALLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// memfd_create(2), close-on-exec, of `size` zero bytes, sealed against shrinking and growing.
int supd_memfd_create(const char *name, off_t size);
// Whether the file is a memfd that can never shrink: 1 or 0.
int supd_memfd_is_sealed(int fd);
// mlock2(2) with MLOCK_ONFAULT.
int supd_lock_on_fault(const void *address, size_t length);
// Gives a range of a file back to the kernel: it reads as zeros. fallocate(2) with FALLOC_FL_PUNCH_HOLE.
int supd_punch_hole(int fd, off_t offset, off_t length);

// pipe2(2), close-on-exec and non-blocking: the read end, the write end.
int supd_peek_pipe(int ends[2]);
// tee(2) without blocking.
ssize_t supd_tee(int from, int to, size_t length);
// F_GETPIPE_SZ and F_SETPIPE_SZ of fcntl(2).
int supd_pipe_capacity(int fd);
int supd_set_pipe_capacity(int fd, int bytes);
// FIONREAD of ioctl(2).
int supd_bytes_available(int fd);

// The offset of the last `byte` in `length` bytes, or -1. memrchr(3).
ssize_t supd_last_index(const void *bytes, int byte, size_t length);

// epoll_create1(2), and epoll_ctl(2) and epoll_wait(2) for level-triggered reading with a 64-bit token each.
int supd_readiness_create(void);
int supd_readiness_add(int set, int fd, uint64_t token);
int supd_readiness_remove(int set, int fd);
int supd_readiness_wait(int set, uint64_t *tokens, int capacity, int milliseconds);

#endif
