package import Events

/// Events in words.
package enum EventText {
    /// A sentence without who it is about, and whether somebody should look at it.
    package static func text(of event: EventRecord) -> (text: String, isTrouble: Bool) {
        switch event.kind {
        case .state(let change):
            let from = change.from.map { "\($0) → " } ?? ""
            return (from + change.to + because(change.reason), change.to == "failed" || change.to == "backoff")
        case .start(let start):
            let isRestart = start.restarts > 0 && start.woken != true
            let count = isRestart ? ", restart \(start.restarts)" : ""
            return ("started as pid \(start.pid)\(count)", false)
        case .exit(let end): return (end.reason, end.signal != nil || (end.code ?? 1) != 0)
        case .startFailed(let failure): return ("cannot start: \(failure.reason)", true)
        case .probe(let change):
            let word =
                switch change.outcome {
                case .passing: "healthy again"
                case .failing: "a health probe has failed"
                case .unhealthy: "unhealthy"
                }
            return (word + because(change.reason), change.outcome != .passing)
        case .goal(let change): return (change.reason ?? "is to be \(change.goal)", false)
        case .drain(let change): return (change.drained ? "drained" : "undrained", false)
        case .gone(let gone): return ("gone: \(gone.reason ?? "the manifest does not ask for it")", false)
        case .rollout(let step): return rollout(step)
        case .scale(let step): return ("scaled from \(step.from) to \(step.to): \(step.reason)", false)
        case .scaleHindered(let hindrance):
            guard let reason = hindrance.reason else {
                return ("it no longer asks for more instances", false)
            }
            let load = hindrance.load.map { "; its load: \($0)" } ?? ""
            return ("cannot scale from \(hindrance.from) to \(hindrance.to): \(reason)\(load)", true)
        case .limit(let change):
            return ("limit \(change.limit) changed from \(change.old) to \(change.new) by \(change.by)", false)
        case .logDropped(let drop):
            let lines = drop.lines == 1 ? "1 line" : "\(drop.lines) lines"
            return ("dropped \(lines) (\(drop.bytes) bytes) of its output: \(drop.reason)", true)
        case .command(let command):
            return (([command.verb] + command.names).joined(separator: " ") + ", asked for by \(command.by)", false)
        case .apply(let step): return apply(step)
        case .role(let step):
            let pid = step.pid.map { " as pid \($0)" } ?? ""
            return ("\(step.role) \(step.step)\(pid)\(because(step.reason))", step.step == "ended")
        case .daemon(let step):
            let words =
                switch step.step {
                case .started: "supd started"
                case .stopping: "supd stops everything"
                case .stopped: "everything is stopped"
                }
            return (words + (step.version.map { ", version \($0)" } ?? ""), false)
        case .lost(let lost): return ("\(lost.count) events could not be kept in time", true)
        case .other(let name): return ("\(name); this version of supd does not know what that means", false)
        }
    }

    private static func rollout(_ step: EventKind.RolloutStep) -> (String, Bool) {
        switch step.step {
        case .began: ("rollout begins", false)
        case .replacing: ("is being replaced", false)
        case .replaced: ("is replaced", false)
        case .switched: ("rollout: all new instances are ready and take over", false)
        case .gaveUp: ("rollout: not waited for any longer" + because(step.reason), true)
        case .goingBack: ("rollout goes back to what ran before" + because(step.reason), step.by == nil)
        case .done: ("rollout done", false)
        case .wentBack:
            ("rollout undone" + (step.by.map { ", asked for by \($0)" } ?? ""), step.by == nil)
        }
    }

    private static func apply(_ step: EventKind.ApplyStep) -> (String, Bool) {
        let what = step.manifest.map { " \($0)" } ?? ""
        let who = step.by.map { ", asked for by \($0)" } ?? ""
        switch step.step {
        case .began: return ("apply\(what) begins\(who)", false)
        case .refused: return ("apply\(what) refused\(because(step.reason))\(who)", true)
        case .done: return ("apply done", false)
        case .failed: return ("apply failed" + because(step.reason), true)
        case .rolledBack: return ("apply rolled back" + because(step.reason), false)
        }
    }

    private static func because(_ reason: String?) -> String { reason.map { ": \($0)" } ?? "" }
}
