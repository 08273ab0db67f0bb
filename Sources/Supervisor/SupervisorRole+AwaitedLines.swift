import Links
import Logs
import Manifest
import Platform
import Supervision

/// Readiness by a line of the output.
extension SupervisorRole {
    /// The pattern that an instance waits for; nil if it becomes ready by something else.
    private func pattern(_ instance: InstanceID, port: UInt16, in manifest: Manifest) -> LinePattern? {
        guard let service = manifest.services.first(where: { $0.name == instance.service }), service.kind == .service,
            case .log(let pattern) = service.ready
        else { return nil }
        return LinePattern(
            pattern.expanded(templateValues(service: service.name, instance: instance.number, port: port)))
    }

    /// What the processes still wait for that a supervisor before has started.
    func awaitedLines(of manifest: Manifest, _ inventory: Inventory) -> [UInt64: LinePattern] {
        var patterns: [UInt64: LinePattern] = [:]
        for child in inventory.children {
            guard let label = ChildLabel(child.label), label.role == .leader, !label.saidReady else { continue }
            patterns[child.id] = pattern(label.instance, port: label.port, in: manifest)
        }
        return patterns
    }

    /// A process is there, whose output is to be attached.
    func awaitLine(_ generation: Generation, _ instance: InstanceID) {
        guard let application, let (_, port) = application.instance(of: generation),
            let service = application.settings(of: instance),
            // What it goes by, which during a rollout need not be the manifest's.
            let pattern = pattern(instance, port: port, in: Manifest(services: [service]))
        else { return }
        pump?.awaitLine(pattern, of: generation.number)
    }

    /// The line has come.
    func sawAwaitedLine(_ generation: Generation) {
        take(.probed(generation, passed: true, detail: "the line that it waits for has come"))
    }
}
