#define _GNU_SOURCE
#include "allocation_counter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_bool counts;
static atomic_long allocations;
static atomic_long references;
static _Thread_local int is_driver;

static void note(atomic_long *number) {
    if (atomic_load_explicit(&counts, memory_order_relaxed) && !is_driver)
        atomic_fetch_add_explicit(number, 1, memory_order_relaxed);
}

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
int allocations_are_counted(void) { return 0; }
#else
int allocations_are_counted(void) { return 1; }

// glibc's allocator under its other names.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    note(&allocations);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    note(&allocations);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    note(&allocations);
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    note(&allocations);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    note(&allocations);
    void *result = __libc_memalign(alignment, size);
    if (result == NULL) return ENOMEM;
    *memory = result;
    return 0;
}
#endif

// Package.swift has the linker put these in the place of the Swift runtime's own (ld(1), --wrap). The runtime's hooks for
// instruments cannot be used: their adapters lose the bit by which an immortal string is told from an object.
#define WRAPPED(type, name, parameters, arguments)       \
    extern type __real_##name parameters;                \
    type __wrap_##name parameters {                      \
        note(&references);                               \
        return __real_##name arguments;                  \
    }

WRAPPED(void *, swift_retain, (void *object), (object))
WRAPPED(void *, swift_retain_n, (void *object, uint32_t count), (object, count))
WRAPPED(void, swift_release, (void *object), (object))
WRAPPED(void, swift_release_n, (void *object, uint32_t count), (object, count))
WRAPPED(void *, swift_tryRetain, (void *object), (object))
WRAPPED(void *, swift_bridgeObjectRetain, (void *object), (object))
WRAPPED(void *, swift_bridgeObjectRetain_n, (void *object, uint32_t count), (object, count))
WRAPPED(void, swift_bridgeObjectRelease, (void *object), (object))
WRAPPED(void, swift_bridgeObjectRelease_n, (void *object, uint32_t count), (object, count))
WRAPPED(void *, swift_weakLoadStrong, (void *reference), (reference))
WRAPPED(void *, swift_unownedRetain, (void *object), (object))
WRAPPED(void, swift_unownedRelease, (void *object), (object))
WRAPPED(void *, swift_unownedRetainStrong, (void *object), (object))

/// A connection through the balancer, and the endpoint's end of it; -1: none.
struct pair {
    int client;
    int server;
    /// What is said in it.
    char tag;
};

enum { most_pairs = 256, piece = 256 << 10 };
static char outgoing[piece];
static char incoming[piece];

