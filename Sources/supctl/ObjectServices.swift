import ControlAPI
import Events
import Platform

/// The services whose lines are JSON objects themselves (`log.format: "json"`): supd knows them, and they are another set once
/// another manifest is in force. For who follows logs it is looked at again, ten times a second at most, whether one was applied.
struct ObjectServices {
    /// Their names; nil: nobody has answered yet.
    private(set) var names: Set<String>?
    private let client: ControlClient
    /// The last event that is accounted for; nil: nobody has said.
    private var lastEvent: UInt64?
    private var lookedAt: Int64

    private static let pause: Int64 = 100_000_000
    /// Between questions that nobody answers.
    private static let retryPause: Int64 = 1_000_000_000
    /// For an answer: lines wait for it.
    private static let patience = Duration.milliseconds(300)

    /// As a status says, if there is one.
    init(_ client: ControlClient, _ report: StatusReport?) {
        self.client = client
        lookedAt = monotonicNanoseconds()
        take(report)
    }

    /// Asks again if it may have changed.
    mutating func refresh() {
        let pause = lastEvent == nil ? Self.retryPause : Self.pause
        guard monotonicNanoseconds() - lookedAt >= pause else { return }
        // The pause is between an answer, or its not coming, and the next question.
        defer { lookedAt = monotonicNanoseconds() }
        if let lastEvent {
            guard let news = try? client.ask(.events(after: lastEvent, follow: false), timeout: Self.patience) else {
                return self.lastEvent = nil
            }
            let events = news.split(separator: UInt8(ascii: "\n")).compactMap { EventLine.event($0) }
            // Where so much has happened that some is not kept any more, it may have been that.
            let isWhole = events.first.map { $0.number == lastEvent &+ 1 } ?? true
            guard !isWhole || events.contains(where: \.mayChangeManifest) else {
                return self.lastEvent = events.last?.number ?? lastEvent
            }
        }
        let report = try? client.ask(
            .status(names: [], limits: false), as: StatusReport.self, timeout: Self.patience)
        if report == nil { lastEvent = nil }
        take(report)
    }

    private mutating func take(_ report: StatusReport?) {
        guard let report else { return }
        names = Set(report.services.filter { $0.logFormat == "json" }.map(\.name))
        lastEvent = report.daemon.lastEvent
    }
}

extension EventRecord {
    /// Whether another manifest may be in force after it.
    fileprivate var mayChangeManifest: Bool {
        switch kind {
        case .apply, .daemon, .role, .rollout, .lost, .other: true
        default: false
        }
    }
}
