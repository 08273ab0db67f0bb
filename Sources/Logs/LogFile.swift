import Platform

/// The current log file of an instance: opened when first needed, appended to, rotated.
final class LogFile {
    /// The instance's name.
    let instance: String
    /// The path of the current file.
    let path: String
    /// The size in bytes at which the file is rotated.
    var maxSize: Int
    /// How many rotated files are kept.
    var keep: Int
    /// How many streams write to it.
    var users = 0
    /// Lines are being dropped.
    var isInTrouble = false
    /// When lines were last dropped for being more than the rate, in nanoseconds since 1970.
    var lastFlood: Int64 = 0
    /// The last rotation failed.
    var rotationIsBroken = false

    private var file: Descriptor?
    private(set) var status: FileIO.Status?
    private var lastFailure: (at: Int64, error: SystemError)?

    init(instance: String, path: String, maxSize: Int, keep: Int) {
        self.instance = instance
        self.path = path
        self.maxSize = maxSize
        self.keep = keep
    }

    /// The size of the open file.
    var size: Int { status?.size ?? 0 }

    /// Opens the file unless it is open, creating it and its directory. A last line that was torn is ended. After a
    /// failure the next second fails at once, so that a flood of lines is not a flood of system calls.
    func open(now: Int64) throws(SystemError) {
        if file != nil { return }
        if let lastFailure, (0..<1_000_000_000).contains(now - lastFailure.at) { throw lastFailure.error }
        do throws(SystemError) {
            let opened = try openOrCreate()
            try endTornLine(opened)
            status = try FileIO.status(opened)
            file = opened
            lastFailure = nil
        } catch {
            lastFailure = (now, error)
            throw error
        }
    }

    private func openOrCreate() throws(SystemError) -> Descriptor {
        let opened: Descriptor
        do throws(SystemError) {
            opened = try FileIO.openForAppending(path: path)
        } catch {
            guard error.meansMissing, let slash = path.lastIndex(of: "/") else { throw error }
            try FileIO.createDirectories(String(path[..<slash]))
            opened = try FileIO.openForAppending(path: path)
        }
        guard try FileIO.status(opened).isRegular else {
            throw SystemError.unsuitable("open", "\(path), which is not a regular file")
        }
        return opened
    }

    private func endTornLine(_ opened: Descriptor) throws(SystemError) {
        let size = try FileIO.status(opened).size
        guard size > 0, try FileIO.read(opened, at: size - 1, count: 1) != [CRIFormat.newline] else { return }
        let newline = ByteBuffer()
        newline.append(CRIFormat.newline)
        _ = try newline.write(0..<1, to: opened)
    }

    /// Cuts back what a process before wrote in a transaction that it did not finish, if the path still names that file.
    func cutBack(_ transaction: LogTransaction) throws(SystemError) {
        let file: Descriptor
        do throws(SystemError) {
            let found = try FileIO.status(path: path)
            guard found.isRegular, found.device == transaction.device, found.inode == transaction.inode,
                found.size > transaction.fileOffset
            else { return }
            file = try FileIO.openForAppending(path: path)
        } catch {
            if error.meansMissing { return }
            throw error
        }
        try FileIO.truncate(file, to: transaction.fileOffset)
    }

    /// What became of an append.
    enum Appended {
        /// All is in the file that the path names, or in one that was renamed since.
        case done
        /// The file was deleted while it was written to: the bytes are gone, and the next open makes a new one.
        case deleted
        /// Only the bytes before `kept`, whole lines, are in the file.
        case failed(kept: Int, SystemError)
    }

    /// Appends a range of whole lines to the open file.
    func append(_ output: ByteBuffer, _ range: Range<Int>) -> Appended {
        guard let file, var status else { return .failed(kept: range.lowerBound, .notOpen(path)) }
        var done = range.lowerBound
        while done < range.upperBound {
            do throws(SystemError) {
                let count = try output.write(done..<range.upperBound, to: file)
                guard count > 0 else { throw SystemError.noSpace(path) }
                done += count
            } catch {
                let kept = output.lastIndex(of: CRIFormat.newline, in: range.lowerBound..<done).map { $0 + 1 }
                let end = kept ?? range.lowerBound
                status.size += end - range.lowerBound
                self.status = status
                if done != end {
                    // If even that fails, the next open ends the torn line.
                    do { try FileIO.truncate(file, to: status.size) } catch { close() }
                }
                // A file that was deleted to make room does so when it is closed.
                guard isStillThere(file) else { return .deleted }
                return .failed(kept: end, SystemError(call: error.call, code: error.code, subject: path))
            }
        }
        status.size += range.count
        self.status = status
        return isStillThere(file) ? .done : .deleted
    }

    /// Looks whether the path still names the open file. Closes it if not; false if it was deleted.
    private func isStillThere(_ file: Descriptor) -> Bool {
        do {
            let found = try FileIO.status(path: path)
            if let status, found.isSameFile(as: status) {
                self.status = found
                return true
            }
        } catch {
            // Not there, or not to be looked at: the descriptor knows.
        }
        close()
        do { return try FileIO.status(file).links > 0 } catch { return true }
    }

    /// Closes the file; the next `open` opens it again.
    func close() {
        file = nil
        status = nil
    }

    /// Moves the current file to `.1`, `.1` to `.2` and so on, and removes what is beyond `keep`.
    ///
    /// It can be repeated from wherever a process before stopped in it: names move only up to the first one that is
    /// missing, which is the one that the last rename left, so that no file moves twice. rename(2) replaces the
    /// oldest in the same step.
    func rotate() throws(SystemError) {
        close()
        guard FileIO.exists(path) else { return }
        guard keep > 0 else { return try Self.tolerateMissing { () throws(SystemError) in try FileIO.remove(path) } }
        var missing = 1
        while missing < keep, FileIO.exists("\(path).\(missing)") { missing += 1 }
        for number in stride(from: missing - 1, through: 1, by: -1) {
            try Self.tolerateMissing { () throws(SystemError) in
                try FileIO.rename("\(path).\(number)", to: "\(path).\(number + 1)")
            }
        }
        try Self.tolerateMissing { () throws(SystemError) in try FileIO.rename(path, to: "\(path).1") }
        removeOlder()
    }

    /// Removes the files that a larger `keep` left.
    private func removeOlder() {
        var number = keep + 1
        while true {
            do { try FileIO.remove("\(path).\(number)") } catch { return }
            number += 1
        }
    }

    private static func tolerateMissing(_ body: () throws(SystemError) -> Void) throws(SystemError) {
        do throws(SystemError) { try body() } catch { if !error.meansMissing { throw error } }
    }
}
