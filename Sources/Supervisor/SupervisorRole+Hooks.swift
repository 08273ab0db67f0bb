import Dispatch
import Events
import Links
import Manifest
import Platform
import Supervision

/// Hooks: commands of the manifest that get an event on their standard input. The keeper runs them as it runs probes. Nothing
/// waits for them: what goes wrong with one is said in the log.
extension SupervisorRole {
    static let heldHookPrefix = "hook "
    /// The keeper passes descriptors from 3 on: the shell puts the event in the place of standard input, and is gone.
    private static let script = "exec \"$0\" \"$@\" <&3 3<&-"

    /// Looks whether events that were kept are occasions for hooks.
    func lookForOccasions(_ numbered: [EventRecord]) {
        for event in numbered {
            if let found = hooks.watch.take(event, at: now) { runHooks(for: found) }
        }
        armHooks()
    }

    private func armHooks() {
        guard let deadline = hooks.watch.nextDeadline, hooks.armed.map({ deadline < $0 }) ?? true else { return }
        hooks.armed = deadline
        let delay = max(0, deadline.nanoseconds - monotonicNanoseconds())
        queue.asyncAfter(deadline: .now() + .nanoseconds(Int(delay))) { [weak self] in
            self?.assumeIsolated { role in
                role.hooks.armed = nil
                for found in role.hooks.watch.recovered(at: role.now) { role.runHooks(for: found) }
                role.armHooks()
            }
        }
    }

    private func runHooks(for found: HookWatch.Found) {
        guard let hooksInForce = application?.manifest.hooks, !isShuttingDown else { return }
        if hooks.add(found, of: hooksInForce) {
            log.write(.warning, "hooks: \(HookRuns.mostWaiting) wait already; those that come are dropped")
        }
        beginHooks()
    }

    private func beginHooks() {
        while let run = hooks.next() { begin(run, number: hooks.last) }
    }

    private func begin(_ run: HookRuns.Run, number: UInt64) {
        let name = Self.heldHookPrefix + String(number)
        let what = "hook for \(run.occasion.rawValue) of \(run.event.instance ?? run.event.service ?? "supd")"
        do {
            let input = try MemoryFile(name: "event")
            try input.write(EventLine.text(run.event, on: run.occasion.rawValue) ?? [], at: 0)
            var plan = try hookPlan(run)
            plan.passed = [SpawnPlan.Passed(number: 3, held: name)]
            keeper?.send(.hold(name: name), [input.descriptor])
            let id = runProbeCommand(plan) { [weak self] outcome in
                self?.assumeIsolated { $0.hookEnded(what, outcome, held: name) }
            }
            queue.asyncAfter(deadline: .now() + .seconds(HookRuns.patience)) { [weak self] in
                self?.assumeIsolated { $0.endProbeCommand(id) }
            }
        } catch {
            log.write(.warning, "\(what): \((error as? StartFailure)?.text ?? "\(error)")")
            countHook()
        }
    }

    /// As a probe of the instance would run, but as supd's own user, in the manifest's folder, and with none of the variables
    /// that are its service's own.
    private func hookPlan(_ run: HookRuns.Run) throws(StartFailure) -> SpawnPlan {
        guard let application, let planner else { throw StartFailure(text: "supd is still starting") }
        let name = run.event.instance ?? ""
        let instance = application.views(at: now).lazy.flatMap(\.instances).first { $0.id.description == name }
        let service = Service(
            name: run.event.service ?? "supd", command: run.command,
            directory: Template(literal: ManifestFile.directory(of: configuration.manifestPath)))
        // One that is gone has its number still.
        let number = instance?.id.number ?? name.split(separator: "/").last.flatMap { Int($0) }
        var plan = try planner.hookPlan(
            run.command, of: service, instance: number, port: instance?.port, manifest: application.manifest)
        plan.arguments = ["/bin/sh", "-c", Self.script] + plan.arguments
        plan.candidates = ["/bin/sh"]
        return plan
    }

    private func hookEnded(_ what: String, _ outcome: Prober.CommandResult, held name: String) {
        keeper?.send(.drop(name: name))
        switch outcome {
        case .exited(.code(0), _): break
        case .exited(.signal(Signals.killNumber, _), _):
            log.write(.warning, "\(what): killed, after \(HookRuns.patience) s at the latest")
        case .exited(let status, let output):
            let line = output.split(whereSeparator: \.isNewline).last.map { ": \($0.prefix(300))" } ?? ""
            log.write(.warning, "\(what): \(status.words)\(line)")
        case .notStarted(let text): log.write(.warning, "\(what): \(text)")
        }
        countHook()
    }

    private func countHook() {
        let dropped = hooks.ended()
        if dropped > 0 { log.write(.warning, "hooks: \(dropped) were dropped, for too many waited") }
        beginHooks()
    }
}
