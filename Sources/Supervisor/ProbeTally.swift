import Platform

/// How probes have ended, by service: of those in the manifest only.
package struct ProbeTally: Sendable {
    /// Of one service.
    package struct Counts: Sendable, Hashable {
        /// Those that passed.
        package var passed: UInt64 = 0
        /// Those that failed.
        package var failed: UInt64 = 0
    }

    /// What the probes are for.
    enum Kind {
        case readiness, health

        fileprivate var columns: (passed: KeptCounts.Column, failed: KeptCounts.Column) {
            switch self {
            case .readiness: (.readyPassed, .readyFailed)
            case .health: (.healthPassed, .healthFailed)
            }
        }
    }

    /// The counts of the services that were probed at all.
    package private(set) var services: [String: Counts] = [:]
    private var kept: (counts: KeptCounts, kind: Kind)?

    /// Nothing so far, and for this process alone.
    package init() {}

    /// Goes on with what supervisors before have counted.
    init(_ kind: Kind, in counts: KeptCounts) {
        kept = (counts, kind)
        let columns = kind.columns
        services = counts.all.compactMapValues { row in
            let counts = Counts(passed: row[columns.passed], failed: row[columns.failed])
            return counts == Counts() ? nil : counts
        }
    }

    /// Counts a probe.
    mutating func count(_ passed: Bool, of service: String) {
        if passed {
            services[service, default: Counts()].passed &+= 1
        } else {
            services[service, default: Counts()].failed &+= 1
        }
        guard let (counts, kind) = kept else { return }
        counts.add([(passed ? kind.columns.passed : kind.columns.failed, 1)], to: service)
    }

    /// Forgets all services but these.
    mutating func keep(_ kept: Set<String>) { services = services.filter { kept.contains($0.key) } }
}
