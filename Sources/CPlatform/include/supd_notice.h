// Datagrams of services that say how they are, sd_notify(3): struct ucred and control messages are hidden from Swift.
#ifndef SUPD_NOTICE_H
#define SUPD_NOTICE_H

#include <stddef.h>
#include <sys/types.h>

/// Who has sent a datagram.
struct supd_notice_sender {
    /// Whether the kernel has told (SO_PASSCRED).
    int is_known;
    /// 0 if it lies in a namespace that we cannot see.
    pid_t pid;
    uid_t uid;
    /// MSG_TRUNC was set: the datagram was longer than the buffer.
    int truncated;
};

/// Looks at the first datagram of a queue without taking it, by recvmsg(2) with MSG_PEEK; it never waits. No descriptor
/// beside it is taken over: there is no room for any, and so the kernel opens none. Returns its length, at most the
/// capacity, or -1 with errno.
ssize_t supd_notice_peek(int socket, void *buffer, size_t capacity, struct supd_notice_sender *sender);

/// Takes the first datagram off the queue; descriptors beside it are closed, which is what BARRIER=1 waits for. Returns 0,
/// or -1 with errno.
int supd_notice_drop(int socket);

#endif
