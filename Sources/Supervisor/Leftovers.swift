package import Platform

/// What a killed keeper of the same runtime directory left running. Its children died with it, but not theirs.
package enum Leftovers {
    /// What was found and done.
    package struct Outcome: Sendable, Hashable {
        /// Processes that were ended: `pid 123 (sleep) of api/2`.
        package var ended: [String] = []
        /// Processes that are still there: not ours to signal, or stuck in the kernel.
        package var remaining: [String] = []
    }

    /// Ends all processes that carry the mark of another keeper of this runtime directory, and their descendants, with
    /// SIGKILL; waits until they are gone, for two seconds at most. To be called before anything is started.
    /// - Parameters:
    ///   - scope: the scope of the present keeper.
    ///   - keeper: its pid; its ancestors and descendants are never touched, whatever they carry.
    package static func end(scope: ProcessScope, keeper: Int32) -> Outcome {
        end(sparing: keeper) { $0.runtimeDirectory == scope.runtimeDirectory && $0 != scope }
    }

    /// Ends all processes that this keeper's children and their descendants are, in the same way: for the supervisor
    /// that has seen its keeper die.
    package static func endAll(of scope: ProcessScope) -> Outcome {
        end(sparing: ownProcessID()) { $0 == scope }
    }

    private static func end(sparing keeper: Int32, _ isMeant: (ProcessScope) -> Bool) -> Outcome {
        var outcome = Outcome()
        var told: Set<Int32> = []
        let deadline = monotonicNanoseconds() + 2_000_000_000
        // Again until none is found: one may fork while it is looked at.
        while true {
            let found = find(sparing: keeper, isMeant)
            if found.isEmpty || monotonicNanoseconds() > deadline {
                outcome.remaining = found.map(describe)
                return outcome
            }
            for leftover in found {
                endProcess(leftover.process)
                if told.insert(leftover.process.pid).inserted { outcome.ended.append(describe(leftover)) }
            }
            waitForEnd(of: found.map(\.process), until: deadline)
        }
    }

    private struct Leftover {
        var process: ProcessEntry
        var instance: String
    }

    private static func describe(_ leftover: Leftover) -> String {
        "pid \(leftover.process.pid) (\(leftover.process.name)) of \(leftover.instance)"
    }

    private static func find(sparing keeper: Int32, _ isMeant: (ProcessScope) -> Bool) -> [Leftover] {
        let processes = ((try? ProcessTable.all()) ?? []).filter { !$0.hasEnded }
        let table = Dictionary(processes.map { ($0.pid, $0) }, uniquingKeysWith: { first, _ in first })
        /// The process, its parent and so on.
        func line(of pid: Int32) -> [Int32] {
            var line: [Int32] = []
            var next = pid
            while let process = table[next], !line.contains(next) {
                line.append(next)
                next = process.parent
            }
            return line
        }
        // supd may itself have been started from something that an earlier supd ran.
        let ours = Set(line(of: keeper))
        var instances: [Int32: String] = [:]
        for process in processes {
            guard let text = ProcessTable.environmentValue(ProcessScope.variable, of: process.pid),
                let mark = ProcessMark(text), isMeant(mark.scope)
            else { continue }
            instances[process.pid] = mark.instance
        }
        return processes.compactMap { process in
            let line = line(of: process.pid)
            guard !ours.contains(process.pid), !line.contains(keeper),
                let instance = line.prefix(while: { !ours.contains($0) }).lazy.compactMap({ instances[$0] }).first
            else { return nil }
            return Leftover(process: process, instance: instance)
        }
    }

    private static func waitForEnd(of processes: [ProcessEntry], until deadline: Int64) {
        for process in processes {
            guard let handle = try? ProcessDescriptor(pid: process.pid),
                ProcessTable.entry(of: process.pid)?.startTicks == process.startTicks
            else { continue }
            handle.waitForEnd(milliseconds: Int32(clamping: (deadline - monotonicNanoseconds()) / 1_000_000))
        }
    }
}
