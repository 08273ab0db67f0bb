import Manifest
import Platform

/// One limit that a user wants in a running instance: `nofile=4096`, `as=1G`, `nofile=100:200`, `core=unlimited`.
struct LimitChange: Sendable {
    /// Why it is not done; complete sentences.
    enum Failure: Error, Sendable {
        /// It cannot be understood.
        case usage(String)
        /// The kernel refused.
        case failed(String)
    }

    private let name: String
    private let resource: Int32
    private let limit: Platform.LimitPair

    /// Reads a change as the manifest would read it.
    init(name: String, value: String) throws(Failure) {
        guard let resource = ResourceLimit.Resource(rawValue: name), let number = ResourceLimits.number(of: name) else {
            let names = ResourceLimit.Resource.allCases.map(\.rawValue).sorted().joined(separator: " ")
            throw .usage("there is no limit \"\(name)\"; there are \(names)")
        }
        guard let parsed = ResourceLimit(resource, text: value) else {
            throw .usage("\(name)=\(value): expected a number, a size as in 512M, \"unlimited\" or soft:hard")
        }
        self.name = name
        self.resource = number
        limit = Platform.LimitPair(
            soft: parsed.soft ?? Platform.LimitPair.unlimited, hard: parsed.hard ?? Platform.LimitPair.unlimited)
    }

    /// Sets the limits in every process of the instances; answers how many processes there were.
    static func apply(
        _ changes: [LimitChange], to instances: [InstanceProcesses.Instance], keeper: Int32
    ) throws(Failure) -> Int {
        var finder = InstanceProcesses(keeper: keeper)
        var changed: Set<Int32> = []
        for instance in instances {
            for change in changes {
                let outcome = finder.setLimit(change.resource, of: instance) { _ in change.limit }
                changed.formUnion(outcome.changed)
                if let failure = outcome.failures.first {
                    throw .failed(
                        "cannot set \(change.name) of process \(failure.pid) (\(failure.name)): \(failure.error.reason)"
                    )
                }
            }
        }
        return changed.count
    }
}
