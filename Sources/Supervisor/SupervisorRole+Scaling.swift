import ControlAPI
import Dispatch
import Manifest
import Platform
import Supervision

/// `scale`: from what was asked for to a manifest that differs in `replicas`, and what is kept of it.
extension SupervisorRole {
    /// Flushing a file takes as long as a disk does: not on the queue that restarts things.
    private static let keeping = DispatchQueue(label: "supd.scaling", qos: .utility)

    /// Changes how many instances services have. It is kept before it is done: what was answered holds after every
    /// restart.
    func scale(
        _ wishes: [ScaleWish], _ application: Application, _ options: ControlRoute.WaitOptions,
        _ peer: PeerCredentials, _ responder: ControlResponder
    ) {
        guard !isKeepingScale else {
            return waitingScales.append(
                WaitingScale(
                    wishes: wishes, options: options, peer: peer, request: statusRequests.begin(responder)))
        }
        guard let counts = counts(of: wishes, application, responder) else { return }
        if let hindrance = application.scaleHindrance(of: Set(counts.keys)) {
            return responder.fail(409, code: "failed", hindrance)
        }
        let next: Manifest
        do throws(ScaleRefusal) {
            next = try application.manifest(scaling: counts)
        } catch {
            return responder.fail(409, code: "failed", error.text)
        }
        for (instance, port) in application.fixedPortsAdded(by: next) {
            guard let holder = PortCheck.holder(of: port) else { continue }
            return responder.fail(
                409, code: "failed", "port \(port), which \(instance) would have, is in use by \(holder)")
        }
        let what = counts.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        guard !Plan(from: application, to: next).changes.isEmpty else {
            return responder.finish(
                json: ProgressLine(result: "done", message: "nothing to change: \(what) already", changed: false))
        }
        log.write(.notice, "scale \(what), asked for by \(peer)")
        noteCommand("scale", wishes.map { "\($0.name)=\($0.replicas)" }, by: peer)
        isKeepingScale = true
        let before = keptOverrides
        let overrides = next.scaleOverrides
        keptOverrides = overrides
        let request = statusRequests.begin(responder)
        Self.keeping.async { [role = self, scaleFile] in
            let outcome = Result { () throws(SystemError) in try scaleFile.write(overrides) }
            role.queue.async {
                role.assumeIsolated { role in
                    role.isKeepingScale = false
                    defer { role.takeWaitingScale() }
                    guard let responder = role.statusRequests.end(request) else { return }
                    if case .failure(let error) = outcome {
                        role.keptOverrides = before
                        let text = "nothing has changed: it cannot be kept over a restart of supd: \(error)"
                        role.log.write(.error, "scale: \(text)")
                        return responder.fail(409, code: "failed", text)
                    }
                    role.scaleWasKept(counts, options, responder)
                }
            }
        }
    }

    private func scaleWasKept(
        _ counts: [String: Int], _ options: ControlRoute.WaitOptions, _ responder: ControlResponder
    ) {
        defer { bringScalingIntoLine() }
        guard let application else { return }
        // It may have become true meanwhile.
        if let hindrance = application.scaleHindrance(of: Set(counts.keys)) {
            return responder.fail(409, code: "failed", hindrance)
        }
        let next: Manifest
        do throws(ScaleRefusal) {
            next = try application.manifest(scaling: counts)
        } catch {
            return responder.fail(409, code: "failed", error.text)
        }
        let plan = Plan(from: application, to: next).changes.map(PlannedChange.init)
        if options.wait { responder.send(ProgressLine(plan: plan)) }
        let command = commands.begin()
        carryOut(command, options, responder, summary: summary(of: counts, next)) {
            take(.scaled(command, counts))
        }
    }

    /// The next of those that came while one was being written down.
    private func takeWaitingScale() {
        while !isKeepingScale, !waitingScales.isEmpty {
            let next = waitingScales.removeFirst()
            guard let responder = statusRequests.end(next.request), let application else { continue }
            scale(next.wishes, application, next.options, next.peer, responder)
        }
    }

