import ControlAPI
import Events
import Platform
import Why

let eventsVerb = Verb(
    name: "events", synopsis: "[NAME…]", summary: "show what has happened, and by whom",
    details: """
        Changes of state, starts and exits, what probes come to, rollouts step by step,
        limits, applies and commands with who asked, and supd's own roles. Each has a
        number, never given twice; the last one to two megabytes are kept on disk. With
        names: what is about these services or instances alone.
        -f goes on with what comes, also with the next supervisor of the same supd, and
        misses nothing and shows nothing twice. Should events be gone that it has not
        seen, because supctl or the disk was too slow, it says so.
        """,
    options: [
        Verb.Option("--follow", short: "-f", "go on with what comes; first, the last ten"),
        Verb.Option("--since", value: "TIME", "only those of this time or later, as in logs"),
        Verb.Option("--json", "a line of JSON an event"),
    ],
    operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    var since: String?
    if let text = invocation.value("--since") {
        guard let time = TimeArgument.read(text, now: wallClockNanoseconds()) else {
            throw invocation.misused("--since takes \(TimeArgument.forms), not \"\(text)\"")
        }
        since = WallClock.text(nanoseconds: time)
    }
    var events = EventReading(invocation, try invocation.client(), names, since)
    try events.showPresent(last: invocation.has("--follow") && since == nil ? 10 : nil)
    guard invocation.has("--follow") else { return .done }
    try events.follow()
}

/// One reading of events, over as many connections as it takes.
private struct EventReading {
    /// So long it is tried to reach a supd that has gone; what replaces a supervisor takes far less.
    private static let patience: Int64 = 10_000_000_000
    private static let retryPause = Duration.milliseconds(100)

    private let console: Console
    private let client: ControlClient
    private let names: [String]
    private let since: String?
    private let isJSON: Bool
    /// The last event that was seen; nil: none was.
    private var last: UInt64?
    /// Whom the events were about, as far as names ask for it.
    private var seen: Set<String> = []

    init(_ invocation: Invocation, _ client: ControlClient, _ names: [String], _ since: String?) {
        console = invocation.console
        self.client = client
        self.names = names
        self.since = since
        isJSON = invocation.has("--json")
    }

    /// Shows what is kept, or the last few of it.
    mutating func showPresent(last count: Int?) throws(VerbFailure) {
        var shown: [[UInt8]] = []
        // A supervisor that ends in the middle has a successor, of which the rest is read. That one says 503 at first.
        var attempts = 3
        var lostAt: Int64?
        while true {
            do throws(ControlClientError) {
                var stream = try ControlStream(.events(after: last, follow: false), of: client)
                while let line = try stream.next() {
                    guard let text = take(line) else { continue }
                    shown.append(text)
                    if let count, shown.count > count { shown.removeFirst() }
                }
                break
            } catch {
                let now = monotonicNanoseconds()
                switch error {
                case .lost where attempts > 1:
                    attempts -= 1
                    lostAt = now
                case .refused(503, _) where now - (lostAt ?? .min / 2) < Self.patience: break
                default: throw VerbFailure(error)
                }
            }
            pause(for: Self.retryPause)
        }
        try requireKnownNames()
        for text in shown { try console.write(text) }
    }

    /// Goes on for ever, or until nobody answers any more.
    mutating func follow() throws(VerbFailure) -> Never {
        var lostAt: Int64?
        while true {
            do throws(ControlClientError) {
                var stream = try ControlStream(.events(after: last ?? 0, follow: true), of: client)
                lostAt = nil
                while let line = try stream.next() {
                    if let text = take(line) { try write(text) }
                }
            } catch {
                // One that is busy, or just begins, says 503.
                if case .refused(let status, _) = error, status != 503 { throw VerbFailure(error) }
                let now = monotonicNanoseconds()
                if now - (lostAt ?? now) > Self.patience { throw VerbFailure(error) }
                lostAt = lostAt ?? now
            }
            pause(for: Self.retryPause)
        }
    }

    /// Standard output is gone: so is the reason to go on.
    private func write(_ text: [UInt8]) throws(ControlClientError) {
        do throws(VerbFailure) { try console.write(text) } catch {
            console.complain(error.message)
            exitProcess(error.code.rawValue)
        }
    }

    /// Takes a line; the text to show, if it is to be shown.
    private mutating func take(_ line: [UInt8]) -> [UInt8]? {
        guard let event = EventLine.event(line) else { return nil }
        if let last, event.number <= last {
            console.complain("the numbers of events have begun anew: these are of another state directory")
        } else if let last, event.number > last + 1 {
            let gone = event.number - last - 1
            console.complain(
                gone == 1
                    ? "event \(last + 1) is not kept any more"
                    : "events \(last + 1) to \(event.number - 1) are not kept any more")
        }
        last = event.number
        guard isMeant(event) else { return nil }
        if let since, event.at < since { return nil }
        return isJSON ? line + [UInt8(ascii: "\n")] : Array((text(of: event) + "\n").utf8)
    }

    private mutating func isMeant(_ event: EventRecord) -> Bool {
        guard !names.isEmpty else { return true }
        guard let subject = event.instance ?? event.service else { return false }
        let isMeant = names.contains { Selector.matches($0, instance: subject) }
        if isMeant, seen.count < 10_000 { seen.insert(subject) }
        return isMeant
    }

    /// A name that nothing has, and of which no event tells, is a mistake.
    private func requireKnownNames() throws(VerbFailure) {
        let missing = names.filter { name in !seen.contains { Selector.matches(name, instance: $0) } }
        guard !missing.isEmpty else { return }
        let report = try asking { () throws(ControlClientError) in
            try client.ask(.status(names: [], limits: false), as: StatusReport.self)
        }
        do throws(Selector.NoSuchName) {
            _ = try Selector.choose(
                missing, among: report.services.flatMap { $0.instances.map(\.id) },
                servicesWithout: report.services.filter { $0.instances.isEmpty }.map(\.name))
        } catch {
            throw VerbFailure(.noSuchName, error.description)
        }
    }

    private func text(of event: EventRecord) -> String {
        let (text, isTrouble) = EventText.text(of: event)
        var head = printable("\(event.at) \(event.instance ?? event.service ?? "supd")")
        if console.output.allowsColour { head = (isTrouble ? Colour.red : Colour.dim).wrap(head) }
        return "\(head)  \(printable(text))"
    }
}
