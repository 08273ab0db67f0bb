#define _GNU_SOURCE
#include "supd_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <linux/sockios.h>

_Static_assert(sizeof(struct supd_epoll_event) == sizeof(struct epoll_event), "the two must be one");
_Static_assert((int)SUPD_EPOLL_EXCLUSIVE == (int)EPOLLEXCLUSIVE, "epoll bits");
_Static_assert((int)SUPD_EPOLL_PEER_SHUTDOWN == (int)EPOLLRDHUP, "epoll bits");

// glibc's wrappers of waiting calls are cancellation points, which costs two atomic operations a call. Nothing here
// waits and no thread is ever cancelled, so the busiest calls go to the kernel without them.
#define RESULT(call)                      \
    ({                                    \
        long supd_result = (call);        \
        supd_result < 0 ? -errno : supd_result; \
    })

int supd_epoll_create(void) { return (int)RESULT(epoll_create1(EPOLL_CLOEXEC)); }

int supd_epoll_add(int set, int descriptor, uint32_t bits, int edge, uint64_t word) {
    struct epoll_event event = {.events = bits | (edge ? EPOLLET : 0), .data.u64 = word};
    return (int)RESULT(epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event));
}

int supd_epoll_remove(int set, int descriptor) {
    return (int)RESULT(epoll_ctl(set, EPOLL_CTL_DEL, descriptor, NULL));
}

int supd_epoll_wait(int set, struct supd_epoll_event *events, int capacity, int milliseconds) {
    return (int)RESULT(syscall(SYS_epoll_pwait, set, events, capacity, milliseconds, NULL, 0));
}

