import ControlAPI
import Events
import Platform
import Why

/// What `supctl why` says, for the page: put together here, from the same answers of the control API, one after the other.
final class WhyQuestion {
    /// Lines before an end, as supctl shows them.
    private static let shownLines = 5
    /// Before so many ends the lines are shown; those of a service with more have none.
    private static let mostPieces = 100

    private let name: String
    private let pool: UpstreamPool
    private let connection: HTTPServerConnection
    private var upstream: Upstream?
    private var status = 0
    private var body: [UInt8] = []
    private var all: StatusReport?
    private var asked: StatusReport?
    private var balancer: BalancerReport?
    private var events: [EventRecord] = []
    /// Of both passes.
    private let now = wallClockNanoseconds()

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
                askBalancer { [self] in askEvents() }
            }
        }
    }

    /// What only the balancer knows; without its answer the rest is worth having.
    private func askBalancer(then go: @escaping () -> Void) {
        guard let asked, asked.services.contains(where: { !$0.listen.isEmpty }) else { return go() }
        ask(.balancer(names: [name]), mayFail: true) { [self] in
            balancer = ControlJSON.decode(BalancerReport.self, from: body)
            go()
        }
    }

    private func askEvents() {
        let instances = all.flatMap { WhyInterest.instances(asked: asked, among: $0, balancer: balancer) }
        ask(.events(after: nil, follow: false, instances: instances)) { [self] in
            events = body.split(separator: UInt8(ascii: "\n")).compactMap { EventLine.event($0) }
            // Without what was used the rest is worth having.
            ask(.usage(names: [name], series: nil), mayFail: true) { [self] in
                readLogs(ControlJSON.decode(UsageReport.self, from: body))
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
        guard upstream == nil else { return }
        if mayFail { return go() }
        connection.fail(503, "busy", "too much is being asked at once; try again")
    }

    /// All but the logs is known: what of those is to be shown is asked for, an end at a time.
    private func readLogs(_ usage: UsageReport?) {
        var wanted: [Piece] = []
        _ = report(usage) { piece in
            if wanted.count < Self.mostPieces, !wanted.contains(piece) { wanted.append(piece) }
            return []
        }
        readNext(wanted[...], [:], usage)
    }

    private func readNext(_ rest: ArraySlice<Piece>, _ found: [Piece: [String]], _ usage: UsageReport?) {
        guard let piece = rest.first else { return answer(found, usage) }
        let route = ControlRoute.logs(
            names: [piece.instance], lines: Self.shownLines, follow: false, before: [], until: piece.to)
        // An instance that is gone by now, or a log that cannot be read: the rest is worth having.
        ask(route, mayFail: true) { [self] in
            let lines = body.split(separator: UInt8(ascii: "\n")).compactMap { ControlJSON.decode(Line.self, from: $0) }
            let own = lines.filter { line in
                line.instance == piece.instance && TimeArgument.read(line.time, now: 0) ?? .min >= piece.from ?? .min
            }
            var found = found
            found[piece] = own.map { String(decoding: $0.message.utf8.prefix(500), as: UTF8.self) }
            readNext(rest.dropFirst(), found, usage)
        }
    }

    private func answer(_ logs: [Piece: [String]], _ usage: UsageReport?) {
        guard let report = report(usage, { logs[$0] ?? [] }) else {
            return connection.fail(500, "failed", "the supervisor's answer is not what this version expects")
        }
        connection.answer(200, ControlJSON.encode(report) ?? [])
    }

    private func report(_ usage: UsageReport?, _ log: @escaping (Piece) -> [String]) -> WhyReport? {
        guard let all, let asked else { return nil }
        return WhyReport(
            about: asked, among: all, events: events, usage: usage, balancer: balancer,
            memoryKills: outOfMemoryKills(), now: now
        ) { log(Piece(instance: $0, from: $1, to: $2.map { max(0, $0) })) }
    }

    /// The last lines that an instance wrote between two times.
    private struct Piece: Hashable {
        var instance: String
        var from: Int64?
        var to: Int64?
    }

    private struct Line: Decodable {
        var time: String
        var instance: String
        var message: String
    }
}
