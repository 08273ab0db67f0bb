import ControlAPI
import Dispatch
import Logs
import Platform

/// What the full-screen view shows, asked for on queues of their own: a daemon that does not answer keeps no key waiting.
final class TopFeed: Sendable {
    /// Something that has come.
    enum News: Sendable {
        case report(StatusReport)
        case usage(UsageReport)
        /// The answer of `supctl why`, for an instance.
        case why(String, [String])
        /// The last lines of an instance's log.
        case log(String, [String])
        case message(String)
    }

    private struct State {
        var news: [News] = []
        var isOver = false
        var log: String?
        var logDirectory: String
    }

    /// Readable when there is news.
    let notices: Descriptor
    private let bell: Descriptor
    private let client: ControlClient
    private let names: [String]
    private let state: Lock<State>
    private let samples = DispatchQueue(label: "supctl.top.samples")
    private let changes = DispatchQueue(label: "supctl.top.changes")
    /// Of its own: an answer to why reads all events.
    private let questions = DispatchQueue(label: "supctl.top.questions")
    /// So many lines of a log are looked at.
    private static let logLines = 1000

    init(client: ControlClient, names: [String], _ first: StatusReport) throws(VerbFailure) {
        (self.client, self.names) = (client, names)
        state = Lock(State(logDirectory: first.daemon.logDirectory))
        do throws(SystemError) {
            (notices, bell) = try makePipe(nonblockingRead: true)
            try PipeIO.setNonBlocking(bell)
        } catch {
            throw VerbFailure(.failed, "cannot make a pipe: \(error.reason)")
        }
    }

    /// Samples once a second from now on.
    func begin() {
        samples.asyncAfter(deadline: .now() + .seconds(1)) { self.sample() }
        questions.async { self.askUsage() }
    }

    /// No more of it.
    func end() { state.withLock { $0.isOver = true } }

    /// What has come since the last call.
    func take() -> [News] {
        _ = PipeIO.readAvailable(notices, limit: 4096)
        return state.withLock { state in
            defer { state.news = [] }
            return state.news
        }
    }

    /// Looks at the log of an instance with every sample, and now; nil: at none.
    func showLog(of instance: String?) {
        state.withLock { $0.log = instance }
        if instance != nil { samples.async { self.readLog() } }
    }

    /// Asks for the restart of an instance, and tells how it went.
    func restart(_ instance: String) {
        changes.async { [self] in
            do throws(ControlClientError) {
                let last = try client.follow(.verb(.restart, names: [instance], options: .init(wait: true))) { line in
                    if let waiting = line.waiting { post(.message("restart: \(waiting)")) }
                }
                let isDone = last.result == "done" || last.result == "accepted"
                post(.message(isDone ? "\(instance) restarted" : "\(instance): \(last.message ?? "not restarted")"))
            } catch {
                post(.message("\(instance): cannot restart: \(error.description)"))
            }
        }
    }

    /// Asks why an instance is as it is.
    func askWhy(_ instance: String) {
        questions.async { [self] in
            do throws(VerbFailure) {
                let (report, now) = try WhyQuestion.answer([instance], client)
                post(.why(instance, WhyText.text(report, now: now, allowsColour: false).lines))
            } catch {
                post(.why(instance, ["cannot tell: \(error.message)"]))
            }
        }
    }

    /// Asks for the past, every ten seconds, which is how often supd looks. One that does not know the question is not
    /// asked again.
    private func askUsage() {
        guard !state.withLock({ $0.isOver }) else { return }
        do throws(ControlClientError) {
            post(
                .usage(
                    try client.ask(
                        .usage(names: names, series: nil), as: UsageReport.self, timeout: .seconds(20))))
        } catch {
            if case .refused = error { return }
        }
        questions.asyncAfter(deadline: .now() + .seconds(10)) { self.askUsage() }
    }

    private func sample() {
        guard !state.withLock({ $0.isOver }) else { return }
        do throws(ControlClientError) {
            let report = try client.ask(
                .status(names: names, limits: false), as: StatusReport.self, timeout: .seconds(5))
            state.withLock { $0.logDirectory = report.daemon.logDirectory }
            post(.report(report))
        } catch {
            post(.message("\(error.description); trying again"))
        }
        readLog()
        samples.asyncAfter(deadline: .now() + .seconds(1)) { self.sample() }
    }

    private func readLog() {
        let (wanted, directory) = state.withLock { ($0.log, $0.logDirectory) }
        guard let instance = wanted else { return }
        do throws(SystemError) {
            let lines = try LogReader(directory: directory).tail(instances: [instance], count: Self.logLines)
            post(
                .log(
                    instance,
                    lines.map { "\($0.timestamp.prefix(23))Z \(String(decoding: $0.text, as: UTF8.self))" }))
        } catch {
            post(.message("cannot read the log of \(instance): \(error.reason)"))
        }
    }

    private func post(_ news: News) {
        state.withLock { state in
            // Nobody takes them while the view is suspended: only the latest matter.
            if state.news.count >= 32 { state.news.removeFirst() }
            state.news.append(news)
        }
        PipeIO.ring(bell)
    }
}
