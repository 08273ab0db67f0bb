// The balancer's system calls. All return -errno on failure, so that a result is looked at once, and none waits.
#ifndef SUPD_STREAM_H
#define SUPD_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Bits of an epoll event, as in <sys/epoll.h>, which Swift's Glibc does not import.
enum supd_epoll_bits {
    SUPD_EPOLL_IN = 0x001,
    SUPD_EPOLL_URGENT = 0x002,
    SUPD_EPOLL_OUT = 0x004,
    SUPD_EPOLL_ERROR = 0x008,
    SUPD_EPOLL_HANGUP = 0x010,
    SUPD_EPOLL_PEER_SHUTDOWN = 0x2000,
    SUPD_EPOLL_EXCLUSIVE = 1 << 28,
};

/// One event that epoll_wait(2) reported; the same bytes as struct epoll_event.
struct supd_epoll_event {
    uint32_t bits;
    uint64_t word;
}
#if defined(__x86_64__)
__attribute__((packed))
#endif
;

/// epoll_create1(2), close-on-exec.
int supd_epoll_create(void);
/// epoll_ctl(2) with EPOLL_CTL_ADD; `edge`: EPOLLET.
int supd_epoll_add(int set, int descriptor, uint32_t bits, int edge, uint64_t word);
/// epoll_ctl(2) with EPOLL_CTL_DEL.
int supd_epoll_remove(int set, int descriptor);
/// epoll_wait(2); `milliseconds` -1 waits without end.
int supd_epoll_wait(int set, struct supd_epoll_event *events, int capacity, int milliseconds);
/// The word of an event, which may lie unaligned.
static inline uint64_t supd_epoll_word(const struct supd_epoll_event *event) { return event->word; }
/// The bits of an event.
static inline uint32_t supd_epoll_seen(const struct supd_epoll_event *event) { return event->bits; }

/// eventfd(2), close-on-exec and non-blocking.
int supd_eventfd_create(void);
/// read(2) of an eventfd or a timerfd, which clears it; 0 if it was clear. The count goes to `value`.
int supd_read_counter(int descriptor, uint64_t *value);
/// write(2) of 1 to an eventfd.
void supd_wake(int eventfd);
/// timerfd_create(2) on CLOCK_MONOTONIC, close-on-exec and non-blocking.
int supd_timerfd_create(void);
/// timerfd_settime(2) to an instant of CLOCK_MONOTONIC in nanoseconds; 0 disarms.
int supd_timerfd_arm(int timer, int64_t nanoseconds);
/// CLOCK_MONOTONIC_COARSE in nanoseconds: up to one tick old, but never a real system call, as the precise clock is on
/// many virtual machines.
int64_t supd_coarse_clock(void);
/// clock_nanosleep(2) for less than a second, or until a signal. For its length to be more than a wish, the thread's timer
/// slack (PR_SET_TIMERSLACK in prctl(2)), usually 50 microseconds, is set to one nanosecond, and stays so.
void supd_sleep(int64_t nanoseconds);

