import Platform
import Supervision

/// What instances use, and their limits in force; keeps what it found out from one look to the next. May be used from
/// any thread.
final class ProcessSampler: Sendable {
    private let processes = Lock<InstanceProcesses?>(nil)

    /// What each instance uses now; one pass over /proc.
    func sample(_ instances: [InstanceProcesses.Instance], keeper: Int32) -> [Generation: InstanceProcesses.Usage] {
        guard !instances.isEmpty else { return [:] }
        return processes.withLock { processes in
            var finder = processes ?? InstanceProcesses(keeper: keeper)
            defer { processes = finder }
            return finder.sample(instances)
        }
    }

    /// The limits in force of each instance's leader.
    static func limits(of instances: [InstanceProcesses.Instance]) -> [Generation: [String: LimitPair]] {
        var limits: [Generation: [String: LimitPair]] = [:]
        for instance in instances { limits[instance.generation] = try? ResourceLimits.inForce(of: instance.leader) }
        return limits
    }
}
