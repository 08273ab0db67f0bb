/// What can be asked of the daemon: the same value on the client's side, which turns it into a request, and on the
/// daemon's, which gets it from one. A verb has one name in supctl, in the path and here.
package enum ControlRoute: Sendable, Hashable {
    /// `GET /v1/version`; answered by a `VersionReport`.
    case version
    /// `GET /v1/status[?name=NAMES][&limits=true]`; answered by a `StatusReport`. No names: all services.
    case status(names: [String], limits: Bool)
    /// `GET /v1/balancer[?name=NAMES]`; answered by a `BalancerReport`. No names: all services with a front.
    case balancer(names: [String])
    /// `GET /v1/usage[?name=NAMES][&series=hour|day]`; answered by a `UsageReport`. No names: all services. Whoever asks
    /// keeps the looks at what instances use going for another day.
    case usage(names: [String], series: UsageSeriesName?)
    /// `GET /metrics`; answered by text in Prometheus's format. The path is the one that Prometheus asks for.
    case metrics
    /// `POST /v1/services/NAMES/VERB[?wait=true][&timeout=SECONDS]`; answered by a `ProgressLine`, or by many when it
    /// is to be waited for.
    case verb(ServiceVerb, names: [String], options: WaitOptions)
    /// `POST /v1/services/NAMES/signal?signal=HUP`; answered by a `ProgressLine`.
    case signal(names: [String], signal: String)
    /// `POST /v1/services/NAMES/limit` with the body `{"nofile": "4096"}`; answered by a `ProgressLine`.
    case limit(names: [String], limits: [String: String])
    /// `POST /v1/services/NAMES/scale?replicas=N[,N…][&wait=true][&timeout=SECONDS]`: a number for each name; answered as
    /// `apply` is.
    case scale([ScaleWish], options: WaitOptions)
    /// `POST /v1/apply[?file=PATH][&dry-run=true][&wait=true][&timeout=SECONDS]`; answered as `verb` is, with the plan in
    /// the first line. No file: the manifest that supd was started with.
    case apply(file: String?, dryRun: Bool, options: WaitOptions)
    /// `GET /v1/history`; answered by a `HistoryReport`.
    case history
    /// `GET /v1/events[?after=N][&follow=false][&instances=IDS]`: a line of JSON an event, those after this number, else all that
    /// are kept; and those that come, for as long as the client stays, unless it does not want them. With `instances`, of those
    /// that are about an instance only those about these, `api/2` (none: `instances=`).
    case events(after: UInt64?, follow: Bool, instances: [String]? = nil)
    /// `GET /v1/logs[?name=NAMES][&lines=N][&follow=true][&before=MARKS][&until=TIME]`: a line of JSON a line of the logs' ends, `N` of them
    /// (100) at first, and with `follow` those that come; with `before` the last ones before those of the marks, of which there
    /// is one for each instance that the client has a line of, and with `until` the last ones up to a time, in nanoseconds since
    /// 1970. Fewer than `N` are no end, none are: what is looked through for
    /// one answer is bounded. supctl reads the files itself.
    case logs(names: [String], lines: Int, follow: Bool, before: [LogMark], until: Int64? = nil)
    /// `POST /v1/rollback[?to=N][&dry-run=true][&wait=true][&timeout=SECONDS]`; answered as `apply` is. No number: the last
    /// good manifest that is not in force.
    case rollback(number: Int?, dryRun: Bool, options: WaitOptions)
    /// `POST /v1/services/NAME/promote` or `/rollback[?wait=true][&timeout=SECONDS]`, of one service that an apply replaces;
    /// answered as `verb` is. A promotion is done at once, a rollback when what ran before runs again.
    case decide(RolloutVerb, service: String, options: WaitOptions)
    /// `POST /v1/shutdown[?wait=true][&timeout=SECONDS]`; answered as `verb` is.
    case shutdown(options: WaitOptions)
    /// `POST /v1/upgrade[?path=PATH][&check=true]`: another program takes supd's place; answered by `ProgressLine`s. The last
    /// one comes before that happens, for the connection ends with the supervisor: what came of it `version` tells.
    case upgrade(path: String?, check: Bool)

    /// Whether the answer comes when the goal is reached, as JSON lines that say what is waited for.
    package struct WaitOptions: Sendable, Hashable {
        /// `wait=true`.
        package var wait: Bool
        /// `timeout=SECONDS`: how long; nil: as long as it takes. To the millisecond, at most a year.
        package var timeout: Duration?

        /// Creates a choice.
        package init(wait: Bool, timeout: Duration? = nil) {
            self.wait = wait
            self.timeout = timeout
        }
    }
}

