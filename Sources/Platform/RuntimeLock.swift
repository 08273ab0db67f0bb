import Glibc

/// The lock that makes one supd per runtime directory: flock(2) on a file that names the holder. The kernel lets go of
/// it with the process, however it ends.
package struct RuntimeLock: Sendable {
    /// The open, locked file; the lock lasts as long as this value, and as any process that the descriptor is left to.
    package let descriptor: Descriptor

    /// Goes on with a lock that the program before this one held in the same process.
    package init(inherited descriptor: Descriptor) { self.descriptor = descriptor }

    /// Why there is no lock.
    package enum Failure: Error, Sendable {
        /// Another process holds it; its id, if the file says so.
        case held(by: Int32?)
        /// The file could not be opened or locked.
        case system(SystemError)
    }

    /// Takes the lock and writes the process id into the file. Never waits.
    package init(path: String) throws(Failure) {
        do throws(SystemError) {
            descriptor = Descriptor(
                owning: try systemCall("open", path) { open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640) })
        } catch {
            throw .system(error)
        }
        do throws(SystemError) {
            try systemCall("flock", path) { flock(descriptor.raw, LOCK_EX | LOCK_NB) }
        } catch {
            guard error.code == EWOULDBLOCK else { throw .system(error) }
            throw .held(by: Self.holder(descriptor))
        }
        let text = Array("\(getpid())\n".utf8)
        do throws(SystemError) {
            try systemCall("ftruncate", path) { ftruncate(descriptor.raw, 0) }
            try systemCall("pwrite", path) { pwrite(descriptor.raw, text, text.count, 0) }
        } catch {
            throw .system(error)
        }
    }

    private static func holder(_ descriptor: Descriptor) -> Int32? {
        var buffer = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor.raw, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return Int32(String(decoding: buffer.prefix(count).prefix { $0 != 10 }, as: UTF8.self))
    }
}
