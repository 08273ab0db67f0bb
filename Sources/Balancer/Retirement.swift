import Dispatch
import Links

/// The end of a balancer that another one has taken over from: what the table becomes meanwhile.
///
/// First the fronts lose their listeners; endpoints stay as they are, for connections that still wait for one. When the drain
/// time of a service is over its endpoints go, and what is left is cut.
struct Retirement: Sendable {
    /// Between two looks at what is left.
    static let pause = DispatchTimeInterval.milliseconds(50)
    /// How long after the last cut the end does not wait for anything any more, in nanoseconds.
    private static let patience: Int64 = 3_000_000_000

    let done: @Sendable () -> Void
    private let began: Int64
    private var lastCut: Int64?
    private var table: RoutingTable
    private var isBegun = false
    /// The services that still have their time.
    private var left: [String: Int64]

    /// Begins with the table in force at an instant.
    init(_ table: RoutingTable, at now: Int64, done: @escaping @Sendable () -> Void) {
        self.done = done
        began = now
        self.table = table
        left = Dictionary(table.pools.map { ($0.service, max(0, $0.drainTimeout)) }, uniquingKeysWith: max)
        for pool in self.table.pools.indices {
            for front in self.table.pools[pool].fronts.indices { self.table.pools[pool].fronts[front].listeners = [] }
        }
    }

    /// The table that is to be in force from now on; nil: the one before.
    mutating func nextTable(at now: Int64) -> RoutingTable? {
        let over = left.filter { saturatingSum(began, $0.value) <= now }.keys
        guard !isBegun || !over.isEmpty else { return nil }
        isBegun = true
        for service in over { left[service] = nil }
        if left.isEmpty { lastCut = now }
        for pool in table.pools.indices where left[table.pools[pool].service] == nil {
            table.pools[pool].drainTimeout = 0
            table.pools[pool].emptiness = .refuse
            for endpoint in table.pools[pool].endpoints.indices {
                table.pools[pool].endpoints[endpoint].state = .draining
            }
        }
        return table
    }

    /// Whether even what was cut must be gone.
    func isOver(at now: Int64) -> Bool {
        lastCut.map { saturatingSum($0, Self.patience) <= now } ?? false
    }
}
