package import Platform

/// The log files as `supctl logs` reads them.
package struct LogReader: Sendable {
    /// The log directory.
    package let directory: String

    /// Creates a reader of a log directory.
    package init(directory: String) { self.directory = directory }

    /// The instances that have files, by service and number, and services whose sessions have: `api/1`, `api/2`,
    /// `api/balancer`, `web/1`. None if there is no such directory.
    package func instances() throws(SystemError) -> [String] {
        var found: [(service: String, order: Int, file: String)] = []
        for service in try names(in: directory) where LogPath.isService(service.utf8) {
            var files: [String: Int] = [:]
            for name in try names(in: "\(directory)/\(service)") {
                let fields = name.split(separator: ".", maxSplits: 2)
                guard fields.count >= 2, fields[1] == "log", let order = LogPath.order(fields[0].utf8) else {
                    continue
                }
                files[String(fields[0])] = order
            }
            found += files.map { (service, $1, $0) }
        }
        return found.sorted { $0 < $1 }.map { "\($0.service)/\($0.file)" }
    }

    private func names(in directory: String) throws(SystemError) -> [String] {
        do throws(SystemError) {
            return try FileIO.names(inDirectory: directory)
        } catch {
            if error.meansMissing || error.meansNoDirectory { return [] }
            throw error
        }
    }

    /// The last lines of some instances, `count` in all (nil: every line), in the order of their times, rotated files
    /// included. For very many lines iterate over `LogFollower` instead.
    package func tail(instances: [String], count: Int?) throws(SystemError) -> [LogLine] {
        let wanted = Set(instances)
        let follower = try LogFollower(directory: directory, last: count) { wanted.contains($0) }
        var lines: [LogLine] = []
        while let line = try follower.next() { lines.append(line) }
        return lines
    }
}
