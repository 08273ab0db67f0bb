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
        var tails: [LogTail]
        /// So many lines to begin with; nil: it has begun.
        var first: Int?
        /// It wants what comes, too.
        var follows: Bool
        var isReading = false
    }

    /// So many read at a time.
    static let most = 8
    /// So many instances one reads of.
    static let mostInstances = 16

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

    /// Answers with the last lines of instances, and with those that come as long as the client stays, if it follows.
    func streamLogs(
        _ names: [String], last count: Int, follows: Bool, _ application: Application, _ responder: ControlResponder
    ) {
        guard let choice = resolve(names.isEmpty ? ["all"] : names, application, responder) else { return }
        let directory = configuration.logDirectory
        let instances = Array(choice.instances.prefix(LogWatches.mostInstances))
        let tails = instances.compactMap { LogTail(instance: $0, directory: directory) }
        let watch = LogWatches.Watch(responder: responder, tails: tails, first: count, follows: follows)
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
        logWatches.watches[id]?.isReading = true
        let (before, first) = (watch.tails, watch.first)
        Self.logReading.async { [role = self] in
            var tails = before
            var lines: [LogLine] = []
            for index in tails.indices { lines += tails[index].next() }
            // Each file's lines are in order; those of several are here.
            lines.sort { $0.timestamp < $1.timestamp }
            if let first { lines = Array(lines.suffix(first)) }
            let text = lines.flatMap { (ControlJSON.encode(LogObject($0)) ?? []) + [UInt8(ascii: "\n")] }
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
        guard isEmpty else { return feedLog(id) }
        if watch.follows { return lookAtLogsLater() }
        logWatches.watches.removeValue(forKey: id)?.responder.finish()
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
