#define _GNU_SOURCE
#include "log_calls.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

int supd_memfd_create(const char *name, off_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -1;
    if (ftruncate(fd, size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int supd_memfd_is_sealed(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

int supd_lock_on_fault(const void *address, size_t length) { return mlock2(address, length, MLOCK_ONFAULT); }

int supd_punch_hole(int fd, off_t offset, off_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int supd_peek_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK); }

ssize_t supd_tee(int from, int to, size_t length) { return tee(from, to, length, SPLICE_F_NONBLOCK); }

int supd_pipe_capacity(int fd) { return fcntl(fd, F_GETPIPE_SZ); }

int supd_set_pipe_capacity(int fd, int bytes) { return fcntl(fd, F_SETPIPE_SZ, bytes); }

int supd_bytes_available(int fd) {
    int count = 0;
    return ioctl(fd, FIONREAD, &count) < 0 ? -1 : count;
}

ssize_t supd_last_index(const void *bytes, int byte, size_t length) {
    const char *found = memrchr(bytes, byte, length);
    return found ? found - (const char *)bytes : -1;
}

int supd_readiness_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int supd_readiness_add(int set, int fd, uint64_t token) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = token};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

int supd_readiness_remove(int set, int fd) {
    struct epoll_event unused = {0};
    return epoll_ctl(set, EPOLL_CTL_DEL, fd, &unused);
}

int supd_readiness_wait(int set, uint64_t *tokens, int capacity, int milliseconds) {
    struct epoll_event events[64];
    int count = epoll_wait(set, events, capacity < 64 ? capacity : 64, milliseconds);
    for (int i = 0; i < count; i++) tokens[i] = events[i].data.u64;
    return count;
}
