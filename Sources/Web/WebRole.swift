import ControlAPI
import Dispatch
package import Links
import Platform

/// The page between its browsers and the supervisor. Used on its queue alone.
package final class WebRole: @unchecked Sendable {
    private let queue = DispatchQueue(label: "supd.web")
    private let keeper: LinkChannel
    private let supervisor: LinkChannel
    private let exit: @Sendable (Int32) -> Void
    private let limits = WebLimits()
    private let timer: any DispatchSourceTimer
    private var isTicking = false

    private var server: WebServer?
    private var pool: UpstreamPool?
    private var serving: WebServing?
    private var policy: RequestPolicy?
    private var feeds: [LineFeed] = []
    private var statusDue: Int64 = 0
    private var statusUnderWay: Upstream?
    private var statusBody: [UInt8] = []
    private var isAway = false

    /// Creates the role. `exit` ends the process: with 0 when the keeper has closed its link, with 1 when a link is of no use
    /// any more; then the keeper starts another one.
    package init(keeper: LinkConnection, supervisor: LinkConnection, exit: @escaping @Sendable (Int32) -> Void) {
        self.keeper = LinkChannel(keeper, on: queue)
        self.supervisor = LinkChannel(supervisor, on: queue)
        self.exit = exit
        timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .distantFuture)
    }

    /// Says hello to the keeper and begins to serve.
    package func start() {
        queue.async { [self] in begin() }
    }

    private func begin() {
        server = WebServer(queue: queue, limits: limits) { [weak self] in self?.answer($0, $1) }
        server?.onConnection = { [weak self] in self?.schedule() }
        pool = UpstreamPool(queue: queue, limits: limits) { [supervisor] in supervisor.send($0) }
        timer.setEventHandler { [weak self] in self?.timePassed() }
        timer.activate()
        supervisor.start(WebRequest.self) { [self] request, descriptors in
            received(request, descriptors)
        } ended: { [exit] isBroken in
            // The keeper holds the other end too, so it closes only when the keeper is going.
            if isBroken { exit(1) }
        }
        keeper.start(KeeperNotice.self) { [self] notice, _ in
            if case .ping = notice { keeper.send(KeeperRequest.pong) }
        } ended: { [exit] isBroken in
            exit(isBroken ? 1 : 0)
        }
        keeper.send(KeeperRequest.hello(version: linkVersion))
        schedule()
    }

    // MARK: The supervisor

    private func received(_ request: WebRequest, _ descriptors: [Descriptor]) {
        switch request {
        case .hello:
            // What was meant for an earlier supervisor must not reach this one after the answer to its hello.
            supervisor.forgetUnsent()
            supervisor.send(WebNotice.hello(version: linkVersion, listeners: server?.listenerIDs ?? []))
            pool?.askAgain()
        case .listener(let id): if let descriptor = descriptors.first { server?.add(id, descriptor) }
        case .serve(let serving):
            self.serving = serving
            policy = RequestPolicy(serving)
            server?.keepOnly(Set(serving.listeners))
        case .connection(let number): pool?.connected(number, descriptors.first)
        }
    }

    // MARK: Time

    /// Twice a second: what waits for a client or for the supervisor is in no hurry.
    private func schedule() {
        guard !isTicking else { return }
        isTicking = true
        timer.schedule(deadline: .now() + .milliseconds(500), repeating: .milliseconds(500), leeway: .milliseconds(100))
    }

    private func timePassed() {
        let now = monotonicNanoseconds()
        server?.timePassed(to: now)
        pool?.timePassed(to: now)
        feeds.removeAll(where: \.isOver)
        for feed in feeds { feed.timePassed(to: now) }
        if feeds.contains(where: \.wantsStatus), statusDue <= now { askForStatus(now) }
        if server?.isBusy != true {
            isTicking = false
            timer.schedule(deadline: .distantFuture)
        }
    }

    // MARK: Requests

    private func answer(_ request: HTTPRequest, _ connection: HTTPServerConnection) {
        schedule()
        guard let policy else { return connection.fail(503, "failed", "the page is not ready yet; try again") }
        do throws(RequestPolicy.Refusal) {
            try policy.check(request)
        } catch {
            return connection.fail(error.status, "refused", error.message)
        }
        let path = request.target.prefix { $0 != "?" }
        if request.method != "POST", RequestPolicy.isPublic(request.target) {
            return sendFile(path, request, connection)
        }
        if path == "/v1/why", request.method == "GET" { return explain(request, connection) }
        do throws(RouteFailure) {
            var asked = request
            let isHead = request.method == "HEAD"
            if isHead { asked.method = "GET" }
            let route = try ControlRoute(asked)
            switch (route, route.pageUse) {
            case (_, .never): connection.fail(403, "forbidden", "that is not for the page; ask by supctl")
            case (.events(_, follow: true, .some), _):
                let text = "the page's stream has the events of all instances: choose there, or ask with follow=false"
                connection.fail(400, "bad-request", text)
            case (.events(let after, follow: true, nil), _):
                let last = request.fields.last { $0.name == "last-event-id" }.flatMap { UInt64($0.value) }
                stream(.events(after: last ?? after), isHead: isHead, connection)
            case (.logs(_, _, follow: true, _, _), _): stream(.other(route.request), isHead: isHead, connection)
            case (_, .reading), (_, .changing): relay(route, request, connection)
            }
        } catch {
            let message = error.status == 404 ? Self.unknown(path) : error.report.message
            connection.fail(error.status, error.report.code, message)
        }
    }

    /// What there is here: less than at the control socket, and why.
    private static func unknown(_ path: Substring) -> String {
        "there is no \(path.prefix(100)) here; there are GET / (the page), /metrics, /v1/status, /v1/balancer, /v1/usage, "
            + "/v1/events, /v1/logs, /v1/version and /v1/why?name=NAME, and with the token of supd.web.actions "
            + "POST /v1/services/NAME/start, stop, restart and scale, and POST /v1/rollback"
    }

    private func sendFile(_ path: Substring, _ request: HTTPRequest, _ connection: HTTPServerConnection) {
        guard let file = PageFiles.file(path) else {
            return connection.fail(404, "not-found", "there is nothing under \(path.prefix(100)) here; the page is /")
        }
        let fields = [HTTPField("ETag", file.tag), HTTPField("Cache-Control", "no-cache")]
        if request.fields.contains(where: { $0.name == "if-none-match" && $0.value == file.tag }) {
            return connection.answer(304, type: file.type, fields: fields, [])
        }
        connection.answer(200, type: file.type, fields: fields, file.bytes)
    }

    /// `GET /v1/why?name=NAME`, which the control API does not have: supctl and this role work it out themselves.
    private func explain(_ request: HTTPRequest, _ connection: HTTPServerConnection) {
        let query = request.target.dropFirst("/v1/why".count)
        let name = query.dropFirst("?name=".count).replacing("%2F", with: "/")
        guard let pool, query.hasPrefix("?name="), (1...80).contains(name.utf8.count),
            name.utf8.allSatisfy({ $0 == 0x2D || (0x2F...0x39).contains($0) || (0x61...0x7A).contains($0) })
        else { return connection.fail(400, "usage", "why takes the name of a service or an instance: ?name=api/1") }
        WhyQuestion(String(name), pool: pool, connection: connection).begin()
    }

    private func stream(_ source: LineFeed.Source, isHead: Bool, _ connection: HTTPServerConnection) {
        feeds.removeAll(where: \.isOver)
        if isHead { return connection.answer(200, type: "text/event-stream", []) }
        guard let pool, feeds.count < limits.streams else {
            return connection.fail(503, "busy", "\(limits.streams) pages are open already; close one")
        }
        let feed = LineFeed(source, to: connection, pool: pool, limits: limits)
        feeds.append(feed)
        connection.beginStream(type: "text/event-stream", closes: true)
        feed.begin()
        if feed.wantsStatus {
            let page = ["version": version, "actions": serving?.allowsActions == true ? "yes" : "no"]
            feed.send("hello", ControlJSON.encode(page) ?? [])
            if statusUnderWay == nil { askForStatus(monotonicNanoseconds()) }
        }
    }

    /// Hands a question on, and its answer back.
    private func relay(_ route: ControlRoute, _ request: HTTPRequest, _ connection: HTTPServerConnection) {
        var question = route.request
        // The token is for the supervisor to look at: here nobody knows it.
        question.fields += request.fields.filter { $0.name == "authorization" }
        var head: (status: Int, type: String)?
        var body: [UInt8] = []
        let upstream = pool?.open(question, isStream: false) { [weak connection] event in
            switch event {
            case .head(let status, let fields):
                head = (status, fields.first { $0.name == "content-type" }?.value ?? HTTPAnswer.json)
            case .body(let bytes): body += bytes
            case .end: connection?.answer(head?.status ?? 502, type: head?.type ?? HTTPAnswer.json, body)
            case .lost: connection?.fail(503, "failed", "the supervisor does not answer; it may be starting: try again")
            }
        }
        guard let upstream else {
            return connection.fail(503, "busy", "too much is being asked at once; try again")
        }
        connection.onGone = { upstream.cancel() }
    }

    // MARK: The status

    /// Asks once for all who watch.
    private func askForStatus(_ now: Int64) {
        guard statusUnderWay == nil || statusUnderWay?.isOver == true else { return }
        statusDue = now + limits.statusInterval
        statusBody = []
        var status = 0
        statusUnderWay = pool?.open(ControlRoute.status(names: [], limits: false).request, isStream: false) {
            [weak self] event in
            switch event {
            case .head(let code, _): status = code
            case .body(let bytes): self?.statusBody += bytes
            case .end: self?.haveStatus(isComplete: status == 200)
            case .lost: self?.haveStatus(isComplete: false)
            }
        }
    }

    private func haveStatus(isComplete: Bool) {
        statusUnderWay = nil
        for feed in feeds where feed.wantsStatus {
            if isComplete { feed.send("status", statusBody) } else { feed.send("away", Array("{}".utf8)) }
        }
        statusBody = []
    }
}