/// One request to the daemon.
package struct ControlRequest: Sendable, Hashable {
    /// What is asked for.
    package var route: ControlRoute

    /// Creates a request.
    package init(route: ControlRoute) { self.route = route }
}

/// What changes the goal of services, or whether they take connections.
package enum ServiceVerb: String, Sendable, Hashable, CaseIterable {
    /// Bring up.
    case start
    /// Bring down, until it is started again.
    case stop
    /// Replace one instance after the other.
    case restart
    /// Let connections end, and take no new ones until `undrain`.
    case drain
    /// Take connections again.
    case undrain

    /// For the last line of progress: `restarted`.
    package var pastTense: String {
        switch self {
        case .start: "started"
        case .stop: "stopped"
        case .restart: "restarted"
        case .drain: "drained"
        case .undrain: "undrained"
        }
    }
}

/// What a user says to a service's rollout.
package enum RolloutVerb: String, Sendable, Hashable, CaseIterable {
    /// The trial of its first instances is over.
    case promote
    /// It goes back to what ran before.
    case rollback
}

/// A request that asks for nothing we know, with the status code to answer.
package struct RouteFailure: Error, Sendable, Equatable {
    /// 400, 404 or 405.
    package var status: Int
    /// The answer.
    package var report: ErrorReport.Body
    /// For 405: the method that would do.
    package var allowed: String?

    init(_ status: Int, _ code: String, _ message: String, allowed: String? = nil) {
        self.status = status
        report = ErrorReport(code: code, message: message).error
        self.allowed = allowed
    }
}

extension ControlRoute {
    /// Understands a request.
    package init(_ request: HTTPRequest) throws(RouteFailure) {
        let (path, query) = request.target.splitOnce("?")
        let steps = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        var parameters = try QueryParameters(query ?? "")

        func require(_ method: String) throws(RouteFailure) {
            guard request.method == method else {
                throw RouteFailure(
                    405, "usage", "\(path) takes \(method), not \(request.method)", allowed: method)
            }
        }

        if Array(steps) == ["metrics"] {
            try require("GET")
            self = .metrics
            try parameters.refuseOthers()
            return
        }
        guard steps.first == "v1" else { throw Self.unknown(path) }

        switch Array(steps.dropFirst()) {
        case ["version"]:
            try require("GET")
            self = .version
        case ["status"]:
            try require("GET")
            let names = if let list = parameters.takeRaw("name") { try decodeNames(list) } else { [String]() }
            self = .status(names: names, limits: try parameters.takeBool("limits") ?? false)
        case ["balancer"]:
            try require("GET")
            let names = if let list = parameters.takeRaw("name") { try decodeNames(list) } else { [String]() }
            self = .balancer(names: names)
        case ["usage"]:
            try require("GET")
            let names = if let list = parameters.takeRaw("name") { try decodeNames(list) } else { [String]() }
            let word = try parameters.take("series")
            let series = word.flatMap { UsageSeriesName(rawValue: $0) }
            if let word, series == nil {
                throw RouteFailure(400, "usage", "series is \"\(word)\"; it takes hour or day")
            }
            self = .usage(names: names, series: series)
        case ["apply"]:
            try require("POST")
            let file = try parameters.take("file")
            if let file, !file.hasPrefix("/") || file.utf8.count > 4095 {
                throw RouteFailure(400, "usage", "file takes an absolute path")
            }
            self = .apply(
                file: file, dryRun: try parameters.takeBool("dry-run") ?? false,
                options: try parameters.takeWaitOptions())
        case ["history"]:
            try require("GET")
            self = .history
        case ["events"]:
            try require("GET")
            let text = try parameters.take("after")
            let after = text.flatMap { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt64($0) : nil }
            if let text, after == nil {
                throw RouteFailure(400, "usage", "after is \"\(text)\"; it takes the number of an event")
            }
            let list = parameters.takeRaw("instances")
            let instances: [String]? = if let list { list.isEmpty ? [] : try decodeNames(list) } else { nil }
            self = .events(after: after, follow: try parameters.takeBool("follow") ?? true, instances: instances)
        case ["logs"]:
            try require("GET")
            let names = if let list = parameters.takeRaw("name") { try decodeNames(list) } else { [String]() }
            let text = try parameters.take("lines") ?? "100"
            guard let lines = Int(text), (0...10_000).contains(lines) else {
                throw RouteFailure(400, "usage", "lines is \"\(text)\"; it takes a number up to 10000")
            }
            let marks = try Self.marks(parameters.takeRaw("before"))
            let follow = try parameters.takeBool("follow") ?? false
            guard marks.isEmpty || !follow else {
                throw RouteFailure(400, "usage", "what was before does not go on: either before or follow")
            }
            let time = try parameters.take("until")
            let until = time.flatMap { Int64($0) }
            if let time, until ?? -1 < 0 {
                throw RouteFailure(400, "usage", "until is \"\(time)\"; it takes nanoseconds since 1970")
            }
            guard until == nil || marks.isEmpty && !follow else {
                throw RouteFailure(400, "usage", "until goes neither with before nor with follow")
            }
            self = .logs(names: names, lines: lines, follow: follow, before: marks, until: until)
        case ["rollback"]:
            try require("POST")
            let text = try parameters.take("to")
            let number = text.flatMap { Int($0) }
            if let text, number ?? 0 < 1 {
                throw RouteFailure(400, "usage", "to is \"\(text)\"; it takes a number of \"supctl history\"")
            }
            self = .rollback(
                number: number, dryRun: try parameters.takeBool("dry-run") ?? false,
                options: try parameters.takeWaitOptions())
        case ["shutdown"]:
            try require("POST")
            self = .shutdown(options: try parameters.takeWaitOptions())
        case ["upgrade"]:
            try require("POST")
            let path = try parameters.take("path")
            if let path, !path.hasPrefix("/") || path.utf8.contains(0) {
                throw RouteFailure(400, "usage", "the path of a program is absolute, not \"\(path)\"")
            }
            self = .upgrade(path: path, check: try parameters.takeBool("check") ?? false)
        case let rest where rest.first == "services" && rest.count >= 3:
            // An instance may come with its slash as it is: services/api/2/restart.
            let names = rest.dropFirst().dropLast().joined(separator: "/")
            switch rest.last.map(String.init) ?? "" {
            case "signal":
                try require("POST")
                let name = try parameters.take("signal")
                guard let name, !name.isEmpty else {
                    throw RouteFailure(400, "usage", "which signal? say ?signal=HUP")
                }
                self = .signal(names: try decodeNames(names[...]), signal: name)
            case "limit":
                try require("POST")
                self = .limit(names: try decodeNames(names[...]), limits: try LimitBody.decode(request.body))
            case "scale":
                try require("POST")
                let counts = try ScaleWish.counts(parameters.take("replicas"))
                self = .scale(
                    try ScaleWish.pairs(try decodeNames(names[...]), counts),
                    options: try parameters.takeWaitOptions())
            case let word where RolloutVerb(rawValue: word) != nil:
                try require("POST")
                let names = try decodeNames(names[...])
                guard names.count == 1, let service = names.first, let verb = RolloutVerb(rawValue: word) else {
                    throw RouteFailure(400, "usage", "\(word) takes one service")
                }
                self = .decide(verb, service: service, options: try parameters.takeWaitOptions())
            case let word:
                guard let verb = ServiceVerb(rawValue: word) else { throw Self.unknown(path) }
                try require("POST")
                self = .verb(verb, names: try decodeNames(names[...]), options: try parameters.takeWaitOptions())
            }
        default: throw Self.unknown(path)
        }
        try parameters.refuseOthers()
    }

