import Platform
import Supervision

/// What instances use, and their limits in force; keeps what it found out from one look to the next. May be used from
/// any thread.
final class ProcessSampler: Sendable {
    private let processes = Lock<InstanceProcesses?>(nil)

    /// What each instance uses now; one pass over /proc.
    func sample(_ instances: [InstanceProcesses.Instance], keeper: Int32) -> [Generation: InstanceProcesses.Usage] {
        guard !instances.isEmpty else { return [:] }
        return finding(keeper) { $0.sample(instances) }
    }

    /// What each instance uses now of all that has limits; one pass over /proc, and a look at each process.
    func consumption(_ instances: [InstanceProcesses.Instance], keeper: Int32) -> [Generation: Consumption] {
        guard !instances.isEmpty else { return [:] }
        return finding(keeper) { finder in
            let leaders = Dictionary(
                instances.map { ($0.generation, $0.leader) }, uniquingKeysWith: { first, _ in first })
            return finder.membersAndEnded(of: instances).reduce(into: [:]) { found, entry in
                found[entry.key] = Consumption(of: entry.value, leader: leaders[entry.key])
            }
        }
    }

    /// What each instance uses now of that of which a history is kept; one pass over /proc, and one over the descriptors of
    /// each process.
    func use(of instances: [InstanceProcesses.Instance], keeper: Int32) -> [Generation: InstanceUse] {
        guard !instances.isEmpty else { return [:] }
        return finding(keeper) { finder in
            finder.membersAndEnded(of: instances).mapValues { processes in
                processes.reduce(into: InstanceUse()) { use, process in
                    use.cpuSeconds += Double(process.cpuTicks) / ProcessTable.ticksPerSecond
                    guard !process.hasEnded else { return }
                    use.residentBytes &+= process.residentBytes
                    use.threads &+= process.threads
                    use.descriptors = use.descriptors.flatMap { sum in
                        ProcessUse.openDescriptors(of: process.pid).map { sum &+ $0 }
                    }
                }
            }
        }
    }

    private func finding<Found: Sendable>(
        _ keeper: Int32, _ body: (inout InstanceProcesses) -> Found
    ) -> Found {
        processes.withLock { processes in
            var finder = processes ?? InstanceProcesses(keeper: keeper)
            defer { processes = finder }
            return body(&finder)
        }
    }

    /// The limits in force of each instance's leader.
    static func limits(of instances: [InstanceProcesses.Instance]) -> [Generation: [String: LimitPair]] {
        var limits: [Generation: [String: LimitPair]] = [:]
        for instance in instances { limits[instance.generation] = try? ResourceLimits.inForce(of: instance.leader) }
        return limits
    }
}

/// What the processes of an instance use now.
struct InstanceUse: Sendable, Hashable {
    /// CPU time so far, with that of children which have ended.
    var cpuSeconds = 0.0
    /// Resident memory; pages shared between processes count in each.
    var residentBytes: UInt64 = 0
    /// Threads.
    var threads: UInt64 = 0
    /// Open descriptors; nil if those of one may not be counted.
    var descriptors: UInt64? = 0
}
