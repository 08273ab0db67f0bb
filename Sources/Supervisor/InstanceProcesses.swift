package import Platform
package import Supervision

/// The processes that an instance consists of. Whatever a leader starts stays a descendant of the keeper, which is a
/// subreaper; so a process belongs to an instance when it is the leader, is in the leader's session or group, descends
/// from one that is, or is an orphan that carries the instance's mark in its environment (it had left the session before
/// its parent ended).
package struct InstanceProcesses {
    /// What is known of a running instance.
    package struct Instance: Sendable, Hashable {
        /// The start.
        package var generation: Generation
        /// The instance.
        package var id: InstanceID
        /// The pid of its leader, which the keeper has not released yet (so that no other process has it).
        package var leader: Int32
        /// What its processes carry as SUPD_SCOPE.
        package var mark: String

        /// Creates an entry; `scope` is the text of the keeper's welcome.
        package init(generation: Generation, id: InstanceID, leader: Int32, scope: String) {
            self.generation = generation
            self.id = id
            self.leader = leader
            mark = processMark(scope: scope, id: id, generation: generation)
        }
    }

    /// What an instance's processes use.
    package struct Usage: Sendable, Hashable {
        /// CPU time so far, with that of children which have ended.
        package var cpuSeconds: Double = 0
        /// Resident memory; pages shared between processes count in each.
        package var residentBytes: UInt64 = 0
        /// How many processes there are.
        package var processes: Int = 0
    }

    /// A process for good: pids come again, pids with the same start do not.
    private struct Key: Hashable {
        var pid: Int32
        var startTicks: UInt64
    }

    private let keeper: Int32
    /// Marks found so far, of processes that were there in the last pass. That a process has none is not kept: it may be
    /// between fork and exec.
    private var marks: [Key: String] = [:]

    /// Creates a finder for the children of this keeper.
    package init(keeper: Int32) { self.keeper = keeper }

    /// The processes of each instance, those left out that have ended; one pass over /proc for all. An instance without
    /// any has no entry.
    package mutating func members(of instances: [Instance]) -> [Generation: [ProcessEntry]] {
        members(of: instances, in: (try? ProcessTable.all()) ?? [])
    }

    /// As `members(of:)`, with those that have ended and wait to be waited for: only then their CPU time becomes their
    /// parent's, and without them the sum would fall meanwhile.
    mutating func membersAndEnded(of instances: [Instance]) -> [Generation: [ProcessEntry]] {
        membersAndEnded(of: instances, in: (try? ProcessTable.all()) ?? [])
    }

    /// What each instance uses now; one pass over /proc for all.
    package mutating func sample(_ instances: [Instance]) -> [Generation: Usage] {
        membersAndEnded(of: instances).mapValues { processes in
            processes.reduce(into: Usage()) { usage, process in
                usage.cpuSeconds += Double(process.cpuTicks) / ProcessTable.ticksPerSecond
                guard !process.hasEnded else { return }
                usage.residentBytes &+= process.residentBytes
                usage.processes += 1
            }
        }
    }

    /// Sends SIGKILL to those processes of an instance that are not in its leader's group, which the keeper signals
    /// itself; returns how many of them there were, so that 0 means: no orphan is left.
    package mutating func endOrphans(of instance: Instance) -> Int {
        let orphans = (members(of: [instance])[instance.generation] ?? []).filter { process in
            process.pid != instance.leader && process.group != instance.leader
        }
        for orphan in orphans { endProcess(orphan) }
        return orphans.count
    }

    // MARK: Telling whose a process is

    /// As `members(of:)`, with the processes of a pass made earlier.
    mutating func members(of instances: [Instance], in processes: [ProcessEntry]) -> [Generation: [ProcessEntry]] {
        membersAndEnded(of: instances, in: processes).mapValues { $0.filter { !$0.hasEnded } }
    }

    /// As `membersAndEnded(of:)`, with the processes of a pass made earlier.
    mutating func membersAndEnded(
        of instances: [Instance], in processes: [ProcessEntry]
    ) -> [Generation: [ProcessEntry]] {
        let table = Dictionary(processes.map { ($0.pid, $0) }, uniquingKeysWith: { first, _ in first })
        let leaders = Dictionary(instances.map { ($0.leader, $0.generation) }, uniquingKeysWith: { first, _ in first })
        let marked = Dictionary(instances.map { ($0.mark, $0.generation) }, uniquingKeysWith: { first, _ in first })
        var owners: [Int32: Generation?] = [keeper: nil]
        var kept: [Key: String] = [:]

        /// Walks up until a process whose owner is known or can be told by itself; all on the way have the same one.
        func owner(of process: ProcessEntry) -> Generation? {
            var way: [Int32] = []
            var current = process
            var found: Generation?
            walk: while true {
                if let known = owners[current.pid] {
                    found = known
                    break
                }
                // Also ends a circle, which a table read while pids change hands might show.
                owners[current.pid] = .some(nil)
                way.append(current.pid)
                if let generation = leaders[current.pid] ?? leaders[current.session] ?? leaders[current.group] {
                    found = generation
                    break
                }
                guard current.parent != keeper, let parent = table[current.parent] else {
                    if current.parent == keeper, let mark = mark(of: current) {
                        kept[Key(pid: current.pid, startTicks: current.startTicks)] = mark
                        found = marked[mark]
                    }
                    break walk
                }
                current = parent
            }
            for pid in way { owners[pid] = .some(found) }
            return found
        }

        var members: [Generation: [ProcessEntry]] = [:]
        for process in processes {
            if let generation = owner(of: process) { members[generation, default: []].append(process) }
        }
        marks = kept
        return members.filter { !$0.value.allSatisfy(\.hasEnded) }
    }

    private func mark(of process: ProcessEntry) -> String? {
        marks[Key(pid: process.pid, startTicks: process.startTicks)]
            ?? ProcessTable.environmentValue(ProcessScope.variable, of: process.pid)
    }
}

/// What the processes of a generation carry as SUPD_SCOPE; `scope` is the text of the keeper's welcome.
func processMark(scope: String, id: InstanceID, generation: Generation) -> String { "\(scope)#\(id)#\(generation)" }

/// Sends SIGKILL to a process seen in the table, if its pid is still its own.
func endProcess(_ process: ProcessEntry) {
    guard let kill = Signals.number(of: "KILL") else { return }
    // One that may not be signalled stays, and is found again by whoever looks whether all are gone.
    _ = try? ProcessDescriptor.signal(kill, to: process.pid) { pid in
        ProcessTable.entry(of: pid)?.startTicks == process.startTicks
    }
}