    /// The request that asks for it.
    package var request: HTTPRequest {
        switch self {
        case .version: HTTPRequest(method: "GET", target: "/v1/version")
        case .status(let names, let limits):
            HTTPRequest(
                method: "GET",
                target: "/v1/status"
                    + queryText([
                        names.isEmpty ? nil : "name=" + encodeNames(names), limits ? "limits=true" : nil,
                    ]))
        case .balancer(let names):
            HTTPRequest(
                method: "GET",
                target: "/v1/balancer" + queryText([names.isEmpty ? nil : "name=" + encodeNames(names)]))
        case .usage(let names, let series):
            HTTPRequest(
                method: "GET",
                target: "/v1/usage"
                    + queryText([
                        names.isEmpty ? nil : "name=" + encodeNames(names), series.map { "series=\($0.rawValue)" },
                    ]))
        case .metrics: HTTPRequest(method: "GET", target: "/metrics")
        case .verb(let verb, let names, let options):
            HTTPRequest(
                method: "POST", target: "/v1/services/\(encodeNames(names))/\(verb.rawValue)" + options.query)
        case .decide(let verb, let service, let options):
            HTTPRequest(
                method: "POST", target: "/v1/services/\(encodeNames([service]))/\(verb.rawValue)" + options.query)
        case .signal(let names, let signal):
            HTTPRequest(
                method: "POST",
                target: "/v1/services/\(encodeNames(names))/signal?signal=" + PercentEncoding.encode(signal))
        case .limit(let names, let limits):
            HTTPRequest(
                method: "POST", target: "/v1/services/\(encodeNames(names))/limit",
                fields: [HTTPField("Content-Type", "application/json")], body: LimitBody.encode(limits))
        case .scale(let wishes, let options):
            HTTPRequest(
                method: "POST",
                target: "/v1/services/\(encodeNames(wishes.map(\.name)))/scale"
                    + queryText(["replicas=" + ScaleWish.text(wishes)] + options.parts))
        case .apply(let file, let dryRun, let options):
            HTTPRequest(
                method: "POST",
                target: "/v1/apply"
                    + queryText(
                        [file.map { "file=" + PercentEncoding.encode($0) }, dryRun ? "dry-run=true" : nil]
                            + options.parts))
        case .history: HTTPRequest(method: "GET", target: "/v1/history")
        case .events(let after, let follow, let instances):
            HTTPRequest(
                method: "GET",
                target: "/v1/events"
                    + queryText([
                        after.map { "after=\($0)" }, follow ? nil : "follow=false",
                        instances.map { "instances=" + encodeNames($0) },
                    ]))
        case .logs(let names, let lines, let follow, let before, let until):
            HTTPRequest(
                method: "GET",
                target: "/v1/logs"
                    + queryText([
                        names.isEmpty ? nil : "name=" + encodeNames(names), "lines=\(lines)",
                        follow ? "follow=true" : nil,
                        before.isEmpty ? nil : "before=" + encodeNames(before.map(\.text)),
                        until.map { "until=\($0)" },
                    ]))
        case .rollback(let number, let dryRun, let options):
            HTTPRequest(
                method: "POST",
                target: "/v1/rollback"
                    + queryText([number.map { "to=\($0)" }, dryRun ? "dry-run=true" : nil] + options.parts))
        case .shutdown(let options): HTTPRequest(method: "POST", target: "/v1/shutdown" + options.query)
        case .upgrade(let path, let check):
            HTTPRequest(
                method: "POST",
                target: "/v1/upgrade"
                    + queryText([path.map { "path=" + PercentEncoding.encode($0) }, check ? "check=true" : nil]))
        }
    }

