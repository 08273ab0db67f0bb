import Glibc

/// A lock that keeps two supds apart: flock(2) on a file in a directory that only one may use. The kernel lets go of it with
/// the process, however that ends, so that no file that is left behind keeps anybody out. The file says who holds it: a line with
/// the process id, one with the time since when, and the manifest's path.
package struct RuntimeLock: Sendable {
    /// The open, locked file; the lock lasts as long as this value, and as any process that the descriptor is left to.
    package let descriptor: Descriptor

    /// Who holds a lock, as far as the file says it.
    package struct Holder: Sendable, Hashable, CustomStringConvertible {
        /// Its process id; nil: it is not known, or no process of this machine has it.
        package var pid: Int32?
        /// Since when, RFC 3339 in UTC.
        package var since: String?
        /// The path of its manifest.
        package var manifest: String?

        /// Creates one.
        package init(pid: Int32? = nil, since: String? = nil, manifest: String? = nil) {
            self.pid = pid
            self.since = since
            self.manifest = manifest
        }

        /// `pid 123 with the manifest /etc/supd/supd.json5, since 2026-01-31T10:20:30Z`.
        package var description: String {
            let who = pid.map { "pid \($0)" } ?? "another process"
            return who + (manifest.map { " with the manifest \($0)" } ?? "") + (since.map { ", since \($0)" } ?? "")
        }
    }

    /// Why there is no lock.
    package enum Failure: Error, Sendable {
        /// Another process, or this one by another descriptor, holds it.
        case held(by: Holder)
        /// The file could not be opened or locked.
        case system(SystemError)
    }

    /// More than the longest path, a process id and a time.
    private static let longestText = 8192

    /// Takes the lock and writes down who holds it from now on. Never waits.
    package init(path: String, holder: Holder) throws(Failure) {
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
        // Whoever is locked out reads this: a full disk is no reason not to hold the lock.
        try? FileIO.truncate(descriptor, to: 0)
        let text = Array(Self.text(of: holder).utf8)
        text.withUnsafeBytes { _ = pwrite(descriptor.raw, $0.baseAddress, $0.count, 0) }
    }

    private static func text(of holder: Holder) -> String {
        let lines = [holder.pid.map(String.init) ?? "", holder.since ?? "", holder.manifest ?? ""]
        return String(lines.joined(separator: "\n").prefix(longestText / 4)) + "\n"
    }

    /// What the file says. It may be of the one before, for as long as the holder has not written it: then no such process is
    /// there, and nothing of it is told.
    private static func holder(_ descriptor: Descriptor) -> Holder {
        guard let bytes = try? FileIO.read(descriptor, at: 0, count: longestText) else { return Holder() }
        let lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", maxSplits: 2, omittingEmptySubsequences: false
        ).map(String.init)
        guard let pid = lines.first.flatMap({ Int32($0) }), pid > 0, kill(pid, 0) == 0 || errno == EPERM else {
            return Holder()
        }
        func line(_ index: Int) -> String? {
            guard let line = lines.dropFirst(index).first else { return nil }
            let text = line.hasSuffix("\n") ? String(line.dropLast()) : line
            return text.isEmpty ? nil : text
        }
        return Holder(pid: pid, since: line(1), manifest: line(2))
    }
}
