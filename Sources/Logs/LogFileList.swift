import Platform

/// A file of an instance, by its name and by what it was when it was looked at.
struct LogFileEntry: Equatable {
    var path: String
    var status: FileIO.Status
}

/// Finds the files of an instance for readers, while a writer may be rotating them.
struct LogFileList {
    /// The path of the current file.
    let path: String

    /// The files, newest first; the current one may be missing for a moment. Two looks that agree are needed, since a
    /// rotation renames one file after the other; nil if they never do, then there will be a change to wait for.
    func files() throws(SystemError) -> [LogFileEntry]? {
        var last = try look()
        for _ in 0..<10 {
            let next = try look()
            if next.map(\.key) == last.map(\.key) { return next }
            last = next
        }
        return nil
    }

    /// One look. Numbers may be missing: of a rotation that a killed supervisor left half done.
    private func look() throws(SystemError) -> [LogFileEntry] {
        guard let slash = path.lastIndex(of: "/") else { return [] }
        let name = path[path.index(after: slash)...]
        var numbers: [Int] = []
        do throws(SystemError) {
            for entry in try FileIO.names(inDirectory: String(path[..<slash])) where entry.hasPrefix("\(name).") {
                if let number = LogPath.number(entry.dropFirst(name.count + 1).utf8) { numbers.append(number) }
            }
        } catch {
            if error.meansMissing { return [] }
            throw error
        }
        var result: [LogFileEntry] = []
        for candidate in [path] + numbers.sorted().map({ "\(path).\($0)" }) {
            do throws(SystemError) {
                let status = try FileIO.status(path: candidate)
                if status.isRegular { result.append(LogFileEntry(path: candidate, status: status)) }
            } catch {
                guard error.meansMissing else { throw error }
            }
        }
        return result
    }
}

extension LogFileEntry {
    /// What two looks are compared by; sizes change all the time.
    fileprivate var key: [UInt64] { [status.device, status.inode, UInt64(path.utf8.count)] }
}
