import ControlAPI
import Dispatch
import Events
import Links
import Manifest
import Platform
import Supervision

/// What is remembered of manifests, and going back to one.
extension SupervisorRole {
    /// Flushing a file takes as long as a disk does: not on the queue that restarts things.
    private static let recording = DispatchQueue(label: "supd.history", qos: .utility)

    /// Remembers a manifest that is taken on.
    func record(
        _ manifest: Manifest, by who: String, _ userID: UInt32?, from source: String, _ outcome: HistoryEntry.Outcome
    ) {
        // What a user has scaled is kept beside it.
        let written = manifest.asWritten
        let entry = HistoryEntry(
            at: WallClock.text(nanoseconds: wallClockNanoseconds()), by: who, userID: userID, source: source,
            outcome: outcome)
        Self.recording.async { [history, log] in
            // A start with what was there before is nothing new.
            if outcome == .started, history.lastGood(from: source)?.manifest == written { return }
            do { _ = try history.add(entry, written) } catch {
                log.write(
                    .warning, "cannot keep the manifest in the history, \"supctl rollback\" will not find it: \(error)")
            }
        }
    }

    /// An apply is over: said in the log and in the history, whoever still waits for it.
    func deploymentEnded(_ outcome: Application.CommandOutcome) {
        // What a rollout might have needed again is closed.
        if !retainedSockets.isEmpty, let application, application.servicesUnderRollout.isEmpty {
            bringFrontsIntoLine(with: application.manifest, leaving: application.leaving)
        }
        let word: HistoryEntry.Outcome
        var reason: String?
        var who: String?
        switch outcome {
        case .done:
            word = .done
            log.write(.notice, "apply: done")
            happened(.apply(.init(step: .done)))
        case .failed(let text), .rolledBack(let text, _):
            (word, reason) = (.failed, text)
            log.write(.error, "apply: \(text)")
            happened(.apply(.init(step: .failed, reason: EventBook.bounded(text))))
        case .sentBack(let text, let by):
            (word, reason, who) = (.rolledBack, text, by)
            log.write(.notice, "apply: \(text)")
            happened(.apply(.init(step: .rolledBack, by: by, reason: EventBook.bounded(text))))
        }
        Self.recording.async { [history, log, reason, who] in
            do { try history.end(word, reason, rolledBackBy: who) } catch {
                log.write(.warning, "cannot note it in the history: \(error)")
            }
        }
    }

    /// What was under way when supd, or its keeper, ended is so no more.
    func endStaleHistory() {
        guard application?.isDeploying != true else { return }
        Self.recording.async { [history] in try? history.end(.failed, "supd ended before it was done") }
    }

    /// Answers with all entries.
    func showHistory(_ responder: ControlResponder) {
        let request = statusRequests.begin(responder)
        Self.recording.async { [role = self, history] in
            let entries = history.entries()
            role.queue.async {
                role.assumeIsolated {
                    $0.statusRequests.end(request)?.finish(json: HistoryReport(entries: entries.reversed()))
                }
            }
        }
    }

    /// Applies a manifest of the history: the one of this number, else the last good one that is not in force.
    func rollback(
        to number: Int?, dryRun: Bool, _ options: ControlRoute.WaitOptions, _ peer: PeerCredentials,
        _ responder: ControlResponder
    ) {
        if let hindrance = applyHindrance, !dryRun { return responder.fail(409, code: "failed", hindrance) }
        guard let present = application?.manifest.asWritten else { return }
        if !dryRun { isReadingManifest = true }
        let request = statusRequests.begin(responder)
        Self.recording.async { [role = self, history] in
            let found: (entry: HistoryEntry, manifest: Manifest)?
            if let number {
                found = history.entries().first { $0.number == number }.flatMap { entry in
                    history.manifest(number).map { (entry, $0) }
                }
            } else {
                found = history.lastGood(otherThan: present)
            }
            role.queue.async {
                role.assumeIsolated { role in
                    if !dryRun { role.isReadingManifest = false }
                    guard let responder = role.statusRequests.end(request) else { return }
                    guard let found else {
                        let text =
                            number.map { "there is no manifest \($0) in the history; see \"supctl history\"" }
                            ?? "there is no other manifest to go back to; see \"supctl history\""
                        return responder.fail(409, code: "failed", text)
                    }
                    role.log.write(.notice, "rollback to manifest \(found.entry.number), asked for by \(peer)")
                    role.putInForce(
                        found.manifest,
                        ApplyRequest(
                            name: "manifest \(found.entry.number) of \(found.entry.at)", source: found.entry.source,
                            by: "\(peer)", userID: peer.userID, dryRun: dryRun, options: options), [], responder)
                }
            }
        }
    }
}

/// What is to be put in force, and by whom.
struct ApplyRequest: Sendable {
    /// What people know it by.
    var name: String
    /// The file that it came from.
    var source: String
    /// Who asked.
    var by: String
    /// Whose user id that is, if it is anybody's.
    var userID: UInt32?
    /// Only to be shown.
    var dryRun: Bool
    var options: ControlRoute.WaitOptions
}
