/// Traffic through a balancer of this process, and how often the process asks the C library for memory meanwhile.
///
/// malloc and its kin are defined here and pass on to glibc's own, so that whatever links this is counted as a whole;
/// the thread that drives the traffic is not. Under a sanitizer, which needs malloc for itself, nothing is counted.
#pragma once
#include <stdint.h>

/// Whether allocations are counted at all.
int allocations_are_counted(void);
/// Counts from here on what other threads than this one allocate.
void allocations_begin(void);
/// How many there were since.
int64_t allocations_end(void);
/// Sends so many one-byte requests through one connection, each answered by a byte. `port`: the front's, of 127.0.0.1;
/// `listener`: the backend's socket. Returns the number of allocations meanwhile, or -errno.
int64_t allocations_of_requests(uint16_t port, int listener, int count);
/// The same with a new connection for each request.
int64_t allocations_of_connections(uint16_t port, int listener, int count);
