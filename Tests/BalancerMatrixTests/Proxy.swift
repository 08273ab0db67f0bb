import Glibc
import Platform
import TestSupport

/// Which proxy stands between the tests' clients and servers.
enum ProxyKind: String, Sendable {
    /// supd's balancer, in a process of its own.
    case supd
    /// HAProxy in TCP mode: by SUPD_MATRIX_PROXY=haproxy, so that what the tests expect is itself checked.
    case haproxy

    /// The one that this run is about.
    static let present = getenv("SUPD_MATRIX_PROXY").flatMap { ProxyKind(rawValue: String(cString: $0)) } ?? .supd
}

/// What a case wants of its proxy, beside 30 s for half-closed connections, and no timeout for idle ones.
struct Wish: Sendable {
    /// Loops of supd, threads of HAProxy.
    var threads = 2
    /// The hard limit on open files; nil: the test's own.
    var descriptors: Int?
    /// In seconds.
    var connectTimeout = 2
    /// In seconds.
    var queueTimeout = 10
    /// HAProxy: how often a connect is tried again, a second later if it is at the same server. supd needs no number: its
    /// queue is bounded by time.
    var retries = 3
    /// Connections that one server takes; the others queue. nil: no limit.
    var connectionsPerServer: Int?
}

/// A proxy under test: a process, and the port that it accepts on.
protocol Proxy: AnyObject {
    var pid: Int32 { get }
    var port: UInt16 { get }
    /// Makes these the servers. Only supd can: HAProxy reads its configuration once.
    func serve(_ servers: [Server]) throws
    /// What it says of itself; nil if it cannot be asked, like HAProxy.
    func counts() throws -> ProxyCounts?
    /// Ends it and waits for it; throws what is to be said against it.
    func end() throws
}

/// What a proxy says of itself.
struct ProxyCounts {
    /// Clients ever accepted, there now, and of these without a server yet.
    var accepted = 0
    var clients = 0
    var waiting = 0
    /// Clients that have ended before they had a server, and connects to servers that were done: whoever was ever accepted
    /// is in one of the two once he no longer waits for anything.
    var endedEarly = 0
    var connects = 0
    /// Connections that servers are charged with now.
    var charged = 0

    /// Whether every client that was accepted has its server, or is gone.
    var isSettled: Bool { accepted == connects + endedEarly }
    /// Whether nobody is there.
    var isEmpty: Bool { clients == 0 && waiting == 0 && charged == 0 }
}
