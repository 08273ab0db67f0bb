// Bulk transfer over TCP on loopback.
//   bulk serve PORT                    sends to every connection until it is closed; after its own end it goes on
//   bulk fetch PORT STREAMS SECONDS    reads from so many connections for so long; prints "bytes nanoseconds"
//   bulk echo PORT                     answers every byte with itself
//   bulk hold PORT COUNT               opens so many connections, has a byte echoed on each, says so on standard output,
//                                      holds them until standard input ends
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 << 10];

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "bulk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return address;
}

static void watch(int set, int socket, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = socket};
    if (epoll_ctl(set, EPOLL_CTL_ADD, socket, &event) < 0) fail("epoll_ctl");
}

static void serve(int port, int echoes) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, set = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in address = loopback(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8192) < 0) fail("listen");
    watch(set, listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(set, events, 256, -1);
        for (int index = 0; index < count; index++) {
            int socket = events[index].data.fd;
            if (socket == listener) {
                int fresh = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fresh >= 0) watch(set, fresh, echoes ? EPOLLIN : EPOLLOUT);
                continue;
            }
            ssize_t moved;
            if (echoes) {
                moved = read(socket, buffer, sizeof buffer);
                if (moved > 0) moved = send(socket, buffer, moved, MSG_NOSIGNAL);
            } else {
                moved = send(socket, buffer, sizeof buffer, MSG_NOSIGNAL);
            }
            if (moved == 0 || (moved < 0 && errno != EAGAIN)) close(socket);
        }
    }
}

static int reach(int port) {
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port);
    if (socket_ < 0 || connect(socket_, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    return socket_;
}

static void fetch(int port, int streams, double seconds) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    long long bytes = 0, begin = now(), end = begin + (long long)(seconds * 1e9);
    for (int index = 0; index < streams; index++) watch(set, reach(port), EPOLLIN);
    while (now() < end) {
        struct epoll_event events[64];
        int count = epoll_wait(set, events, 64, 100);
        for (int index = 0; index < count; index++) {
            ssize_t got = recv(events[index].data.fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN)) fail("a stream ended early");
            if (got > 0) bytes += got;
        }
    }
    printf("%lld %lld\n", bytes, now() - begin);
}

static void hold(int port, int count) {
    for (int index = 0; index < count; index++) {
        char byte = 'x';
        int socket_ = reach(port);
        if (send(socket_, &byte, 1, MSG_NOSIGNAL) != 1 || recv(socket_, &byte, 1, 0) != 1) fail("no echo");
    }
    printf("held\n");
    fflush(stdout);
    while (read(0, buffer, sizeof buffer) > 0) {}
}

int main(int count, char **arguments) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int port = count > 2 ? atoi(arguments[2]) : 0;
    if (port == 0) return 2;
    if (!strcmp(arguments[1], "serve")) serve(port, 0);
    else if (!strcmp(arguments[1], "echo")) serve(port, 1);
    else if (!strcmp(arguments[1], "fetch") && count == 5) fetch(port, atoi(arguments[3]), atof(arguments[4]));
    else if (!strcmp(arguments[1], "hold") && count == 4) hold(port, atoi(arguments[3]));
    else return 2;
}
