import Foundation
import Glibc
import Platform
import TestSupport
import Testing

@Suite("The lock of a directory")
struct RuntimeLockTests {
    private static let holder = RuntimeLock.Holder(
        pid: getpid(), since: "2026-01-31T10:20:30.123Z", manifest: "/srv/a b/supd.json5")

    /// Who holds the lock of a file.
    private func holder(of path: String) throws -> RuntimeLock.Holder? {
        do throws(RuntimeLock.Failure) {
            _ = try RuntimeLock(path: path, holder: Self.holder)
            return nil
        } catch {
            guard case .held(let holder) = error else { throw error }
            return holder
        }
    }

    @Test("It is held as long as its descriptor, says by whom, and is not kept by what is left of the file")
    func held() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("lock")
        do {
            let lock = try RuntimeLock(path: path, holder: Self.holder)
            #expect(try holder(of: path) == Self.holder)
            let flags = fcntl(lock.descriptor.raw, F_GETFD)
            #expect(flags & FD_CLOEXEC != 0)
            withExtendedLifetime(lock) {}
        }
        #expect(FileManager.default.fileExists(atPath: path))
        // For a moment every program that another test has just forked has a copy of it.
        try eventually("the lock to be free") { try holder(of: path) == nil ? true : nil }
        #expect(
            Self.holder.description
                == "pid \(getpid()) with the manifest /srv/a b/supd.json5, since 2026-01-31T10:20:30.123Z")
        #expect(RuntimeLock.Holder().description == "another process")
    }

    @Test(
        "Whatever the file says, nothing is told of who cannot be the holder",
        arguments: [
            ("", nil), ("\n\n\n", nil), ("x\ny\nz\n", nil), ("-1\n\n\n", nil), ("0\n", nil),
            ("99999999999999999999\n", nil), ("2147483647\n2026\n/m\n", nil),
            // As an older version has written it.
            ("\(getpid())\n", RuntimeLock.Holder(pid: getpid())),
            ("\(getpid())", RuntimeLock.Holder(pid: getpid())),
            ("\(getpid())\n2026\n/a\nb\n", RuntimeLock.Holder(pid: getpid(), since: "2026", manifest: "/a\nb")),
            ("\(getpid())\n\n/m", RuntimeLock.Holder(pid: getpid(), manifest: "/m")),
        ] as [(String, RuntimeLock.Holder?)])
    func contents(text: String, expected: RuntimeLock.Holder?) throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("lock")
        let lock = try RuntimeLock(path: path, holder: Self.holder)
        try FileIO.truncate(lock.descriptor, to: 0)
        let bytes = Array(text.utf8)
        #expect(pwrite(lock.descriptor.raw, bytes, bytes.count, 0) == bytes.count)
        #expect(try holder(of: path) == expected ?? RuntimeLock.Holder())
        withExtendedLifetime((lock, directory)) {}
    }

    @Test("What cannot be locked says why")
    func unlockable() throws {
        let directory = try TemporaryDirectory()
        #expect(throws: RuntimeLock.Failure.self) {
            try RuntimeLock(path: directory.file("nowhere/lock"), holder: Self.holder)
        }
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("link"), withDestinationPath: directory.file("target"))
        #expect(throws: RuntimeLock.Failure.self) {
            try RuntimeLock(path: directory.file("link"), holder: Self.holder)
        }
        #expect(!FileManager.default.fileExists(atPath: directory.file("target")))
    }
}
