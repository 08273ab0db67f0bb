#define _GNU_SOURCE
#include "allocation_counter.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_bool counts;
static atomic_long allocations;
static _Thread_local int is_driver;

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
int allocations_are_counted(void) { return 0; }
#else
int allocations_are_counted(void) { return 1; }

// glibc's allocator under its other names.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static void note(void) {
    if (atomic_load_explicit(&counts, memory_order_relaxed) && !is_driver)
        atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
    note();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    note();
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    note();
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    note();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    note();
    void *result = __libc_memalign(alignment, size);
    if (result == NULL) return ENOMEM;
    *memory = result;
    return 0;
}
#endif

/// A connection through the balancer, and the backend's end of it.
struct pair {
    int client;
    int server;
};

static int set_patience(int socket) {
    struct timeval patience = {.tv_sec = 30};
    return setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static int open_pair(uint16_t port, int listener, struct pair *pair) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    pair->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair->client < 0 || connect(pair->client, (struct sockaddr *)&address, sizeof address) < 0) return -errno;
    struct pollfd entry = {.fd = listener, .events = POLLIN};
    if (poll(&entry, 1, 30000) != 1) return -ETIMEDOUT;
    pair->server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (pair->server < 0 || set_patience(pair->client) < 0 || set_patience(pair->server) < 0) return -errno;
    return 0;
}

static int pass(int from, int to) {
    char byte = 'x';
    if (send(from, &byte, 1, MSG_NOSIGNAL) != 1) return -errno;
    ssize_t received = recv(to, &byte, 1, 0);
    return received == 1 ? 0 : received == 0 ? -EPIPE : -errno;
}

static int request(const struct pair *pair) {
    int result = pass(pair->client, pair->server);
    return result < 0 ? result : pass(pair->server, pair->client);
}

static void close_pair(const struct pair *pair) {
    close(pair->client);
    close(pair->server);
}

void allocations_begin(void) {
    is_driver = 1;
    atomic_store(&allocations, 0);
    atomic_store(&counts, 1);
}

int64_t allocations_end(void) {
    atomic_store(&counts, 0);
    return atomic_load(&allocations);
}

int64_t allocations_of_requests(uint16_t port, int listener, int count) {
    struct pair pair = {-1, -1};
    int result = open_pair(port, listener, &pair);
    allocations_begin();
    for (int number = 0; number < count && result == 0; number++) result = request(&pair);
    int64_t counted = allocations_end();
    close_pair(&pair);
    return result < 0 ? result : counted;
}

int64_t allocations_of_connections(uint16_t port, int listener, int count) {
    int result = 0;
    allocations_begin();
    for (int number = 0; number < count && result == 0; number++) {
        struct pair pair = {-1, -1};
        result = open_pair(port, listener, &pair);
        if (result == 0) result = request(&pair);
        close_pair(&pair);
    }
    int64_t counted = allocations_end();
    return result < 0 ? result : counted;
}
