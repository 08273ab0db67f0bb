import Manifest
import Platform

/// One limit that a user wants in a running instance: `nofile=4096`, `as=1G`, `nofile=100:200`, `core=unlimited`.
struct LimitChange {
    /// Why it is not done; complete sentences.
    enum Failure: Error {
        /// It cannot be understood.
        case usage(String)
        /// The kernel refused.
        case failed(String)
    }

    private let name: String
    private let resource: Int32
    private let limit: LimitPair

    /// Reads a change as the manifest would read it.
    init(name: String, value: String) throws(Failure) {
        guard let resource = ResourceLimit.Resource(rawValue: name), let number = ResourceLimits.number(of: name) else {
            let names = ResourceLimit.Resource.allCases.map(\.rawValue).sorted().joined(separator: " ")
            throw .usage("there is no limit \"\(name)\"; there are \(names)")
        }
        guard let parsed = ResourceLimit(resource: resource, text: value) else {
            throw .usage("\(name)=\(value): expected a number, a size as in 512M, \"unlimited\" or soft:hard")
        }
        self.name = name
        self.resource = number
        limit = LimitPair(soft: parsed.soft ?? LimitPair.unlimited, hard: parsed.hard ?? LimitPair.unlimited)
    }

    /// Sets the limits in every process of the instances; answers how many processes there were.
    static func apply(_ changes: [LimitChange], to leaders: [InstanceLeader], scope: String) throws(Failure) -> Int {
        let processes = InstanceProcesses.all(of: leaders, scope: scope)
        var count = 0
        for pid in processes {
            for change in changes {
                do throws(SystemError) {
                    _ = try ResourceLimits.set(change.resource, of: pid, to: change.limit)
                } catch {
                    // It has ended since it was listed.
                    if error.code == ErrorCode.noSuchProcess { continue }
                    throw .failed("cannot set \(change.name) of process \(pid): \(error.reason)")
                }
            }
            count += 1
        }
        return count
    }
}
