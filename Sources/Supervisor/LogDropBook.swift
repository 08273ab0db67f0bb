import Events
import Logs
import Platform
import Supervision

/// What of dropped lines was told as an event: of each service at once, and then once a minute at most, with all that was
/// dropped since. What was told, and when, is kept beside the counts, so that the next supervisor goes on with it.
struct LogDropBook {
    /// An event that is due.
    struct Telling: Hashable {
        /// The service.
        var service: String
        /// The instance, if it is the only one.
        var instance: InstanceID?
        /// What was dropped.
        var drop: EventKind.LogDrop
    }

    /// Between two events of a service, in nanoseconds.
    static let pause: Int64 = 60_000_000_000
    /// So long it is waited for more of what begins, so that the first event does not tell of a single line.
    static let gathering: Int64 = 500_000_000

    /// Of each instance, what was told of.
    private var told: [String: LogLoss]
    /// Of each service, when it was told last.
    private var toldAt: [String: Int64] = [:]
    /// When somebody will look.
    var armed: Int64?

    /// What was dropped before is no news.
    init(after losses: [String: LogLoss] = [:]) { told = losses }

    /// Goes on where another one has come to.
    init(_ counts: KeptCounts) {
        told = [:]
        for (name, row) in counts.all {
            if row[.dropsToldAt] > 0 { toldAt[name] = Int64(clamping: row[.dropsToldAt]) }
            if row[.toldBytes] > 0 { told[name] = LogLoss(lines: row[.toldLines], bytes: row[.toldBytes], code: 0) }
        }
    }

    /// Keeps for the next one what was told of these services, once their events are kept.
    func keep(_ services: Set<String>, in counts: KeptCounts) {
        for (name, loss) in told where services.contains(Self.service(of: name)) {
            counts.set([(.toldLines, loss.lines), (.toldBytes, loss.bytes)], of: name)
        }
        for service in services {
            guard let time = toldAt[service] else { continue }
            counts.set([(.dropsToldAt, UInt64(clamping: time))], of: service)
        }
    }

    private static func service(of name: String) -> String { String(name.prefix { $0 != "/" }) }

    /// What is to be told now, of all that was dropped so far; and when there will be more to tell of it, nil: no more.
    mutating func take(_ losses: [String: LogLoss], at now: Int64) -> (due: [Telling], next: Int64?) {
        var due: [Telling] = []
        var next: Int64?
        let news = Dictionary(
            grouping: losses.filter { name, loss in loss.bytes != told[name]?.bytes ?? 0 }.sorted { $0.key < $1.key },
            by: { Self.service(of: $0.key) })
        for (service, instances) in news.sorted(by: { $0.key < $1.key }) {
            if let last = toldAt[service], now &- last < Self.pause {
                next = min(next ?? .max, last &+ Self.pause)
                continue
            }
            var drop = EventKind.LogDrop(lines: 0, bytes: 0, reason: "")
            for (name, loss) in instances {
                drop.lines &+= Self.more(loss.lines, told[name]?.lines)
                drop.bytes &+= Self.more(loss.bytes, told[name]?.bytes)
                drop.reason = loss.reason
                told[name] = loss
            }
            toldAt[service] = now
            let only = instances.count == 1 ? instances.first?.key : nil
            due.append(Telling(service: service, instance: only.flatMap(Self.instance), drop: drop))
        }
        return (due, next)
    }

    /// The instance of a log's name; nil: the log is that of a service's sessions.
    private static func instance(_ name: String) -> InstanceID? {
        let parts = name.split(separator: "/")
        guard parts.count == 2, let number = Int(parts[1]) else { return nil }
        return InstanceID(service: String(parts[0]), number: number)
    }

    /// A count that is smaller than before has begun anew.
    private static func more(_ count: UInt64, _ before: UInt64?) -> UInt64 {
        guard let before, before <= count else { return count }
        return count - before
    }

    /// Forgets all instances but these.
    mutating func keep(_ isKept: (_ instance: String) -> Bool) {
        for name in told.keys where !isKept(name) { told[name] = nil }
        let services = Set(told.keys.map { $0.prefix { $0 != "/" } })
        for service in toldAt.keys where !services.contains(service[...]) { toldAt[service] = nil }
    }
}