static int set_patience(int socket) {
    struct timeval patience = {.tv_sec = 30};
    return setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

/// Connects a client from one of eight addresses, which says the PROXY header and its tag.
static int open_client(const struct traffic *traffic, struct pair *pair, int number) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK + 1 + number % 8)}};
    struct sockaddr_in front = {
        .sin_family = AF_INET, .sin_port = htons(traffic->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int yes = 1;
    pair->server = -1;
    pair->tag = (char)('!' + number % 90);
    pair->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair->client < 0 || set_patience(pair->client) < 0 ||
        setsockopt(pair->client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes) < 0 ||
        bind(pair->client, (struct sockaddr *)&own, sizeof own) < 0 ||
        connect(pair->client, (struct sockaddr *)&front, sizeof front) < 0)
        return -errno;
    if (traffic->header_in != NULL &&
        send(pair->client, traffic->header_in, traffic->header_in_size, MSG_NOSIGNAL) < 0)
        return -errno;
    return send(pair->client, &pair->tag, 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/// The next connection to any endpoint: of one of these clients, which then is the first of them.
static int open_server(const struct traffic *traffic, struct pair *pairs, int first, int end, int size) {
    struct pollfd entries[2] = {
        {.fd = traffic->listeners[0], .events = POLLIN}, {.fd = traffic->listeners[1], .events = POLLIN}};
    if (poll(entries, 2, 30000) < 1) return -ETIMEDOUT;
    int server = accept4(entries[0].revents ? entries[0].fd : entries[1].fd, NULL, NULL, SOCK_CLOEXEC);
    if (server < 0 || set_patience(server) < 0) return -errno;
    // A header ends with a line feed (version 1), or has a length (version 2, with IPv4 addresses); then comes the tag.
    bool is_header = traffic->header_out != 0;
    char byte;
    for (int number = 0;; number++) {
        ssize_t received = recv(server, &byte, 1, 0);
        if (received != 1) return received == 0 ? -EPIPE : -errno;
        if (!is_header) break;
        is_header = traffic->header_out == 1 ? byte != '\n' : number < 27;
    }
    for (int number = first; number < end; number++) {
        struct pair found = pairs[number % size];
        if (found.server >= 0 || found.tag != byte) continue;
        found.server = server;
        pairs[number % size] = pairs[first % size];
        pairs[first % size] = found;
        return 0;
    }
    return -EBADMSG;
}

static int expect(int socket, char tag, size_t size, int flags, size_t *received) {
    ssize_t count = recv(socket, incoming, size < piece ? size : piece, flags);
    if (count < 0) return -errno;
    if (count == 0) return -EPIPE;
    for (ssize_t index = 0; index < count; index++)
        if (incoming[index] != tag) return -EBADMSG;
    *received += (size_t)count;
    return 0;
}

/// Moves bytes from one end to the other.
static int pass(int from, int to, char tag, size_t size) {
    size_t sent = 0, received = 0;
    memset(outgoing, tag, size < piece ? size : piece);
    while (received < size) {
        struct pollfd entries[2] = {{.fd = to, .events = POLLIN}, {.fd = sent < size ? from : -1, .events = POLLOUT}};
        if (poll(entries, 2, 30000) < 1) return -ETIMEDOUT;
        if (entries[1].revents) {
            size_t left = size - sent < piece ? size - sent : piece;
            ssize_t count = send(from, outgoing, left, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count < 0 && errno != EAGAIN) return -errno;
            if (count > 0) sent += (size_t)count;
        }
        if (entries[0].revents) {
            int result = expect(to, tag, size - received, MSG_DONTWAIT, &received);
            if (result < 0 && result != -EAGAIN) return result;
        }
    }
    return 0;
}

static void close_pair(struct pair *pair) {
    if (pair->client >= 0) close(pair->client);
    if (pair->server >= 0) close(pair->server);
    pair->client = pair->server = -1;
}

void allocations_begin(void) {
    is_driver = 1;
    atomic_store(&allocations, 0);
    atomic_store(&references, 0);
    atomic_store(&counts, 1);
}

struct allocation_counts allocations_end(void) {
    atomic_store(&counts, 0);
    return (struct allocation_counts){.allocations = atomic_load(&allocations), .references = atomic_load(&references)};
}

/// One request of each pair, all on their way at the same time if they are small.
static int requests(const struct traffic *traffic, struct pair *pairs, int count) {
    int result = 0;
    for (int way = 0; way < 2; way++) {
        for (int number = 0; number < count && result == 0; number++) {
            int from = way == 0 ? pairs[number].client : pairs[number].server;
            int to = way == 0 ? pairs[number].server : pairs[number].client;
            if (traffic->size > 1) {
                result = pass(from, to, pairs[number].tag, traffic->size);
            } else if (send(from, &pairs[number].tag, 1, MSG_NOSIGNAL) != 1) {
                result = -errno;
            }
        }
        for (int number = 0; number < count && result == 0 && traffic->size == 1; number++) {
            size_t received = 0;
            result = expect(way == 0 ? pairs[number].server : pairs[number].client, pairs[number].tag, 1, 0, &received);
        }
    }
    return result;
}

struct allocation_counts allocations_of_requests(struct traffic traffic, int count) {
    struct pair pairs[most_pairs];
    int open = 0, result = 0;
    for (; open < traffic.parallel && result == 0; open++) {
        result = open_client(&traffic, &pairs[open], open);
        if (result == 0) result = open_server(&traffic, pairs, open, open + 1, most_pairs);
    }
    allocations_begin();
    for (int done = 0; done < count && result == 0; done += traffic.parallel) result = requests(&traffic, pairs, open);
    struct allocation_counts counted = allocations_end();
    for (int number = 0; number < open; number++) close_pair(&pairs[number]);
    counted.error = -result;
    return counted;
}

struct allocation_counts allocations_of_connections(struct traffic traffic, int count) {
    // Those that are served, and behind them those that wait for a place: a ring, by the order of coming.
    struct pair pairs[most_pairs];
    int size = traffic.parallel + traffic.waiting + 1;
    int clients = 0, served = 0, closed = 0, result = 0;
    struct allocation_counts counted = {0};
    char lines[4096];
    while (result == 0 && served < count + traffic.parallel) {
        // As many are served and as many wait as there will ever be.
        if (served == traffic.parallel) allocations_begin();
        result = open_client(&traffic, &pairs[clients % size], clients);
        clients++;
        if (result != 0 || clients <= traffic.waiting) continue;
        if (served >= traffic.parallel) close_pair(&pairs[closed++ % size]);
        result = open_server(&traffic, pairs, served, clients, size);
        if (result == 0) result = requests(&traffic, &pairs[served++ % size], 1);
        if (traffic.session_log >= 0) {
            ssize_t read_bytes = read(traffic.session_log, lines, sizeof lines);
            if (read_bytes > 0) counted.log_bytes += read_bytes;
        }
    }
    struct allocation_counts end = allocations_end();
    // Those that wait are served too: else they would come to the next measurement.
    while (result == 0 && served < clients) {
        close_pair(&pairs[closed++ % size]);
        result = open_server(&traffic, pairs, served, clients, size);
        served++;
    }
    counted.allocations = end.allocations;
    counted.references = end.references;
    counted.error = -result;
    while (closed < clients) close_pair(&pairs[closed++ % size]);
    return counted;
}
