// An open-loop load: argv[3] requests a second for argv[4] seconds, or until SIGTERM, to 127.0.0.1:argv[2], each with a
// connection of its own; argv[1] is the path. A request that takes longer than argv[5] seconds is given up. Prints JSON: how many
// requests there were, how each ended, the distribution of times, and each failure with its begin and end
// (CLOCK_MONOTONIC, nanoseconds).
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { most_open = 16384, most_failures = 2000 };
enum kind { done, refused, reset, closed_early, bad_answer, timed_out, own_shortage, kinds };
static const char *const names[kinds] = {"ok", "refused", "reset", "closedEarly", "badAnswer", "timedOut", "ownShortage"};

struct request {
    long long begin;
    int used;         // bytes of the answer so far
    int connected;    // whether the request was sent
    char answer[512]; // its first bytes: enough for the status line
};

static struct request requests[most_open + 64];
static long long counts[kinds], *times;
static long finished, most_times;
static struct { enum kind kind; long long begin, end; } failures[most_failures];
static int failed, open_now, events_of;
static char message[256];
static volatile sig_atomic_t is_over;

static void end_soon(int signal) { is_over = signal; }

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void finish(int descriptor, enum kind kind, long long begin) {
    long long end = now();
    counts[kind]++;
    if (finished < most_times) times[finished++] = end - begin;
    if (kind != done && failed < most_failures) {
        failures[failed].kind = kind;
        failures[failed].begin = begin;
        failures[failed++].end = end;
    }
    if (descriptor >= 0) {
        requests[descriptor].begin = 0;
        close(descriptor);
        open_now--;
    }
}

static enum kind kind_of(int code) { return code == ECONNREFUSED ? refused : code == ECONNRESET || code == EPIPE ? reset : own_shortage; }

static void begin(const struct sockaddr_in *address, long long at) {
    int descriptor = open_now < most_open ? socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (descriptor < 0 || descriptor >= most_open) {
        if (descriptor >= 0) close(descriptor);
        finish(-1, own_shortage, at);
        return;
    }
    open_now++;
    memset(&requests[descriptor], 0, sizeof requests[descriptor]);
    requests[descriptor].begin = at;
    if (connect(descriptor, (const struct sockaddr *)address, sizeof *address) && errno != EINPROGRESS) {
        finish(descriptor, kind_of(errno), at);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = descriptor};
    epoll_ctl(events_of, EPOLL_CTL_ADD, descriptor, &event);
}

static void go_on(int descriptor) {
    struct request *request = &requests[descriptor];
    if (!request->begin) return;
    if (!request->connected) {
        int code = 0;
        socklen_t length = sizeof code;
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length);
        if (!code && send(descriptor, message, strlen(message), MSG_NOSIGNAL) < 0) code = errno;
        if (code) {
            finish(descriptor, kind_of(code), request->begin);
            return;
        }
        request->connected = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
        epoll_ctl(events_of, EPOLL_CTL_MOD, descriptor, &event);
        return;
    }
    for (;;) {
        char rest[4096];
        int room = sizeof request->answer - 1 - request->used;
        ssize_t count = room > 0 ? recv(descriptor, request->answer + request->used, room, 0)
                                 : recv(descriptor, rest, sizeof rest, 0);
        if (count < 0 && errno == EAGAIN) return;
        if (count < 0) {
            finish(descriptor, kind_of(errno), request->begin);
            return;
        }
        if (count > 0) {
            if (room > 0) request->used += count;
            continue;
        }
        // The end of a HTTP/1.0 answer: complete if it has as many bytes as it promised.
        enum kind kind = closed_early;
        char *body = strstr(request->answer, "\r\n\r\n"), *promise = strcasestr(request->answer, "\r\ncontent-length:");
        if (body && promise) {
            long promised = atol(promise + strlen("\r\ncontent-length:")), had = request->used - (body + 4 - request->answer);
            kind = promised != had ? closed_early : strncmp(request->answer + 8, " 200", 4) ? bad_answer : done;
        }
        finish(descriptor, kind, request->begin);
        return;
    }
}

static int ascending(const void *left, const void *right) {
    long long a = *(const long long *)left, b = *(const long long *)right;
    return (a > b) - (a < b);
}

static double quantile(double share) { return finished ? times[(long)(share * (finished - 1))] / 1e6 : 0; }

int main(int count, char **arguments) {
    if (count < 6) return 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < most_open ? limit.rlim_max : most_open;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(atoi(arguments[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    snprintf(message, sizeof message, "GET %s HTTP/1.0\r\nHost: bench\r\n\r\n", arguments[1]);
    double rate = atof(arguments[3]), seconds = atof(arguments[4]), patience = atof(arguments[5]);
    long total = (long)(rate * seconds);
    most_times = total + 16;
    times = calloc(most_times, sizeof *times);
    events_of = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGTERM, end_soon);
    long long start = now(), next_look = start;
    for (long sent = 0; sent < total || open_now;) {
        long long at = now();
        if (is_over && total > sent) total = sent;
        for (long due = (long)((at - start) / 1e9 * rate); sent < total && sent <= due; sent++) begin(&address, now());
        if (at >= next_look) {
            next_look = at + 50000000;
            for (int descriptor = 0; descriptor < most_open; descriptor++)
                if (requests[descriptor].begin && at - requests[descriptor].begin > patience * 1e9)
                    finish(descriptor, timed_out, requests[descriptor].begin);
        }
        struct epoll_event events[256];
        int ready = epoll_wait(events_of, events, 256, 1);
        for (int index = 0; index < ready; index++) go_on(events[index].data.fd);
    }
    qsort(times, finished, sizeof *times, ascending);
    printf("{\"requests\": %ld, \"seconds\": %.3f, ", total, (now() - start) / 1e9);
    for (int kind = 0; kind < kinds; kind++) printf("\"%s\": %lld, ", names[kind], counts[kind]);
    printf("\"medianMs\": %.3f, \"p99Ms\": %.3f, \"longestMs\": %.3f, \"failures\": [", quantile(0.5), quantile(0.99), quantile(1));
    for (int index = 0; index < failed; index++)
        printf("%s{\"kind\": \"%s\", \"begin\": %lld, \"end\": %lld}", index ? ", " : "", names[failures[index].kind],
               failures[index].begin, failures[index].end);
    printf("]}\n");
    return 0;
}
