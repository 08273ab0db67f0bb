import ControlAPI
import Events
import Platform
import Why

/// What `supctl why` says, for the page: put together here, from the same answers of the control API, one after the other.
final class WhyQuestion {
    /// The ends of the logs are looked at so far back.
    private static let lines = 2000
    /// Lines before an end, and bytes of each, as supctl shows them.
    private static let shownLines = 5

    private let name: String
    private let pool: UpstreamPool
    private let connection: HTTPServerConnection
    private var upstream: Upstream?
    private var status = 0
    private var body: [UInt8] = []
    private var all: StatusReport?
    private var asked: StatusReport?
    private var events: [EventRecord] = []

    init(_ name: String, pool: UpstreamPool, connection: HTTPServerConnection) {
        self.name = name
        self.pool = pool
        self.connection = connection
    }

    /// Begins; the connection is answered when all is known. Held by what it asks.
    func begin() {
        connection.onGone = { [self] in upstream?.cancel() }
        ask(.status(names: [], limits: false)) { [self] in
            all = ControlJSON.decode(StatusReport.self, from: body)
            ask(.status(names: [name], limits: true)) { [self] in
                asked = ControlJSON.decode(StatusReport.self, from: body)
                ask(.events(after: nil, follow: false)) { [self] in
                    events = body.split(separator: UInt8(ascii: "\n")).compactMap { EventLine.event($0) }
                    ask(.logs(names: [name], lines: Self.lines, follow: false, before: [])) { [self] in finish() }
                }
            }
        }
    }

    private func ask(_ route: ControlRoute, mayFail: Bool = false, then go: @escaping () -> Void) {
        status = 0
        body = []
        upstream = pool.open(route.request, isStream: false) { [self] event in
            switch event {
            case .head(let code, _): status = code
            case .body(let bytes): body += bytes
            case .end where status == 200: go()
            case .end where mayFail, .lost where mayFail:
                body = []
                go()
            case .end: connection.answer(status == 0 ? 502 : status, body)
            case .lost: connection.fail(503, "failed", "the supervisor does not answer; it may be starting: try again")
            }
        }
        if upstream == nil { connection.fail(503, "busy", "too much is being asked at once; try again") }
    }

    private func finish() {
        let lines = body.split(separator: UInt8(ascii: "\n")).compactMap {
            ControlJSON.decode(Line.self, from: $0)
        }
        // Without what was used the rest is worth having.
        ask(.usage(names: [name], series: nil), mayFail: true) { [self] in
            answer(lines, ControlJSON.decode(UsageReport.self, from: body))
        }
    }

    private func answer(_ lines: [Line], _ usage: UsageReport?) {
        guard let all, let asked else {
            return connection.fail(500, "failed", "the supervisor's answer is not what this version expects")
        }
        let report = WhyReport(
            about: asked, among: all, events: events, usage: usage, memoryKills: outOfMemoryKills(),
            now: wallClockNanoseconds()
        ) { instance, from, to in
            let own = lines.filter { line in
                guard line.instance == instance, let time = TimeArgument.read(line.time, now: 0) else { return false }
                return time >= from ?? .min && time <= to ?? .max
            }
            return own.suffix(Self.shownLines).map { String(decoding: $0.message.utf8.prefix(500), as: UTF8.self) }
        }
        connection.answer(200, ControlJSON.encode(report) ?? [])
    }

    private struct Line: Decodable {
        var time: String
        var instance: String
        var message: String
    }
}
