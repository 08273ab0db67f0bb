import Foundation
import Glibc
import Platform
import TestSupport

/// A wall clock of one supd's own, which a test sets by hours while it runs: by a library that is preloaded into it, see
/// Tests/SteppedClock. The services have the machine's.
final class SteppedClock {
    /// What supd is to be started with.
    let environment: [String: String]
    private let file: Descriptor

    /// A clock that goes like the machine's, in files of the directory.
    init(in directory: TemporaryDirectory) throws {
        // The balancer is another user.
        chmod(directory.path, 0o755)
        let library = directory.file("clock.so")
        try FileManager.default.copyItem(atPath: "\(Daemon.binaries)/libSteppedClock.so", toPath: library)
        let path = directory.file("clock.step")
        file = Descriptor(owning: try systemCall("open") { open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644) })
        var environment = ProcessInfo.processInfo.environment
        environment["LD_PRELOAD"] = library
        environment["STEPPED_CLOCK"] = path
        self.environment = environment
        try set(hours: 0)
    }

    /// Sets it so many hours ahead of the machine's.
    func set(hours: Int64) throws {
        let step = hours * 3_600_000_000_000
        let count = withUnsafeBytes(of: step) { pwrite(file.raw, $0.baseAddress, $0.count, 0) }
        guard count == 8 else { throw TestFailure("pwrite: errno \(errno)") }
    }
}