/// accept4(2) of a non-blocking, close-on-exec socket.
int supd_accept(int listener);
/// An address as the kernel tells it: 4 or 16 bytes in network byte order, and a port; a length of 0 is no such address.
struct supd_address {
    uint8_t bytes[16];
    uint16_t port;
    uint8_t length;
};
/// The same accept4(2), which also tells who the peer is.
int supd_accept_from(int listener, struct supd_address *peer);
/// The address a client has connected to: getsockname(2). Returns 0 or -errno.
int supd_local_address(int socket, struct supd_address *local);
/// Writes an address without its port as text, with a 0 behind it: inet_ntop(3). Returns the length.
int supd_format_address(const struct supd_address *address, char text[46]);
/// Reads an address without a port; `text` ends with 0: inet_pton(3). Returns 0, or -EINVAL.
int supd_parse_address(const char *text, int is_ipv6, struct supd_address *address);
/// getpeername(2). Returns 0 or -errno.
int supd_peer_address(int socket, struct supd_address *peer);
/// recv(2) with flags.
ssize_t supd_receive(int socket, void *buffer, size_t capacity, int flags);
/// send(2) without SIGPIPE. `more`: the next call sends more or ends the stream, and what fills no segment may wait for it
/// (MSG_MORE); a Unix socket sends at once all the same.
ssize_t supd_send(int socket, const void *bytes, size_t count, int more);
/// splice(2) that moves pages where it can and never waits.
ssize_t supd_splice(int from, int to, size_t count);
/// shutdown(2) of the writing direction.
int supd_shutdown_write(int socket);
/// close(2).
void supd_close(int descriptor);
/// Makes close(2) of this socket send a reset in place of an orderly end: SO_LINGER with a time of 0.
void supd_reset_on_close(int socket);
/// Bytes in the send queue that the peer's kernel has not acknowledged: ioctl SIOCOUTQ.
int supd_unsent_bytes(int socket);
/// getsockopt(2) SO_ERROR, which clears the error it returns. 0 is none; -errno if the call itself failed.
int supd_take_error(int socket);
/// Whether the peer's end (FIN) has arrived at a TCP socket, whatever has happened since; 0 also where the kernel does not
/// tell. Urgent data must be in the stream (SO_OOBINLINE). By TCP_INQ (tcp(7)), whose count includes the end, and
/// ioctl FIONREAD, whose count does not.
int supd_end_has_arrived(int socket);
/// TCP_NODELAY.
int supd_set_no_delay(int socket);
/// Whether a TCP socket's congestion control is BBR, of any version: getsockopt(2) TCP_CONGESTION. Returns 1 or 0, or
/// -errno for other sockets.
int supd_uses_bbr(int socket);
/// Has a TCP socket use reno, the congestion control that every kernel has: TCP_CONGESTION of tcp(7). Returns 0, or -errno.
int supd_use_reno(int socket);
/// Has a TCP socket take no more once so many bytes wait to be sent: TCP_NOTSENT_LOWAT of tcp(7). Returns 0, or -errno.
int supd_limit_unsent(int socket, int bytes);
/// SO_OOBINLINE: urgent data stays in the stream in place of being lost.
int supd_set_urgent_inline(int socket);
/// Checks that a descriptor is a listening stream socket (SO_ACCEPTCONN), and makes it non-blocking and, if it is TCP,
/// hand TCP_NODELAY and SO_OOBINLINE on to what it accepts. Returns 0, or -errno.
int supd_prepare_listener(int socket);
/// The options of a listening socket that an operator chooses; see tcp(7).
struct supd_listener_options {
    /// Seconds of silence after which a client is probed, four times at a quarter of it; 0: never. At most 32767.
    int keep_alive;
    /// TCP_USER_TIMEOUT in milliseconds; 0: the kernel's own.
    int user_timeout;
    /// TCP_DEFER_ACCEPT in seconds; 0: off.
    int defer_accept;
    int backlog;
};
/// Sets the options; sockets that are accepted from then on inherit them. On a Unix socket the backlog alone. Returns 0,
/// or the first -errno; the others are set nevertheless.
int supd_set_listener_options(int socket, const struct supd_listener_options *options);
/// Makes a descriptor non-blocking: fcntl(2) O_NONBLOCK. Returns 0, or -errno.
int supd_set_non_blocking(int descriptor);
/// write(2).
ssize_t supd_write(int descriptor, const void *bytes, size_t count);
/// Reads net.ipv4.ip_local_port_range of the network namespace. Returns 0, or -1.
int supd_ephemeral_ports(int *first, int *last);
/// Whether the socket is AF_UNIX: getsockopt(2) SO_DOMAIN.
int supd_is_unix(int socket);

/// A non-blocking, close-on-exec TCP socket for IPv4.
int supd_tcp_socket(void);
/// connect(2) to 127.0.0.1. -EINPROGRESS is the usual answer, also when the handshake is already done.
int supd_connect_loopback(int socket, uint16_t port);
/// bind(2) to 127.0.0.`host` with IP_BIND_ADDRESS_NO_PORT, so that the port is chosen by connect(2), per destination.
int supd_bind_loopback(int socket, uint8_t host);
/// The port of the socket's own address: getsockname(2).
int supd_local_port(int socket);

/// pipe2(2), close-on-exec and non-blocking, grown to `capacity` bytes if the limits allow it. Returns the capacity it
/// has in the end.
int supd_splice_pipe(int ends[2], int capacity);

/// prctl(2) PR_SET_DUMPABLE 0: no core dumps, no tracing by others of the same user.
int supd_forbid_dumps(void);
/// signal(2): SIGPIPE is ignored; splice(2) has no flag against it.
void supd_ignore_sigpipe(void);

/// Reserves addresses, which cannot be used yet and are charged to nobody. NULL on failure.
void *supd_reserve(size_t bytes);
/// Makes part of a reservation usable: zeros, which take no room until they are touched. mprotect(2).
int supd_make_usable(void *start, size_t bytes);
/// Gives the pages back to the kernel; they read as zero afterwards. madvise(2) MADV_DONTNEED.
void supd_discard(void *start, size_t bytes);
/// munmap(2).
void supd_unreserve(void *start, size_t bytes);

#endif
