/// Traffic through a balancer of this process, how often the process asks the C library for memory meanwhile, and how often
/// it counts a reference.
///
/// malloc and its kin are defined here and pass on to glibc's own, so that whatever links this is counted as a whole; so
/// are the Swift runtime's retains and releases, which the linker directs here. The thread that drives the traffic is not
/// counted. Under a sanitizer, which needs malloc for itself, nothing is counted.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// What was counted.
struct allocation_counts {
    int64_t allocations;
    /// Retains and releases, of whatever kind; one of several at once is one.
    int64_t references;
    /// Bytes of session lines.
    int64_t log_bytes;
    /// An errno, if the traffic has failed.
    int32_t error;
};

/// What is sent through the balancer.
struct traffic {
    /// The front's port, of 127.0.0.1.
    uint16_t port;
    /// The endpoints' sockets; -1: none.
    int listeners[2];
    /// How many connections are served at the same time, at most 200 and at least 1.
    int parallel;
    /// How many more wait for a place.
    int waiting;
    /// Bytes of a request, and of its answer.
    size_t size;
    /// What a client says first; NULL: nothing.
    const void *header_in;
    size_t header_in_size;
    /// The version of the PROXY header that an endpoint hears first; 0: none.
    int header_out;
    /// Where session lines come out, not blocking; -1: nowhere.
    int session_log;
};

/// Whether allocations are counted at all.
int allocations_are_counted(void);
/// Counts from here on what other threads than this one do.
void allocations_begin(void);
/// What it was since.
struct allocation_counts allocations_end(void);
/// Sends so many requests through connections that stay open.
struct allocation_counts allocations_of_requests(struct traffic traffic, int count);
/// The same with a new connection for each request.
struct allocation_counts allocations_of_connections(struct traffic traffic, int count);
