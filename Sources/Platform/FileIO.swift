import Glibc

/// Calls on files and directories, by path and by descriptor.
package enum FileIO {
    /// What fstat(2) tells of a file.
    package struct Status: Sendable, Equatable {
        /// The file system and the file's number in it: together they name a file for as long as it exists.
        package var device: UInt64
        /// The inode number.
        package var inode: UInt64
        /// The size in bytes.
        package var size: Int
        /// How many names it has; 0 for a file that was deleted.
        package var links: Int
        /// Whether it is a regular file.
        package var isRegular: Bool

        /// Whether both are the same file.
        package func isSameFile(as other: Status) -> Bool { device == other.device && inode == other.inode }

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            size = Int(status.st_size)
            links = Int(status.st_nlink)
            isRegular = status.st_mode & S_IFMT == S_IFREG
        }
    }

    /// What a path names, symbolic links not followed: lstat(2).
    package static func status(path: String) throws(SystemError) -> Status {
        var status = stat()
        try systemCall("lstat", path) { lstat(path, &status) }
        return Status(status)
    }

    /// Whether there is something of this name, as far as can be seen.
    package static func exists(_ path: String) -> Bool {
        do {
            _ = try status(path: path)
            return true
        } catch {
            return !error.meansMissing
        }
    }

    /// What a descriptor names: fstat(2).
    package static func status(_ file: Descriptor) throws(SystemError) -> Status {
        var status = stat()
        try systemCall("fstat") { fstat(file.raw, &status) }
        return Status(status)
    }

    /// Opens a file for appending and reading, and creates it with mode 0640 or another one if it is missing: open(2).
    /// Neither follows a symbolic link nor waits for the other end of a fifo.
    package static func openForAppending(path: String, mode: UInt32 = 0o640) throws(SystemError) -> Descriptor {
        let flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        return Descriptor(owning: try systemCall("open", path) { open(path, flags, mode) })
    }

    /// Opens a file for reading: open(2).
    package static func openForReading(path: String) throws(SystemError) -> Descriptor {
        let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        return Descriptor(owning: try systemCall("open", path) { open(path, flags) })
    }

    /// The bytes from an offset on, at most `count`, fewer at the end of the file: pread(2).
    package static func read(_ file: Descriptor, at offset: Int, count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(count, 0))
        var filled = 0
        while filled < bytes.count {
            let got = try systemCall("pread") {
                bytes.withUnsafeMutableBytes { target in
                    target.baseAddress.map {
                        pread(file.raw, $0 + filled, target.count - filled, off_t(offset + filled))
                    }
                        ?? 0
                }
            }
            if got == 0 { break }
            filled += got
        }
        bytes.removeLast(bytes.count - filled)
        return bytes
    }

    /// Writes all bytes where the file is, which is its end if it was opened for appending: write(2). After an error part of
    /// them may be there.
    package static func append(_ bytes: [UInt8], to file: Descriptor) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            let count = try systemCall("write") {
                bytes.withUnsafeBytes { write(file.raw, $0.baseAddress?.advanced(by: offset), bytes.count - offset) }
            }
            guard count > 0 else { throw SystemError.noSpace("a file") }
            offset += Int(count)
        }
    }

    /// Cuts a file to a size: ftruncate(2).
    package static func truncate(_ file: Descriptor, to size: Int) throws(SystemError) {
        try systemCall("ftruncate") { ftruncate(file.raw, off_t(size)) }
    }

    /// Renames a file, in place of another one of that name: rename(2).
    package static func rename(_ old: String, to new: String) throws(SystemError) {
        try systemCall("rename", old) { Glibc.rename(old, new) }
    }

    /// Removes a file's name: unlink(2).
    package static func remove(_ path: String) throws(SystemError) {
        try systemCall("unlink", path) { unlink(path) }
    }

    /// Creates a directory with mode 0750 or another one, and those above it that are missing; one that exists is left as it is:
    /// mkdir(2).
    package static func createDirectories(_ path: String, mode: UInt32 = 0o750) throws(SystemError) {
        do throws(SystemError) {
            try systemCall("mkdir", path) { mkdir(path, mode) }
        } catch {
            if error.code == EEXIST { return }
            guard error.code == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
                throw error
            }
            try createDirectories(String(path[..<slash]), mode: mode)
            do throws(SystemError) {
                try systemCall("mkdir", path) { mkdir(path, mode) }
            } catch  where error.code == EEXIST {}
        }
    }

    /// Puts bytes in place of a file, or makes it; whole or not at all, also when the machine goes down: written aside, flushed,
    /// renamed; open(2), fsync(2), rename(2).
    package static func replaceContents(of path: String, with bytes: [UInt8], mode: UInt32) throws(SystemError) {
        let aside = "\(path).new"
        if unlink(aside) != 0, errno != ENOENT { throw SystemError(call: "unlink", code: errno, subject: aside) }
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
        let file = Descriptor(owning: try systemCall("open", aside) { open(aside, flags, mode) })
        var offset = 0
        while offset < bytes.count {
            let count = try systemCall("write", aside) {
                bytes.withUnsafeBytes { write(file.raw, $0.baseAddress?.advanced(by: offset), bytes.count - offset) }
            }
            guard count > 0 else { throw SystemError.noSpace(aside) }
            offset += Int(count)
        }
        try systemCall("fsync", aside) { fsync(file.raw) }
        try rename(aside, to: path)
    }

    /// The names in a directory, without `.` and `..`, in no order: readdir(3).
    package static func names(inDirectory path: String) throws(SystemError) -> [String] {
        guard let directory = opendir(path) else { throw SystemError(call: "opendir", code: errno, subject: path) }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

extension SystemError {
    /// ENOENT: there is no such file or directory.
    package var meansMissing: Bool { code == ENOENT }
    /// ENOTDIR: it is no directory.
    package var meansNoDirectory: Bool { code == ENOTDIR }
    /// EAGAIN: nothing there now.
    package var meansNothingThere: Bool { code == EAGAIN }

    /// EINVAL: something is there, but of a kind that cannot be used.
    package static func unsuitable(_ call: String, _ subject: String) -> SystemError {
        SystemError(call: call, code: EINVAL, subject: subject)
    }

    /// ENOSPC: a write was refused without an error.
    package static func noSpace(_ subject: String) -> SystemError {
        SystemError(call: "write", code: ENOSPC, subject: subject)
    }

    /// EBADF: the file is not open.
    package static func notOpen(_ subject: String) -> SystemError {
        SystemError(call: "write", code: EBADF, subject: subject)
    }
}
