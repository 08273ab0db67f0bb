import Foundation
import Glibc
import Platform
import TestSupport

/// A small file system of a test's own, at a folder that it makes; gone when the test lets go of it.
final class SmallDisk {
    private let path: String

    init(at path: String) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try systemCall("mount", path) { mount("supd-test", path, "tmpfs", 0, "size=256k,mode=755") }
    }

    /// Makes it larger.
    func enlarge() throws {
        let remount: UInt = 32  // MS_REMOUNT
        try systemCall("mount", path) { mount("supd-test", path, "tmpfs", remount, "size=64m,mode=755") }
    }

    deinit { umount2(path, 2) }  // MNT_DETACH

    /// Whether one can be had here: root of a container often may not mount.
    static let isAllowed: Bool = {
        guard geteuid() == 0, let directory = try? TemporaryDirectory() else { return false }
        return (try? SmallDisk(at: directory.file("log"))) != nil
    }()
}
