package import Platform
import Supervision

/// Changing a limit of a running instance.
extension InstanceProcesses {
    /// What came of setting a limit.
    package struct LimitChange: Sendable, Hashable {
        /// The processes that have it now.
        package var changed: [Int32] = []
        /// What the first of these had, and what it has now.
        package var first: (old: LimitPair, new: LimitPair)? {
            guard let old, let new else { return nil }
            return (old, new)
        }
        var old: LimitPair?
        var new: LimitPair?
        /// Those that do not, with the reason.
        package var failures: [Failure] = []

        /// A process whose limit could not be set.
        package struct Failure: Sendable, Hashable {
            /// The process.
            package var pid: Int32
            /// The program's name.
            package var name: String
            /// The limit that it has.
            package var current: LimitPair?
            /// Why.
            package var error: SystemError
        }
    }

    /// Sets one resource limit of every process of an instance, since prlimit(2) changes a single one. Looks again for
    /// processes that were forked meanwhile, a few times. Processes that end meanwhile are no failures.
    /// - Parameters:
    ///   - number: RLIMIT_… as `ResourceLimits.number(of:)` gives it.
    ///   - change: the new limit, from the one in force; so that one half of it can be left as it is.
    package mutating func setLimit(
        _ number: Int32, of instance: Instance, _ change: (LimitPair) -> LimitPair
    ) -> LimitChange {
        var result = LimitChange()
        var seen: Set<Int32> = []
        // The children of a process have the limit that it had when it forked: after a pass without a new process all
        // have the new one.
        for _ in 0..<5 {
            let new = (members(of: [instance])[instance.generation] ?? []).filter { seen.insert($0.pid).inserted }
            if new.isEmpty { break }
            for process in new {
                var found: LimitPair?
                do {
                    let name = ResourceLimits.name(of: number) ?? ""
                    guard let current = try ResourceLimits.inForce(of: process.pid)[name] else { continue }
                    found = current
                    let wanted = change(current)
                    try ResourceLimits.set(number, of: process.pid, to: wanted)
                    if result.changed.isEmpty { (result.old, result.new) = (current, wanted) }
                    result.changed.append(process.pid)
                } catch  where error.code == ErrorCode.noSuchProcess || error.code == ErrorCode.notFound {
                    continue
                } catch {
                    result.failures.append(
                        LimitChange.Failure(pid: process.pid, name: process.name, current: found, error: error))
                }
            }
        }
        return result
    }
}
