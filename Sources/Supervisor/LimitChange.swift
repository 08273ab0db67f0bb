import ControlAPI
import Manifest
import Platform
import Supervision

/// One limit that a user wants in a running instance: `nofile=4096`, `as=1G`, `nofile=100:200`, `core=unlimited`.
struct LimitChange: Sendable {
    /// Why it is not done; complete sentences.
    enum Failure: Error, Sendable, Hashable {
        /// It cannot be understood.
        case usage(String)
        /// The kernel refused.
        case failed(String)
    }

    /// What came of changes.
    struct Outcome: Sendable {
        /// What is otherwise now, by instance and limit.
        var settings: [Setting] = []
        /// How many processes have other limits now.
        var processes = 0
        /// Why the rest was left as it was; nil: all is done.
        var failure: Failure?
    }

    /// A limit of an instance that was changed.
    struct Setting: Sendable {
        /// The instance.
        var instance: InstanceID
        /// The limit.
        var name: String
        /// What the instance's first process had.
        var old: Platform.LimitPair
        /// What all its processes have now.
        var new: Platform.LimitPair
    }

    private let name: String
    private let resource: Int32
    private let limit: Platform.LimitPair

    /// Reads a change as the manifest would read it.
    init(name: String, value: String) throws(Failure) {
        guard let resource = ResourceLimit.Resource(rawValue: name), let number = ResourceLimits.number(of: name) else {
            let names = ResourceLimit.Resource.allCases.map(\.rawValue).sorted()
            let meant = Suggestion.nearest(to: name, among: names)
            throw .usage(
                "there is no limit \"\(name)\"; "
                    + (meant.map { "did you mean \"\($0)\"?" } ?? "there are \(names.joined(separator: " "))"))
        }
        guard let parsed = ResourceLimit(resource, text: value) else {
            throw .usage(
                "\(name)=\(value): expected a number, a size as in 512M, \"unlimited\", or soft:hard with soft not above hard"
            )
        }
        self.name = name
        self.resource = number
        limit = Platform.LimitPair(
            soft: parsed.soft ?? Platform.LimitPair.unlimited, hard: parsed.hard ?? Platform.LimitPair.unlimited)
    }

    /// A limit of the manifest; nil if this kernel's C library does not know it.
    init?(_ limit: ResourceLimit) {
        guard let number = ResourceLimits.number(of: limit.resource.rawValue) else { return nil }
        name = limit.resource.rawValue
        resource = number
        self.limit = Platform.LimitPair(
            soft: limit.soft ?? Platform.LimitPair.unlimited, hard: limit.hard ?? Platform.LimitPair.unlimited)
    }

    /// Sets the limits in every process of the instances; up to the first one that the kernel refuses, unless all others are
    /// to be set.
    static func apply(
        _ changes: [LimitChange], to instances: [InstanceProcesses.Instance], keeper: Int32, stopsAtFailure: Bool = true
    ) -> Outcome {
        var finder = InstanceProcesses(keeper: keeper)
        var outcome = Outcome()
        var changed: Set<Int32> = []
        for instance in instances {
            for change in changes {
                let result = finder.setLimit(change.resource, of: instance) { _ in change.limit }
                changed.formUnion(result.changed)
                outcome.processes = changed.count
                if let failure = result.failures.first {
                    let others = result.changed.count
                    let count = Amount.text(others, "other process", "other processes")
                    let note = others == 0 ? "" : "; \(count) of it took it"
                    outcome.failure = outcome.failure ?? .failed(change.text(of: failure, instance.id) + note)
                    if stopsAtFailure { return outcome }
                    continue
                }
                if let (old, new) = result.first {
                    outcome.settings.append(Setting(instance: instance.id, name: change.name, old: old, new: new))
                }
            }
        }
        return outcome
    }

    /// Why a process was not given the limit.
    private func text(of failure: InstanceProcesses.LimitChange.Failure, _ instance: InstanceID) -> String {
        let reason = LimitText.refusal(
            of: name, to: limit, code: failure.error.code, current: failure.current, whose: "the process's")
        return
            "cannot set \(name) of \(instance) to \(LimitText.pair(limit)) (process \(failure.pid), \(failure.name)): "
            + failure.error.reason + (reason.map { "; \($0)" } ?? "")
    }

    /// What to log of changes: a line for each limit with the same old and new value, whatever the number of instances.
    static func lines(_ settings: [Setting]) -> [String] {
        struct Key: Hashable {
            var name: String
            var old: Platform.LimitPair
            var new: Platform.LimitPair
        }
        var order: [Key] = []
        var instances: [Key: [InstanceID]] = [:]
        for setting in settings {
            let key = Key(name: setting.name, old: setting.old, new: setting.new)
            if instances[key] == nil { order.append(key) }
            instances[key, default: []].append(setting.instance)
        }
        return order.map { key in
            "limit \(key.name) of \(listed(instances[key] ?? [])) changed from \(LimitText.pair(key.old)) to "
                + LimitText.pair(key.new)
        }
    }
}
