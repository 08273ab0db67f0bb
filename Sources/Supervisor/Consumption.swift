import Platform

/// What an instance's processes use, and how near they are to their limits.
struct Consumption: Sendable, Hashable {
    /// How many processes there are.
    var processes = 0
    /// The threads of all of them.
    var threads: UInt64 = 0
    /// CPU time of all of them, with that of children which have ended.
    var cpuSeconds = 0.0
    /// Resident memory of all of them.
    var residentBytes: UInt64 = 0
    /// Address space of all of them.
    var virtualBytes: UInt64 = 0
    /// Descriptors of all of them; nil if those of one may not be counted.
    var openDescriptors: UInt64? = 0
    /// The limits in force of the leader.
    var limits: [String: LimitPair] = [:]
    /// By limit: how much of it that process uses which is nearest to it, 1 is all. Only of limits that there are, and
    /// whose use the kernel tells.
    var usage: [String: Double] = [:]

    /// Looks at the processes.
    init(of processes: [ProcessEntry], leader: Int32?) {
        for process in processes {
            let limits = (try? ResourceLimits.inForce(of: process.pid)) ?? [:]
            if process.pid == leader { self.limits = limits }
            add(process, ProcessUse(of: process.pid), limits)
        }
    }

    /// Nothing so far; for `add`.
    init() {}

    /// Adds one process; of one that has ended its CPU time.
    mutating func add(_ process: ProcessEntry, _ use: ProcessUse, _ limits: [String: LimitPair]) {
        cpuSeconds += Double(process.cpuTicks) / ProcessTable.ticksPerSecond
        guard !process.hasEnded else { return }
        processes += 1
        threads &+= process.threads
        residentBytes &+= process.residentBytes
        virtualBytes &+= process.virtualBytes
        openDescriptors = openDescriptors.flatMap { sum in use.openDescriptors.map { sum &+ $0 } }
        let uses: [(limit: String, use: Double?)] = [
            ("nofile", use.openDescriptors.map { Double($0) }), ("as", Double(process.virtualBytes)),
            ("data", use.dataBytes.map { Double($0) }), ("stack", use.stackBytes.map { Double($0) }),
            ("memlock", use.lockedBytes.map { Double($0) }), ("sigpending", use.queuedSignals.map { Double($0) }),
            ("cpu", Double(process.ownTicks) / ProcessTable.ticksPerSecond),
        ]
        for (name, use) in uses {
            guard let use, let limit = limits[name]?.soft, limit != LimitPair.unlimited, limit > 0 else { continue }
            usage[name] = max(usage[name] ?? 0, use / Double(limit))
        }
    }
}
