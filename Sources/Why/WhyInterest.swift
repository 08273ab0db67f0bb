package import ControlAPI
import Platform

/// Of which instances the events and the past are asked for: with hundreds of them most are as they should be, and nothing is to
/// be said of those.
package enum WhyInterest {
    /// So many bytes their names may have, for they are a part of a request's first line; beyond that all is asked for.
    static let longest = 4000

    /// Those that are asked about, and all that others may wait for; nil: so many that all is asked for.
    ///
    /// - Parameters:
    ///   - asked: What is asked about; nil: all that is not as it should be.
    ///   - all: All services.
    ///   - balancer: What the balancer has counted; nil: nobody can tell.
    package static func instances(
        asked: StatusReport?, among all: StatusReport, balancer: BalancerReport?,
        processState: (_ pid: Int32) -> UInt8? = { ProcessTable.entry(of: $0)?.state }
    ) -> [String]? {
        let named = Set((asked?.services ?? []).flatMap(\.instances).map(\.id))
        let balanced = (balancer?.services ?? []).flatMap(\.instances)
        let failing = Set(balanced.filter { $0.setAsideSeconds != nil || $0.failedSecondsAgo != nil }.map(\.id))
        let others = all.services.flatMap(\.instances).filter { instance in
            named.contains(instance.id) || failing.contains(instance.id) || isOfInterest(instance, processState)
        }
        let found = others.map(\.id) + named.subtracting(others.map(\.id)).sorted()
        return found.reduce(0) { $0 + $1.utf8.count + 3 } <= longest ? found : nil
    }

    /// Whether something may be said of it by the way, or somebody may wait for it.
    private static func isOfInterest(_ instance: InstanceStatus, _ processState: (Int32) -> UInt8?) -> Bool {
        guard instance.ready, instance.drained != true, instance.detail == nil, instance.health?.failures ?? 0 == 0,
            instance.health?.isUnhealthy != true
        else { return instance.state != "completed" }
        return instance.pid.flatMap(processState) == UInt8(ascii: "T")
    }
}
