#define _GNU_SOURCE
#include "supd_notice.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

ssize_t supd_notice_peek(int socket, void *buffer, size_t capacity, struct supd_notice_sender *sender) {
    memset(sender, 0, sizeof *sender);
    struct iovec vector = {.iov_base = buffer, .iov_len = capacity};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC);
    if (length < 0) return -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS) continue;
        if (header->cmsg_len < CMSG_LEN(sizeof(struct ucred))) continue;
        struct ucred credentials;
        memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
        sender->is_known = 1;
        sender->pid = credentials.pid;
        sender->uid = credentials.uid;
    }
    sender->truncated = (message.msg_flags & MSG_TRUNC) != 0;
    return length;
}

int supd_notice_drop(int socket) {
    char byte;
    struct iovec vector = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    return recvmsg(socket, &message, MSG_DONTWAIT) < 0 ? -1 : 0;
}
