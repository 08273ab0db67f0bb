// Packets with descriptors beside them (SCM_RIGHTS): control messages are macros that Swift cannot see.
#ifndef SUPD_PACKET_H
#define SUPD_PACKET_H

#include <stddef.h>
#include <sys/types.h>

/// SCM_MAX_FD of the kernel: the most descriptors beside one message.
#define SUPD_MAX_DESCRIPTORS 253

/// What came besides the bytes.
struct supd_packet_extras {
    /// Descriptors, close-on-exec, owned by the caller.
    int descriptors[SUPD_MAX_DESCRIPTORS];
    /// How many of them.
    size_t count;
    /// MSG_TRUNC was set: the packet was longer than the buffer.
    int truncated;
    /// MSG_CTRUNC was set: some descriptors did not arrive.
    int control_truncated;
};

/// Sends one packet without waiting and without SIGPIPE, by sendmsg(2). Returns the bytes sent, or -1 with errno.
ssize_t supd_packet_send(int socket, const void *bytes, size_t length, const int *descriptors, size_t count);

/// Receives one packet without waiting, by recvmsg(2). Returns its length, or -1 with errno; 0 is the end.
ssize_t supd_packet_receive(int socket, void *buffer, size_t capacity, struct supd_packet_extras *extras);

#endif
