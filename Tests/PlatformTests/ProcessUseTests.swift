import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite("What a process uses of its limits")
struct ProcessUseTests {
    @Test("memory is read from the lines of /proc/PID/status, in bytes")
    func status() {
        let text =
            "Name:\tx VmData: 7 kB\nVmLck:\t       4 kB\nVmData:\t  1234 kB\nVmStk:\t 132 kB\nThreads:\t3\nSigQ:\t5/15407\n"
        let use = ProcessUse(statusText: Array(text.utf8))
        #expect(use.lockedBytes == 4096)
        #expect(use.dataBytes == 1234 * 1024)
        #expect(use.stackBytes == 132 * 1024)
        #expect(use.queuedSignals == 5)
    }

    @Test(
        "what is not such a line tells nothing",
        arguments: [
            "", "VmData:", "VmData:\t kB\n", "VmData: -1 kB", "VmData: 99999999999999999999 kB",
            "VmData: 18446744073709551615 kB", "XVmData: 1 kB",
        ])
    func others(text: String) {
        #expect(ProcessUse(statusText: Array(text.utf8)).dataBytes == nil)
    }

    @Test("the descriptors of a process are counted, those of one that is gone are not known")
    func descriptors() throws {
        let (reader, writer) = try makePipe()
        let child = try TestChild(["/bin/sleep", "60"], descriptors: [reader, writer])
        // By other means; a program that is just starting opens and closes some.
        try eventually("the same number") {
            let listed = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(child.pid)/fd").count
            return listed >= 2 && ProcessUse(of: child.pid).openDescriptors == UInt64(listed) ? true : nil
        }
        #expect(try #require(ProcessUse(of: child.pid).dataBytes) > 0)
        child.signal(SIGKILL)
        try child.waitForEnd()
        #expect(ProcessUse(of: 0x3fff_ffff) == ProcessUse(statusText: []))
    }
}