int supd_eventfd_create(void) { return (int)RESULT(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int supd_read_counter(int descriptor, uint64_t *value) { return read(descriptor, value, 8) == 8; }

void supd_wake(int eventfd) {
    uint64_t one = 1;
    // It fails only when the counter is at its end, and then it is readable already.
    ssize_t result = write(eventfd, &one, sizeof one);
    (void)result;
}

int supd_timerfd_create(void) {
    return (int)RESULT(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int supd_timerfd_arm(int timer, int64_t nanoseconds) {
    struct itimerspec setting = {
        .it_value = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000},
    };
    return (int)RESULT(timerfd_settime(timer, TFD_TIMER_ABSTIME, &setting, NULL));
}

int64_t supd_coarse_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void supd_sleep(int64_t nanoseconds) {
    static _Thread_local int has_slack_set;
    if (!has_slack_set) {
        has_slack_set = 1;
        prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    }
    struct timespec time = {.tv_nsec = nanoseconds};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

int supd_accept(int listener) {
    return (int)RESULT(syscall(SYS_accept4, listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static void tell_address(const struct sockaddr_storage *from, struct supd_address *to) {
    *to = (struct supd_address){.length = 0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *address = (const void *)from;
        memcpy(to->bytes, &address->sin_addr, 4);
        to->port = ntohs(address->sin_port);
        to->length = 4;
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *address = (const void *)from;
        memcpy(to->bytes, &address->sin6_addr, 16);
        to->port = ntohs(address->sin6_port);
        to->length = 16;
    }
}

int supd_accept_from(int listener, struct supd_address *peer) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    address.ss_family = AF_UNSPEC;
    int result = (int)RESULT(syscall(SYS_accept4, listener, &address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (result >= 0) tell_address(&address, peer);
    return result;
}

int supd_local_address(int socket, struct supd_address *local) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    address.ss_family = AF_UNSPEC;
    int result = (int)RESULT(getsockname(socket, (struct sockaddr *)&address, &length));
    if (result == 0) tell_address(&address, local);
    return result;
}

int supd_format_address(const struct supd_address *address, char text[46]) {
    int family = address->length == 16 ? AF_INET6 : AF_INET;
    return inet_ntop(family, address->bytes, text, 46) == NULL ? 0 : (int)strlen(text);
}

int supd_parse_address(const char *text, int is_ipv6, struct supd_address *address) {
    *address = (struct supd_address){.length = is_ipv6 ? 16 : 4};
    return inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, address->bytes) == 1 ? 0 : -EINVAL;
}

int supd_peer_address(int socket, struct supd_address *peer) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    address.ss_family = AF_UNSPEC;
    int result = (int)RESULT(getpeername(socket, (struct sockaddr *)&address, &length));
    if (result == 0) tell_address(&address, peer);
    return result;
}

ssize_t supd_receive(int socket, void *buffer, size_t capacity, int flags) {
    return RESULT(syscall(SYS_recvfrom, socket, buffer, capacity, flags, NULL, NULL));
}

ssize_t supd_send(int socket, const void *bytes, size_t count, int more) {
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    return RESULT(syscall(SYS_sendto, socket, bytes, count, flags, NULL, 0));
}

ssize_t supd_splice(int from, int to, size_t count) {
    return RESULT(syscall(SYS_splice, from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

int supd_shutdown_write(int socket) { return (int)RESULT(shutdown(socket, SHUT_WR)); }

void supd_close(int descriptor) { syscall(SYS_close, descriptor); }

static int set_option(int socket, int level, int name) {
    int one = 1;
    return (int)RESULT(setsockopt(socket, level, name, &one, sizeof one));
}

static int get_option(int socket, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    if (getsockopt(socket, SOL_SOCKET, name, &value, &length) < 0) {
        return -errno;
    }
    return value;
}

void supd_reset_on_close(int socket) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

int supd_unsent_bytes(int socket) {
    int value = 0;
    if (ioctl(socket, SIOCOUTQ, &value) < 0) {
        return -errno;
    }
    return value;
}

int supd_take_error(int socket) { return get_option(socket, SO_ERROR); }

int supd_end_has_arrived(int socket) {
    if (set_option(socket, IPPROTO_TCP, TCP_INQ) < 0) {
        return 0;
    }
    char byte;
    struct iovec piece = {.iov_base = &byte, .iov_len = sizeof byte};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int with_end = 0, without_end = 0;
    if (recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT) < 0 || ioctl(socket, FIONREAD, &without_end) < 0) {
        return 0;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_level != IPPROTO_TCP || header->cmsg_type != TCP_CM_INQ) {
        return 0;
    }
    memcpy(&with_end, CMSG_DATA(header), sizeof with_end);
    return with_end > without_end;
}

int supd_set_no_delay(int socket) { return set_option(socket, IPPROTO_TCP, TCP_NODELAY); }

int supd_uses_bbr(int socket) {
    char name[16] = "";
    socklen_t length = sizeof name - 1;
    if (getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &length) < 0) {
        return -errno;
    }
    return strncmp(name, "bbr", 3) == 0;
}

int supd_use_reno(int socket) {
    static const char name[] = "reno";
    return (int)RESULT(setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, sizeof name - 1));
}

int supd_limit_unsent(int socket, int bytes) {
    return (int)RESULT(setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes));
}

int supd_set_urgent_inline(int socket) { return set_option(socket, SOL_SOCKET, SO_OOBINLINE); }

int supd_prepare_listener(int socket) {
    int listening = get_option(socket, SO_ACCEPTCONN);
    if (listening <= 0) {
        return listening < 0 ? listening : -EINVAL;
    }
    if (get_option(socket, SO_TYPE) != SOCK_STREAM) {
        return -EINVAL;
    }
    if (!supd_is_unix(socket)) {
        (void)supd_set_no_delay(socket);
        (void)supd_set_urgent_inline(socket);
    }
    return supd_set_non_blocking(socket);
}

static void set_number(int socket, int level, int name, int value, int *failure) {
    if (setsockopt(socket, level, name, &value, sizeof value) < 0 && *failure == 0) {
        *failure = -errno;
    }
}

int supd_set_listener_options(int socket, const struct supd_listener_options *options) {
    int failure = 0;
    if (!supd_is_unix(socket)) {
        int idle = options->keep_alive;
        set_number(socket, SOL_SOCKET, SO_KEEPALIVE, idle > 0, &failure);
        if (idle > 0) {
            set_number(socket, IPPROTO_TCP, TCP_KEEPIDLE, idle, &failure);
            set_number(socket, IPPROTO_TCP, TCP_KEEPINTVL, idle < 4 ? 1 : idle / 4, &failure);
            set_number(socket, IPPROTO_TCP, TCP_KEEPCNT, 4, &failure);
        }
        // Where it is set it also decides, in place of the number of probes, when a silent client is given up.
        set_number(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout, &failure);
        // A client whose server speaks first (SSH, SMTP, MySQL) sends nothing until it was greeted, and so would wait
        // for the whole of this time: it is for protocols in which clients speak first, and off unless asked for.
        set_number(socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, options->defer_accept, &failure);
    }
    // On a socket that is listening already this changes the backlog, and nothing else.
    if (listen(socket, options->backlog) < 0 && failure == 0) {
        failure = -errno;
    }
    return failure;
}

int supd_set_non_blocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? -errno : (int)RESULT(fcntl(descriptor, F_SETFL, flags | O_NONBLOCK));
}

ssize_t supd_write(int descriptor, const void *bytes, size_t count) {
    return RESULT(syscall(SYS_write, descriptor, bytes, count));
}

int supd_ephemeral_ports(int *first, int *last) {
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file == NULL) {
        return -1;
    }
    int found = fscanf(file, "%d %d", first, last);
    fclose(file);
    return found == 2 ? 0 : -1;
}

int supd_is_unix(int socket) { return get_option(socket, SO_DOMAIN) == AF_UNIX; }

int supd_tcp_socket(void) {
    return (int)RESULT(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static struct sockaddr_in loopback(uint8_t host, uint16_t port) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(0x7f000000u | host);
    return address;
}

int supd_connect_loopback(int socket, uint16_t port) {
    struct sockaddr_in address = loopback(1, port);
    return (int)RESULT(syscall(SYS_connect, socket, &address, sizeof address));
}

int supd_bind_loopback(int socket, uint8_t host) {
    struct sockaddr_in address = loopback(host, 0);
    int result = set_option(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    if (result < 0) {
        return result;
    }
    return (int)RESULT(bind(socket, (struct sockaddr *)&address, sizeof address));
}

int supd_local_port(int socket) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(socket, (struct sockaddr *)&address, &length) < 0) {
        return -errno;
    }
    return ntohs(address.sin_port);
}

int supd_splice_pipe(int ends[2], int capacity) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    (void)fcntl(ends[1], F_SETPIPE_SZ, capacity);
    int size = fcntl(ends[1], F_GETPIPE_SZ);
    return size < 0 ? 0 : size;
}

int supd_forbid_dumps(void) { return (int)RESULT(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); }

void supd_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

void *supd_reserve(size_t bytes) {
    // Memory that cannot be used is charged to nobody, also where vm.overcommit_memory is 2.
    void *start = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    // One touched slot must not cost a huge page.
    (void)madvise(start, bytes, MADV_NOHUGEPAGE);
    return start;
}

int supd_make_usable(void *start, size_t bytes) { return (int)RESULT(mprotect(start, bytes, PROT_READ | PROT_WRITE)); }

void supd_discard(void *start, size_t bytes) { (void)madvise(start, bytes, MADV_DONTNEED); }

void supd_unreserve(void *start, size_t bytes) { (void)munmap(start, bytes); }
