package import Platform

/// Reads the lines of several instances in the order of their times: first what is in the files, then, between calls of
/// `wait`, what comes; through rotations, restarts of services and of supd, and instances that are new.
///
/// ```
/// let follower = try LogFollower(directory: logs, last: 20) { $0.hasPrefix("api/") }
/// repeat { while let line = try follower.next() { show(line) } } while try follower.wait(milliseconds: -1)
/// ```
package final class LogFollower {
    private let reader: LogReader
    private let includes: (String) -> Bool
    private let bounds: LogFilter.Bounds
    /// All cursors, by instance.
    private var cursors: [String: LogCursor] = [:]
    /// The instances whose files may have more.
    private var changed: Set<String> = []
    /// The next line of each of some cursors, latest first.
    private var heads: [(line: LogLine, cursor: LogCursor)] = []
    /// The last lines of the beginning, in reverse.
    private var beginning: [LogLine] = []
    private var inotify: Inotify?
    private var services: [Int32: String] = [:]

    /// Begins with the last `last` lines in all (nil: with every line there is; 0: with what comes) of the instances that
    /// `includes` accepts. Lines that the filter leaves out are not counted.
    package init(
        directory: String, last: Int?, filter: LogFilter = LogFilter(), includes: @escaping (String) -> Bool
    ) throws(SystemError) {
        reader = LogReader(directory: directory)
        self.includes = includes
        bounds = filter.bounds()
        for instance in try reader.instances() where includes(instance) {
            guard let cursor = addCursor(instance) else { continue }
            if let last, last <= 0 || !bounds.leavesOutLast {
                try cursor.seekToLast(max(last, 0))
            } else if let begin = bounds.begin {
                try cursor.seek(toTime: begin)
            } else {
                try cursor.seekToStart()
            }
        }
        guard let last else { return }
        beginning = try lastLines(max(last, 0)).reversed()
    }

    /// The next line; nil when there is none yet.
    package func next() throws(SystemError) -> LogLine? {
        if let line = beginning.popLast() { return line }
        return try merge()
    }

    /// Waits up to `milliseconds` (-1: for ever) until there may be more lines; false if the time is over. May return
    /// early without there being any.
    package func wait(milliseconds: Int32) throws(SystemError) -> Bool {
        guard let inotify else {
            // What came before the first watch raises no event: look at everything once.
            try startWatching()
            return true
        }
        guard try inotify.wait(milliseconds: milliseconds) else { return false }
        for change in try inotify.changes() {
            switch change {
            case .entry(let watch, let name):
                if let service = services[watch] {
                    note(service: service, file: name)
                } else {
                    try watchServices(inotify)
                }
            case .gone(let watch):
                if let service = services.removeValue(forKey: watch) { note(service: service, file: nil) }
                try watchServices(inotify)
            case .overflow:
                try watchServices(inotify)
                changed.formUnion(cursors.keys)
            }
        }
        return true
    }

    // MARK: Merging

    /// The last lines there are, oldest first, in a ring.
    private func lastLines(_ count: Int) throws(SystemError) -> [LogLine] {
        var ring: [LogLine] = []
        var oldest = 0
        while let line = try merge() {
            if ring.count < count {
                ring.append(line)
            } else if count > 0 {
                ring[oldest] = line
                oldest = (oldest + 1) % count
            }
        }
        return Array(ring[oldest...] + ring[..<oldest])
    }

    private func merge() throws(SystemError) -> LogLine? {
        // A cursor is either among the heads, or has nothing more, or was noted as changed.
        for instance in changed {
            guard let cursor = cursors[instance], !heads.contains(where: { $0.cursor === cursor }) else { continue }
            try advance(cursor)
        }
        changed = []
        guard let (line, cursor) = heads.popLast() else { return nil }
        try advance(cursor)
        return line
    }

    /// Puts a cursor's next line, if there is one, where it belongs among the heads.
    private func advance(_ cursor: LogCursor) throws(SystemError) {
        guard let line = try nextWanted(of: cursor) else { return }
        var (low, high) = (0, heads.count)
        while low < high {
            let middle = (low + high) / 2
            // Lines of the same time stay in the order of their instances' names.
            let isLater = (heads[middle].line.timestamp, heads[middle].line.instance) > (line.timestamp, line.instance)
            if isLater { low = middle + 1 } else { high = middle }
        }
        heads.insert((line, cursor), at: low)
    }

    private func nextWanted(of cursor: LogCursor) throws(SystemError) -> LogLine? {
        while let line = try cursor.next() {
            if bounds.accepts(line) { return line }
            if bounds.isOver(line) { return nil }
        }
        return nil
    }

    // MARK: Watching

    private func startWatching() throws(SystemError) {
        let inotify = try Inotify()
        _ = try inotify.watch(directory: reader.directory, writes: false)
        self.inotify = inotify
        try watchServices(inotify)
        changed.formUnion(cursors.keys)
    }

    /// Watches all services there are, and takes up instances that are new.
    private func watchServices(_ inotify: Inotify) throws(SystemError) {
        for name in try FileIO.names(inDirectory: reader.directory) where LogPath.isService(name.utf8) {
            do throws(SystemError) {
                let watch = try inotify.watch(directory: "\(reader.directory)/\(name)", writes: true)
                services[watch] = name
            } catch {
                // Gone again, or no directory.
                guard error.meansMissing || error.meansNoDirectory else { throw error }
            }
        }
        for instance in try reader.instances() where cursors[instance] == nil && includes(instance) {
            addCursor(instance)
        }
    }

    /// Notes that a file of a service changed; nil: any of them.
    private func note(service: String, file: String?) {
        guard let file else {
            changed.formUnion(cursors.keys.filter { $0.hasPrefix("\(service)/") })
            return
        }
        guard let name = file.split(separator: ".").first else { return }
        let instance = "\(service)/\(name)"
        if cursors[instance] == nil, includes(instance) { addCursor(instance) }
        changed.insert(instance)
    }

    @discardableResult
    private func addCursor(_ instance: String) -> LogCursor? {
        guard let path = LogPath.current(instance, in: reader.directory) else { return nil }
        let cursor = LogCursor(instance: instance, path: path)
        cursors[instance] = cursor
        changed.insert(instance)
        return cursor
    }
}
