import ControlAPI
import Manifest
import Platform
import Why

let upgradeVerb = Verb(
    name: "upgrade", synopsis: "[FILE]", summary: "let a newer supd take over, services go on",
    details: """
        The program by which supd was started, as it is there now, or FILE, is tried in a process of its own first: it must
        read all that the running supd has. One that cannot changes nothing. Then it takes over: services keep their
        processes, the balancer's listeners stay open, and the connections that are open go on in the balancer before, for
        as long as "balance.drainTimeout" says; what is still open then is cut. Counters of the balancer begin anew.
        Exit code 1 if it is not taken, with the reason; supd goes on as it was.
        """,
    options: [
        Verb.Option("--check", "only try it"),
        Verb.Option("--timeout", value: "D", "wait no longer than this (1m); supd goes on with it"),
    ], operands: .file
) { invocation throws(VerbFailure) in
    guard invocation.operands.count <= 1, invocation.operands.first != "" else {
        throw invocation.misused("which program? name one file, or none")
    }
    let path = invocation.operands.first.map(absolutePath)
    var patience = Duration.seconds(60)
    if let text = invocation.value("--timeout") {
        guard let timeout = parseDuration(text), timeout > .zero else {
            throw invocation.misused("--timeout takes a duration like 500ms, 30s, 5m or 1h, not \"\(text)\"")
        }
        patience = timeout
    }
    return try Upgrade(invocation, path, patience).run(onlyTries: invocation.has("--check"))
}

/// One upgrade as supctl sees it: it asks, and then looks who answers, since the one that was asked ends on the way.
private struct Upgrade {
    /// Between two looks.
    private static let lookPause = Duration.milliseconds(50)

    let invocation: Invocation
    let client: ControlClient
    let path: String?
    let began = monotonicNanoseconds()
    let deadline: Int64

    init(_ invocation: Invocation, _ path: String?, _ patience: Duration) throws(VerbFailure) {
        self.invocation = invocation
        self.path = path
        client = try invocation.client()
        deadline = began + patience.clampedNanoseconds
    }

    private var timeLeft: Duration { .nanoseconds(max(1_000_000, deadline - monotonicNanoseconds())) }

    func run(onlyTries: Bool) throws(VerbFailure) -> ExitCode {
        let before = try asking { () throws(ControlClientError) in
            try client.ask(.version, as: VersionReport.self, timeout: timeLeft)
        }
        guard let upgrades = before.upgrades else {
            throw VerbFailure(
                .failed,
                "supd \(printable(before.version)), which runs, is too old to be replaced while services run; "
                    + "restart it: systemctl restart supd")
        }
        var display = ProgressDisplay(invocation.console.error, write: invocation.console.note)
        let last: ProgressLine
        do throws(ControlClientError) {
            last = try client.follow(.upgrade(path: path, check: onlyTries), timeout: timeLeft) { line in
                if let waiting = line.waiting { display.show("upgrade: \(waiting)") }
            }
            display.end()
        } catch {
            display.end()
            // The one that was asked may have ended before its last line: what came of it is seen all the same.
            guard case .lost = error, !onlyTries else { throw VerbFailure(error) }
            last = ProgressLine(result: "accepted")
        }
        switch last.result {
        case "accepted": return try wait(before, upgrades)
        case "done":
            try invocation.console.print(printable(last.message ?? "it can take over"))
            return .done
        default:
            throw VerbFailure(
                .failed, "supd stays as it is: \(last.message.map(printable) ?? "no reason given")")
        }
    }

    /// Waits until the next one serves, or the one before again.
    private func wait(_ before: VersionReport, _ upgrades: Int) throws(VerbFailure) -> ExitCode {
        while true {
            let answer = Result { () throws(ControlClientError) in
                try client.ask(.version, as: VersionReport.self, timeout: timeLeft)
            }
            if case .success(let now) = answer {
                if let failure = now.upgradeFailure {
                    throw VerbFailure(.failed, "supd stays as it was: \(printable(failure))")
                }
                if (now.upgrades ?? 0) > upgrades, now.isServing == true {
                    try invocation.console.print(
                        "supd: \(words(before)) → \(words(now)) in "
                            + "\(HumanText.elapsed(monotonicNanoseconds() - began)); no service was stopped")
                    return .done
                }
            }
            guard monotonicNanoseconds() < deadline else {
                throw VerbFailure(
                    .failed, "the next supd does not answer in time; look at what came of it with \"supctl status\"")
            }
            pause(for: Self.lookPause)
        }
    }

    /// `0.1.0 (/usr/bin/supd of 2026-01-31T10:20:30Z)`: versions may be equal.
    private func words(_ report: VersionReport) -> String {
        guard let program = report.program, let modified = report.programModified else {
            return printable(report.version)
        }
        return "\(printable(report.version)) (\(printable(program)) of \(printable(modified.prefix(19) + "Z")))"
    }
}
