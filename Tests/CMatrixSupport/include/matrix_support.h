// Calls of tests of the balancer that Swift's Glibc lacks.
#ifndef MATRIX_SUPPORT_H
#define MATRIX_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

/// Moves the calling thread to a network namespace of its own, by unshare(2), and brings its loopback interface up. What
/// the thread starts from then on is in it. Returns 0, or -1 with errno.
int matrix_enter_network(void);

/// Gives the loopback interface another IPv4 address, as its alias of this number: ioctl SIOCSIFADDR of netdevice(7).
/// Returns 0, or -1 with errno.
int matrix_add_address(int number, const char *address);

/// Connects a socket from one IPv4 address to a port of another one. Returns 0, or -1 with errno.
int matrix_connect_between(int socket, const char *from, const char *to, uint16_t port);

/// A TCP connection to 127.0.0.1 whose first bytes travel with the SYN: sendto(2) with MSG_FASTOPEN. Returns the bytes
/// taken, or -1 with errno.
long matrix_send_with_syn(int socket, uint16_t port, const void *bytes, size_t count);

/// What the client's SYN carried was acknowledged: tcpi_options of TCP_INFO has TCPI_OPT_SYN_DATA.
int matrix_syn_carried_data(int socket);

/// How many TCP segments a socket has sent, SYN and bare ACKs included: tcpi_segs_out of TCP_INFO; -1 with errno.
int matrix_segments_sent(int socket);

/// How many it has received: tcpi_segs_in, of an accepted socket with the SYN; -1 with errno.
int matrix_segments_received(int socket);

/// How many of those it has received had bytes: tcpi_data_segs_in; -1 with errno.
int matrix_data_segments_received(int socket);

/// Bytes in the send queue that were not sent yet, as the peer's window has no room: ioctl SIOCOUTQNSD; -1 with errno.
int matrix_not_sent_bytes(int socket);

/// Sends zeros, each 4096 of them in a page of their own, which a proxy's splice(2) takes as a buffer of its own:
/// sendfile(2) from memfd_create(2). Returns 0, or -1 with errno.
int matrix_send_pages(int socket, size_t count);

/// Closes a connected TCP socket without a word to its peer, by TCP_REPAIR (tcp(7)), as if its machine were gone: what
/// arrives for it later is answered by a reset. Needs CAP_NET_ADMIN. Returns 0, or -1 with errno, and then it is open.
int matrix_vanish(int socket);

/// Writes the address of an IP socket as text, 127.0.0.1:80 or [::1]:80: its own, or its peer's. Returns 0, or -1 with errno.
int matrix_name_of(int socket, int is_peer, char *text, size_t size);

/// connect(2) to a port of ::1. Returns 0, or -1 with errno.
int matrix_connect_ipv6(int socket, uint16_t port);

/// A copy of another process's descriptor: pidfd_open(2), pidfd_getfd(2). Returns it, or -1 with errno.
int matrix_descriptor_of(int pid, int descriptor);

#endif
