import ControlAPI
import Dispatch
import Links
import Logs
import Manifest
import Platform
import Supervision

/// What a supervisor knows of upgrades of supd itself.
struct UpgradeRequests {
    /// How often the keeper's image was replaced.
    private(set) var count = 0
    /// Why the last attempt failed.
    private(set) var failure: String?
    /// Who waits for the trial under way; a responder stays on the queue it lives on.
    var waiting: ControlResponder?
    var onlyTries = false
    /// The keeper has asked this process to end.
    var isLeaving = false
    /// All is handed over.
    var hasLeft = false

    /// The keeper has told.
    mutating func told(count: Int, failure: String?) { (self.count, self.failure) = (count, failure) }
}

/// `supctl upgrade`: the supervisor hands the wish on to the keeper, which tries the program, and then ends in order. All
/// that its successor needs is with the keeper already, but for the snapshot of the last tenth of a second.
extension SupervisorRole {
    /// A user asks for an upgrade, or for a trial of it.
    func upgrade(to path: String?, onlyTries: Bool, _ peer: PeerCredentials, _ responder: ControlResponder) {
        guard !isShuttingDown else { return responder.fail(409, code: "shutting-down", "supd is shutting down") }
        guard upgrades.waiting == nil else {
            return responder.fail(409, code: "failed", "another upgrade is under way")
        }
        log.write(
            .notice,
            "upgrade\(onlyTries ? " --check" : "")\(path.map { " \($0)" } ?? ""), asked for by \(peer)")
        if !onlyTries { noteCommand("upgrade", path.map { [$0] } ?? [], by: peer) }
        upgrades.waiting = responder
        upgrades.onlyTries = onlyTries
        responder.send(ProgressLine(waiting: "\(path ?? "the installed supd") is tried"))
        // Whoever goes does not stop it: the keeper has been asked.
        responder.onCancel { [weak self] in self?.assumeIsolated { $0.upgrades.waiting = nil } }
        if keeper?.send(.upgrade(path: path, onlyTries: onlyTries)) != true {
            upgrades.waiting = nil
            responder.fail(500, code: "failed", "cannot ask the keeper")
        }
    }

    func trialEnded(_ report: TrialReport) {
        guard let responder = upgrades.waiting else { return }
        let program = report.path.isEmpty ? "" : "\(report.path): "
        if let failure = report.failure {
            upgrades.waiting = nil
            responder.finish(json: ProgressLine(result: "failed", message: program + failure))
        } else if upgrades.onlyTries {
            upgrades.waiting = nil
            responder.finish(
                json: ProgressLine(
                    result: "done", message: "\(program)supd \(report.version ?? "") can take over", changed: false))
        } else {
            responder.send(ProgressLine(waiting: "\(program)supd \(report.version ?? "") takes over"))
        }
    }

    /// So long journald gets at most; the keeper waits for five seconds.
    private static let flushPatience = DispatchTimeInterval.milliseconds(2500)

    /// Ends in order: another image takes over. What waits for journald is in this process alone; until that is sent, all goes
    /// on as ever.
    func leave() {
        guard let pump, !upgrades.isLeaving else { return leaveNow() }
        upgrades.isLeaving = true
        pump.flush { [weak self] in
            guard let self else { return }
            self.queue.async { self.assumeIsolated { $0.leaveNow() } }
        }
        // A disk that hangs holds up the pump, but no upgrade.
        queue.asyncAfter(deadline: .now() + Self.flushPatience) { [weak self] in
            self?.assumeIsolated { $0.leaveNow() }
        }
    }

    private func leaveNow() {
        guard !upgrades.hasLeft else { return }
        upgrades.hasLeft = true
        log.write(.info, "leaving the services to the next supervisor")
        keepSnapshotNow()
        keepUsageNow()
        upgrades.waiting?.finish(json: ProgressLine(result: "accepted"))
        upgrades.waiting = nil
        exitWhenFlushed(tries: 400)
    }

    /// What is sent waits in the socket of the keeper's link, whatever becomes of this process; unless that is full.
    private func exitWhenFlushed(tries: Int) {
        if keeper?.isFlushed ?? true || tries == 0 { exitProcess(0) }
        queue.asyncAfter(deadline: .now() + .milliseconds(5)) { [weak self] in
            self?.assumeIsolated { $0.exitWhenFlushed(tries: tries - 1) }
        }
    }

    /// The first table of a balancer is in force: one of an image before may end.
    func balancerServes() {
        guard !balancer.isServing else { return }
        balancer.isServing = true
        let longest = application?.manifest.services.filter { !$0.listen.isEmpty }.map(\.balance.drainTimeout).max()
        keeper?.send(.balancerServes(drainTime: (longest ?? .zero).clampedNanoseconds))
    }

    /// The kernel may have told that one alone of a client that waits at a listener: with a table the loops look themselves.
    func formerBalancerEnded() {
        balancer.routesAreStale = true
        sendRoutes()
    }

    var versionReport: VersionReport {
        var report = VersionReport(version: version)
        let program = ProgramImage.running()
        report.program = program.path.isEmpty ? nil : program.path
        report.programModified = program.modified.map { WallClock.text(nanoseconds: $0) }
        report.upgrades = upgrades.count
        report.upgradeFailure = upgrades.failure
        report.isServing = balancer.fronts.isEmpty || balancer.isServing
        return report
    }
}
