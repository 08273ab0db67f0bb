import Links
import Platform

/// The table as the loops take it: immutable, one object for all of them, swapped in whole.
final class Routing: Sendable {
    /// `RoutingTable.Pool.Algorithm` in a byte.
    enum Algorithm: UInt8, Sendable {
        case roundrobin, leastconn, random2, source

        init(_ algorithm: RoutingTable.Pool.Algorithm) {
            switch algorithm {
            case .roundrobin: self = .roundrobin
            case .leastconn: self = .leastconn
            case .random2: self = .random2
            case .source: self = .source
            }
        }
    }

    struct Listener: Sendable {
        let socket: Descriptor
        let counters: CounterSet
        let rules: ListenerSlot.Rules
        let allowed: AddressList?
        /// The most connections of its front; 0: no limit.
        let limit: UInt32
    }

    struct Endpoint: Sendable {
        let id: UInt64
        let port: UInt16
        let state: RoutingTable.Endpoint.State
        let counters: CounterSet
        let share: EndpointShare
        /// See `Rendezvous.hash`.
        let instanceHash: UInt64
        /// When it became active, on the monotonic clock.
        let activated: Int64
    }

    struct Pool: Sendable {
        let service: String
        let share: PoolShare
        let listeners: [Listener]
        let endpoints: [Endpoint]
        let refuses: Bool
        let queueTimeout: Int64
        let holdUntil: Int64
        let connectTimeout: Int64
        let drainTimeout: Int64
        let idleTimeout: Int64
        let finTimeout: Int64
        let proxyProtocol: ProxyHeader.Version?
        let logsSessions: Bool
        let algorithm: Algorithm
        let slowStart: Int64
        /// The most connections of one endpoint; 0: no limit.
        let limit: UInt32
        /// The most connections that wait.
        let maxQueue: Int

        /// Whether the supervisor is told when one waits.
        let announcesWaiting: Bool

        /// Whether a connection must know how many others an endpoint has in all loops.
        var countsLoad: Bool { limit > 0 || algorithm == .leastconn || algorithm == .random2 }
    }

    let revision: UInt64
    /// Grows by one with every table, whatever the supervisor's revisions do.
    let number: UInt64
    let pools: [Pool]

    init(revision: UInt64, number: UInt64, pools: [Pool]) {
        self.revision = revision
        self.number = number
        self.pools = pools
    }
}

/// Sums instants and durations without overflow.
@inline(__always)
func saturatingSum(_ instant: Int64, _ duration: Int64) -> Int64 {
    let (sum, overflow) = instant.addingReportingOverflow(duration)
    return overflow ? (duration > 0 ? .max : .min) : sum
}
