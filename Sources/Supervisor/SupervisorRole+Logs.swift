import ControlAPI
import Dispatch
import Logs
import Platform
import Supervision

/// The ends of logs for those who may not read the files themselves, as the dashboard; supctl reads them itself, and all of
/// them. Files are read off the queue, in pieces, and only as fast as they are taken.
struct LogWatches {
    /// One who reads lines.
    struct Watch {
        var responder: ControlResponder
        var tails: [LogTail] = []
        /// What it begins with; nil: it has begun.
        var first: First?
        /// It wants what comes, too.
        var follows: Bool
        var isReading = false
        /// All is said; it keeps its place until its client has taken that.
        var isOver = false
    }

    /// What one begins with: the last lines of instances, before those that it has of them.
    struct First {
        var instances: [String]
        var count: Int
        var marks: [LogMark]
        var until: Int64?

        /// These lines; for tails that begin where these end.
        func lines(in directory: String, _ tails: [LogTail]) -> [LogLine] {
            let pages = instances.enumerated().map { index, instance in
                if let mark = marks.first(where: { $0.instance == instance }) {
                    let place = LogPlace(file: mark.file, offset: mark.offset)
                    return LogPages.before(place, time: mark.time, of: instance, in: directory, count: count)
                }
                if let until {
                    guard let place = LogPages.place(after: until, of: instance, in: directory) else {
                        return LogPages.Page(lines: [], hasMore: false)
                    }
                    return LogPages.before(place, of: instance, in: directory, count: count)
                }
                let place = tails.indices.contains(index) ? tails[index].place : nil
                return LogPages.before(place, of: instance, in: directory, count: count)
            }
            return LogPages.merged(pages, count: count)
        }
    }

    /// So many read at a time.
    static let most = 8
    /// So many instances one reads of.
    static let mostInstances = LogMark.most

    var watches: [UInt64: Watch] = [:]
    var isTicking = false
    private var last: UInt64 = 0

    /// One more who reads; nil: there are too many.
    mutating func add(_ watch: Watch) -> UInt64? {
        guard watches.count < Self.most else { return nil }
        last += 1
        watches[last] = watch
        return last
    }
}

extension SupervisorRole {
    /// Files that lie on a disk that hangs hold up nothing else.
    private static let logReading = DispatchQueue(label: "supd.log-tails", qos: .utility)
    private static let logTick = DispatchTimeInterval.milliseconds(300)

    /// Answers with the last lines of instances, or those before some or up to a time, and with those that come as long as the client stays, if
    /// it follows.
    func streamLogs(
        _ names: [String], last count: Int, follows: Bool, before marks: [LogMark], until: Int64?,
        _ application: Application, _ responder: ControlResponder
    ) {
        guard let choice = resolve(names.isEmpty ? ["all"] : names, application, responder) else { return }
        let instances = Array(choice.instances.prefix(LogWatches.mostInstances))
        let first = LogWatches.First(instances: instances, count: count, marks: marks, until: until)
        let watch = LogWatches.Watch(responder: responder, first: first, follows: follows)
        guard let id = logWatches.add(watch) else {
            return responder.fail(503, code: "busy", "\(LogWatches.most) clients read logs already; try again later")
        }
        responder.begin()
        responder.onCancel { [weak self] in self?.assumeIsolated { $0.logWatches.watches[id] = nil } }
        responder.onRoom { [weak self] in self?.assumeIsolated { $0.feedLog(id) } }
        feedLog(id)
    }

    private func feedLog(_ id: UInt64) {
        guard let watch = logWatches.watches[id], !watch.isReading, watch.responder.hasRoom else { return }
        if watch.isOver {
            logWatches.watches[id] = nil
            return watch.responder.finish()
        }
        logWatches.watches[id]?.isReading = true
        let (before, first, directory) = (watch.tails, watch.first, configuration.logDirectory)
        Self.logReading.async { [role = self] in
            var tails = before
            var lines: [LogLine] = []
            if let first {
                tails = first.instances.compactMap { LogTail(instance: $0, directory: directory, atEnd: true) }
                lines = first.lines(in: directory, tails)
            } else {
                for index in tails.indices { lines += tails[index].next() }
                // Each file's lines are in order; those of several are here.
                lines.sort { $0.timestamp < $1.timestamp }
            }
            let text = lines.flatMap { PlacedLine($0).text }
            let (after, isEmpty) = (tails, lines.isEmpty)
            role.queue.async { role.assumeIsolated { $0.haveLogLines(id, text, isEmpty: isEmpty, after) } }
        }
    }

    private func haveLogLines(_ id: UInt64, _ text: [UInt8], isEmpty: Bool, _ tails: [LogTail]) {
        guard let watch = logWatches.watches[id] else { return }
        logWatches.watches[id]?.isReading = false
        logWatches.watches[id]?.tails = tails
        logWatches.watches[id]?.first = nil
        if !text.isEmpty { watch.responder.send(lines: text) }
        if !watch.follows { logWatches.watches[id]?.isOver = true }
        if isEmpty, watch.follows { lookAtLogsLater() } else { feedLog(id) }
    }

    /// Whoever has seen all there is is looked after again in a moment.
    private func lookAtLogsLater() {
        guard !logWatches.isTicking else { return }
        logWatches.isTicking = true
        queue.asyncAfter(deadline: .now() + Self.logTick) { [weak self] in
            self?.assumeIsolated { role in
                role.logWatches.isTicking = false
                for id in role.logWatches.watches.keys.sorted() { role.feedLog(id) }
            }
        }
    }
}

/// A line as the API gives it: as `supctl logs --json` does, and where it is.
private struct PlacedLine: Encodable {
    private let line: LogObject
    private let place: String?

    private enum CodingKeys: CodingKey { case place }

    init(_ line: LogLine) {
        self.line = LogObject(line)
        place = line.place.map { LogMark.place(file: $0.file, offset: $0.offset) }
    }

    func encode(to encoder: any Encoder) throws {
        try line.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encodeIfPresent(place, forKey: .place)
    }

    var text: [UInt8] { (ControlJSON.encode(self) ?? []) + [UInt8(ascii: "\n")] }
}
