import Glibc
import Platform
import TestSupport
import Testing

/// The balancer between raw sockets, in the corners where proxies go wrong.
///
/// Every case drives a real process: supd's balancer, or HAProxy with SUPD_MATRIX_PROXY=haproxy, which shows that what is
/// expected here is what a good proxy does. One after the other: processor time and descriptors are counted.
@Suite("The balancer's matrix", .serialized, .timeLimit(.minutes(5)))
struct BalancerMatrix {}