    /// What was asked for is so, whoever waits for it, or not soon.
    func scalingEnded(_ services: [String], _ outcome: Application.CommandOutcome) {
        let what = "scale \(services.joined(separator: " "))"
        switch outcome {
        case .done: log.write(.notice, "\(what): done")
        case .failed(let text), .rolledBack(let text, _), .sentBack(let text, _): log.write(.error, "\(what): \(text)")
        }
    }

    /// `5 instances; the manifest says 2`; of several services with their names.
    private func summary(of counts: [String: Int], _ manifest: Manifest) -> String {
        let services = manifest.services.filter { counts[$0.name] != nil }
        return services.map { service in
            let name = services.count > 1 ? "\(service.name) " : ""
            let own = service.scaledFrom.map { ", the manifest says \($0)" } ?? ", as the manifest says"
            return "\(name)\(Amount.text(service.replicas, "instance"))\(own)"
        }.joined(separator: "; ")
    }

    /// What names stand for, with the number of each; nil if that makes no sense, which is answered.
    private func counts(
        of wishes: [ScaleWish], _ application: Application, _ responder: ControlResponder
    ) -> [String: Int]? {
        var counts: [String: Int] = [:]
        for wish in wishes {
            guard !wish.name.contains("/") else {
                let service = wish.name.prefix { $0 != "/" }
                responder.fail(400, code: "usage", "\(wish.name) is an instance: scale its service, \(service)=N")
                return nil
            }
            guard let choice = resolve([wish.name], application, responder) else { return nil }
            let services = Set(choice.instances.map { String($0.prefix { $0 != "/" }) } + choice.servicesWithout)
            let tasks = application.manifest.services.filter { $0.kind == .task && services.contains($0.name) }
            if let task = tasks.first, !services.contains(wish.name) {
                let others = services.subtracting(tasks.map(\.name)).sorted()
                let rest = others.isEmpty ? "" : ": \(others.map { "\($0)=\(wish.replicas)" }.joined(separator: " "))"
                let means = "\(wish.name) means \(task.name) as well, a task, which is not scaled"
                responder.fail(409, code: "failed", "\(means); name the services\(bounded(rest))")
                return nil
            }
            for service in services.sorted() {
                if let other = counts.updateValue(wish.replicas, forKey: service), other != wish.replicas {
                    responder.fail(400, code: "usage", "\(service) is to have \(other) and \(wish.replicas) instances")
                    return nil
                }
            }
        }
        return counts
    }

    /// A list that is too long to be of use is left out.
    private func bounded(_ list: String) -> String { list.utf8.count > 400 ? "" : list }

    // MARK: Kept

    /// A manifest as it was read, at the start of supd, with what users have scaled it to.
    func scaled(_ manifest: Manifest) -> Manifest {
        readScaling()
        let (scaled, dropped) = manifest.keeping(keptOverrides)
        for line in dropped { log.write(.notice, line) }
        for override in scaled.scaleOverrides {
            guard override.isAutomatic != true else {
                log.write(
                    .notice, "\(override.service): goes on with \(override.replicas) instances, as it has scaled itself"
                )
                continue
            }
            log.write(
                .notice,
                "\(override.service): scaled to \(override.replicas) by \"supctl scale\", the manifest says \(override.manifest)"
            )
        }
        return scaled
    }

    /// What the file says; nothing if it is broken, which is told.
    func readScaling() {
        do throws(ScaleFile.Unusable) {
            keptOverrides = try scaleFile.read()
        } catch {
            log.write(.error, error.text)
        }
    }

    /// Keeps what is scaled in the manifest in force, where that is something else than before.
    func bringScalingIntoLine() {
        guard !isKeepingScale, let overrides = application?.scaleOverrides, overrides != keptOverrides else { return }
        keptOverrides = overrides
        Self.keeping.async { [scaleFile, log] in
            do throws(SystemError) {
                try scaleFile.write(overrides)
            } catch {
                let text = "cannot note in \(scaleFile.path) what is scaled: \(error)"
                log.write(.error, "\(text); supd's next start goes by what it says now")
            }
        }
    }
}

/// A scale that waits until an earlier one is written down.
struct WaitingScale: Sendable {
    var wishes: [ScaleWish]
    var options: ControlRoute.WaitOptions
    var peer: PeerCredentials
    /// Who waits for it, in `statusRequests`.
    var request: UInt64
}
