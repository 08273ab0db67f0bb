#define _GNU_SOURCE
#include "supd_packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

union control_buffer {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * SUPD_MAX_DESCRIPTORS)];
};

ssize_t supd_packet_send(int socket, const void *bytes, size_t length, const int *descriptors, size_t count) {
    if (count > SUPD_MAX_DESCRIPTORS) {
        errno = EINVAL;
        return -1;
    }
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    union control_buffer control;
    if (count > 0) {
        memset(&control, 0, CMSG_SPACE(sizeof(int) * count));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
    }
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t supd_packet_receive(int socket, void *buffer, size_t capacity, struct supd_packet_extras *extras) {
    extras->count = 0;
    extras->truncated = 0;
    extras->control_truncated = 0;
    struct iovec vector = {.iov_base = buffer, .iov_len = capacity};
    union control_buffer control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) return -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && extras->count < SUPD_MAX_DESCRIPTORS; i++) {
            memcpy(&extras->descriptors[extras->count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
        }
    }
    extras->truncated = (message.msg_flags & MSG_TRUNC) != 0;
    extras->control_truncated = (message.msg_flags & MSG_CTRUNC) != 0;
    return length;
}
