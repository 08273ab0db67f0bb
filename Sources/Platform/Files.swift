import Glibc

/// Small reads of files, with a limit each and never blocking on something that is no regular file.
package enum Files {
    /// What stat(2) says of a file, as far as anybody here needs it.
    package struct Status: Sendable, Hashable {
        /// The kinds of files that are told apart.
        package enum Kind: Sendable, Hashable {
            /// A regular file.
            case regular
            /// A directory.
            case directory
            /// Anything else: a pipe, a device, a socket.
            case other
        }

        /// What it is.
        package var kind: Kind
        /// The permission bits, 0 to 0o7777.
        package var mode: UInt32
        /// The owner's user id.
        package var user: UInt32
        /// Its group id.
        package var group: UInt32
    }

    /// Reads a whole regular file of at most `limit` bytes (files of /proc too). Throws EFBIG beyond the limit, EISDIR
    /// for a directory, EINVAL for a path with a NUL or for what is neither.
    package static func read(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
        let bytes = try read(path, atMost: limit &+ 1)
        guard bytes.count <= limit else { throw SystemError(call: "read", code: EFBIG, subject: path) }
        return bytes
    }

    /// Reads the first bytes of a regular file, `count` at most.
    package static func readPrefix(_ path: String, count: Int) throws(SystemError) -> [UInt8] {
        try read(path, atMost: count)
    }

    /// What a path leads to, by stat(2).
    package static func status(_ path: String) throws(SystemError) -> Status {
        try checkPath(path)
        var status = stat()
        try systemCall("stat", path) { stat(path, &status) }
        return Status(status)
    }

    /// What a symbolic link says, by readlink(2), cut to `limit` bytes.
    package static func readLink(_ path: String, limit: Int = 4096) throws(SystemError) -> String {
        try checkPath(path)
        var target = [CChar](repeating: 0, count: max(1, limit))
        let count = try systemCall("readlink", path) { readlink(path, &target, target.count) }
        return String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The names in a directory without `.` and `..`, by readdir(3), `limit` at most and in no order.
    package static func names(in directory: String, limit: Int) throws(SystemError) -> [String] {
        var names: [String] = []
        try forEachName(in: directory) { name in
            names.append(String(cString: name))
            return names.count < limit
        }
        return names
    }

    /// Whether programs on the path's file system are barred from running (mount option noexec), by statvfs(3).
    package static func forbidsPrograms(_ path: String) -> Bool {
        let noExecution: UInt = 8  // ST_NOEXEC of <sys/statvfs.h>, an enum case that Swift does not see
        var status = statvfs()
        return statvfs(path, &status) == 0 && status.f_flag & noExecution != 0
    }

    /// Calls `body` with each name until it returns false.
    static func forEachName(in directory: String, _ body: (UnsafePointer<CChar>) -> Bool) throws(SystemError) {
        try checkPath(directory)
        guard let stream = opendir(directory) else {
            throw SystemError(call: "opendir", code: errno, subject: directory)
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            let goesOn = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                    if name[0] == 0x2e, name[1] == 0 || (name[1] == 0x2e && name[2] == 0) { return true }
                    return body(name)
                }
            }
            if !goesOn { return }
        }
    }

    private static func read(_ path: String, atMost count: Int) throws(SystemError) -> [UInt8] {
        try checkPath(path)
        // O_NONBLOCK: opening a named pipe must not wait for a writer.
        let file = Descriptor(
            owning: try systemCall("open", path) { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) })
        var status = stat()
        try systemCall("fstat", path) { fstat(file.raw, &status) }
        switch Status(status).kind {
        case .regular: break
        case .directory: throw SystemError(call: "read", code: EISDIR, subject: path)
        case .other: throw SystemError(call: "read", code: EINVAL, subject: path)
        }
        // Files of /proc say that they are empty.
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(max(status.st_size &+ 1, 4096), 65_536))
        while bytes.count < count {
            let got = try systemCall("read", path) {
                chunk.withUnsafeMutableBytes {
                    Glibc.read(file.raw, $0.baseAddress, min($0.count, count - bytes.count))
                }
            }
            if got == 0 { break }
            bytes.append(contentsOf: chunk[..<got])
        }
        return bytes
    }

    /// A path with a NUL would be cut there and mean another file.
    private static func checkPath(_ path: String) throws(SystemError) {
        guard !path.utf8.contains(0) else { throw SystemError(call: "open", code: EINVAL, subject: path) }
    }
}

extension Files.Status {
    fileprivate init(_ status: stat) {
        let kind: Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            default: .other
            }
        self.init(kind: kind, mode: status.st_mode & 0o7777, user: status.st_uid, group: status.st_gid)
    }
}
