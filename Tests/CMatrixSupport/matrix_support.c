#define _GNU_SOURCE
#include "matrix_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int matrix_enter_network(void) {
    if (unshare(CLONE_NEWNET) < 0) {
        return -1;
    }
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) {
        return -1;
    }
    struct ifreq loopback;
    memset(&loopback, 0, sizeof loopback);
    strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
    int result = ioctl(control, SIOCSIFFLAGS, &loopback);
    int code = errno;
    close(control);
    errno = code;
    return result;
}

int matrix_add_address(int number, const char *address) {
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) {
        return -1;
    }
    struct ifreq alias;
    memset(&alias, 0, sizeof alias);
    snprintf(alias.ifr_name, sizeof alias.ifr_name, "lo:%d", number);
    struct sockaddr_in *own = (struct sockaddr_in *)&alias.ifr_addr;
    own->sin_family = AF_INET;
    int result = inet_pton(AF_INET, address, &own->sin_addr) == 1 ? ioctl(control, SIOCSIFADDR, &alias) : -1;
    int code = errno;
    close(control);
    errno = code;
    return result;
}

int matrix_connect_between(int socket, const char *from, const char *to, uint16_t port) {
    struct sockaddr_in own = {.sin_family = AF_INET}, other = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, from, &own.sin_addr) != 1 || inet_pton(AF_INET, to, &other.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    if (bind(socket, (struct sockaddr *)&own, sizeof own) < 0) {
        return -1;
    }
    return connect(socket, (struct sockaddr *)&other, sizeof other);
}

long matrix_send_with_syn(int socket, uint16_t port, const void *bytes, size_t count) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sendto(socket, bytes, count, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
}

int matrix_syn_carried_data(int socket) {
    struct tcp_info information;
    socklen_t length = sizeof information;
    memset(&information, 0, sizeof information);
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &information, &length) < 0) {
        return 0;
    }
    return (information.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

static int look(int socket, struct tcp_info *information) {
    socklen_t length = sizeof *information;
    memset(information, 0, sizeof *information);
    return getsockopt(socket, IPPROTO_TCP, TCP_INFO, information, &length);
}

int matrix_segments_sent(int socket) {
    struct tcp_info information;
    return look(socket, &information) < 0 ? -1 : (int)information.tcpi_segs_out;
}

int matrix_segments_received(int socket) {
    struct tcp_info information;
    return look(socket, &information) < 0 ? -1 : (int)information.tcpi_segs_in;
}

int matrix_data_segments_received(int socket) {
    struct tcp_info information;
    return look(socket, &information) < 0 ? -1 : (int)information.tcpi_data_segs_in;
}

int matrix_not_sent_bytes(int socket) {
    int value = 0;
    return ioctl(socket, SIOCOUTQNSD, &value) < 0 ? -1 : value;
}

int matrix_send_pages(int socket, size_t count) {
    int file = memfd_create("pages", MFD_CLOEXEC);
    int result = file < 0 ? -1 : ftruncate(file, (off_t)count);
    for (off_t sent = 0; result == 0 && sent < (off_t)count;) {
        result = sendfile(socket, file, &sent, count - (size_t)sent) < 0 ? -1 : 0;
    }
    int code = errno;
    if (file >= 0) close(file);
    errno = code;
    return result;
}

int matrix_vanish(int socket) {
    int one = 1;
    return setsockopt(socket, IPPROTO_TCP, TCP_REPAIR, &one, sizeof one) < 0 ? -1 : close(socket);
}

int matrix_name_of(int socket, int is_peer, char *text, size_t size) {
    // The port is at the same place in both.
    struct sockaddr_in6 address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    int result = is_peer ? getpeername(socket, (struct sockaddr *)&address, &length)
                         : getsockname(socket, (struct sockaddr *)&address, &length);
    int is_ipv6 = address.sin6_family == AF_INET6;
    const void *bytes = is_ipv6 ? (void *)&address.sin6_addr : (void *)&((struct sockaddr_in *)&address)->sin_addr;
    char host[INET6_ADDRSTRLEN];
    if (result < 0 || inet_ntop(address.sin6_family, bytes, host, sizeof host) == NULL) {
        return -1;
    }
    snprintf(text, size, is_ipv6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(address.sin6_port));
    return 0;
}

int matrix_connect_ipv6(int socket, uint16_t port) {
    struct sockaddr_in6 address;
    memset(&address, 0, sizeof address);
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    return connect(socket, (struct sockaddr *)&address, sizeof address);
}

int matrix_descriptor_of(int pid, int descriptor) {
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process < 0) return -1;
    int copy = (int)syscall(SYS_pidfd_getfd, process, descriptor, 0);
    int code = errno;
    close(process);
    errno = code;
    return copy;
}
