/// How probes have ended, by service: of those in the manifest only.
package struct ProbeTally: Sendable, Hashable {
    /// Of one service.
    package struct Counts: Sendable, Hashable {
        /// Those that passed.
        package var passed: UInt64 = 0
        /// Those that failed.
        package var failed: UInt64 = 0
    }

    /// The counts of the services that were probed at all.
    package private(set) var services: [String: Counts] = [:]

    /// Counts a probe.
    mutating func count(_ passed: Bool, of service: String) {
        if passed {
            services[service, default: Counts()].passed &+= 1
        } else {
            services[service, default: Counts()].failed &+= 1
        }
    }

    /// Forgets all services but these.
    mutating func keep(_ kept: Set<String>) { services = services.filter { kept.contains($0.key) } }
}