    private static func marks(_ text: Substring?) throws(RouteFailure) -> [LogMark] {
        guard let text else { return [] }
        var marks: [LogMark] = []
        for part in try decodeNames(text) {
            guard let mark = LogMark(part), !marks.contains(where: { $0.instance == mark.instance }) else {
                throw RouteFailure(400, "usage", "before takes INSTANCE@PLACE@TIME, of each instance one, by commas")
            }
            marks.append(mark)
        }
        guard marks.count <= LogMark.most else {
            throw RouteFailure(400, "usage", "before takes \(LogMark.most) instances, not \(marks.count)")
        }
        return marks
    }

    private static func unknown(_ path: Substring) -> RouteFailure {
        RouteFailure(
            404, "not-found",
            "there is no \(path) here; there are GET /metrics, /v1/status, /v1/balancer, /v1/usage, /v1/history, /v1/events, "
                + "/v1/logs and /v1/version, "
                + "POST /v1/services/NAME/start, stop, restart, drain, undrain, promote, rollback, signal, limit and scale, "
                + "POST /v1/apply, /v1/rollback, /v1/upgrade and /v1/shutdown"
        )
    }
}

extension ControlRoute.WaitOptions {
    fileprivate var query: String { queryText(parts) }

    fileprivate var parts: [String?] { [wait ? "wait=true" : nil, timeout.map { "timeout=" + secondsText($0) }] }
}

/// NAME[,NAME…] of a path or query.
private func decodeNames(_ text: Substring) throws(RouteFailure) -> [String] {
    var names: [String] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let name = PercentEncoding.decode(part), !name.isEmpty else {
            throw RouteFailure(400, "usage", "the list of names \"\(text)\" has an empty or badly encoded one")
        }
        names.append(name)
    }
    return names
}

private func encodeNames(_ names: [String]) -> String {
    names.map(PercentEncoding.encode).joined(separator: ",")
}

private func queryText(_ parts: [String?]) -> String {
    let present = parts.compactMap { $0 }
    return present.isEmpty ? "" : "?" + present.joined(separator: "&")
}

/// Seconds with at most three decimals, without zeros at the end.
private func secondsText(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    let milliseconds = attoseconds / 1_000_000_000_000_000
    guard milliseconds > 0 else { return String(seconds) }
    let digits = String(1000 + milliseconds).dropFirst()
    let fraction = String(digits.reversed().drop { $0 == "0" }.reversed())
    return "\(seconds).\(fraction)"
}

extension String {
    /// What is before and after the first occurrence of a character; the second part is nil if there is none.
    fileprivate func splitOnce(_ separator: Character) -> (Substring, Substring?) {
        guard let index = firstIndex(of: separator) else { return (self[...], nil) }
        return (self[..<index], self[self.index(after: index)...])
    }
}
