import Platform
import Synchronization

/// The table as the loops take it: immutable, one object for all of them, swapped in whole.
final class Routing: Sendable {
    struct Listener: Sendable {
        let socket: Descriptor
        let counters: CounterSet
        let rules: ListenerSlot.Rules
        let allowed: AddressList?
    }

    struct Endpoint: Sendable {
        let id: UInt64
        let port: UInt16
        let isActive: Bool
        let counters: CounterSet
    }

    struct Pool: Sendable {
        let service: String
        let cursor: RoundRobinCursor
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

/// Whose turn it is in a pool: one number for all loops and all tables, which makes round robin exact.
final class RoundRobinCursor: @unchecked Sendable {
    /// A cache line of its own, for every loop writes here.
    let ticket: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 128)
        ticket = memory.bindMemory(to: Atomic<UInt64>.self, capacity: 1)
        ticket.initialize(to: Atomic(0))
    }

    deinit {
        ticket.deinitialize(count: 1)
        UnsafeMutableRawPointer(ticket).deallocate()
    }
}

/// Sums instants and durations without overflow.
@inline(__always)
func saturatingSum(_ instant: Int64, _ duration: Int64) -> Int64 {
    let (sum, overflow) = instant.addingReportingOverflow(duration)
    return overflow ? (duration > 0 ? .max : .min) : sum
}
