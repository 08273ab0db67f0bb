import TestSupport
import Testing

@testable import Supervision

/// What is read from a datagram of a service.
@Suite struct ServiceNoticeTests {
    @Test func `every assignment that is known is read, and all others are passed over`() {
        let all = notice(
            """
            READY=1
            STATUS=Serving 3 clients
            WATCHDOG=1
            WATCHDOG_USEC=2000000
            EXTEND_TIMEOUT_USEC=500000
            MAINPID=17
            FDSTORE=1
            FDNAME=x
            BARRIER=1
            ERRNO=2
            MONOTONIC_USEC=5
            X_OWN=y
            """)
        var expected = ServiceNotice()
        expected.isReady = true
        expected.status = "Serving 3 clients"
        expected.watchdog = .alive
        expected.watchdogInterval = 2_000_000_000
        expected.timeoutExtension = 500_000_000
        expected.namesMainProcess = true
        #expect(all == expected)
        #expect(notice("FDSTORE=1\nBARRIER=1\n\nNOTIFYACCESS=all") == ServiceNotice())
    }

    @Test(arguments: [
        ("RELOADING=1", ServiceNotice.Phase?.some(.reloading)), ("STOPPING=1", .stopping),
        ("RELOADING=1\nREADY=1", nil),
        ("READY=1\nSTOPPING=1", .stopping), ("RELOADING=0", nil), ("STOPPING=yes", nil),
    ])
    func `the last word about what it is doing counts`(text: String, phase: ServiceNotice.Phase?) {
        #expect(notice(text).phase == phase)
    }

    @Test(arguments: [
        "", "\n\n\n", "=", "=1", "READY", "READY=", "READY=0", "READY=11", "ready=1", " READY=1", "READY =1",
        "WATCHDOG=2", "WATCHDOG_USEC=", "WATCHDOG_USEC=-5", "WATCHDOG_USEC=1.5", "WATCHDOG_USEC=0x10",
        "EXTEND_TIMEOUT_USEC=+1", "EXTEND_TIMEOUT_USEC=ten",
    ])
    func `what is no assignment of the protocol says nothing`(text: String) {
        #expect(notice(text) == ServiceNotice())
    }

    @Test func `numbers beyond all bounds are cut, and a watchdog has no shorter interval than supd can keep`() {
        #expect(notice("WATCHDOG_USEC=99999999999999999999999999").watchdogInterval == .max)
        #expect(notice("EXTEND_TIMEOUT_USEC=9223372036854775807").timeoutExtension == .max)
        #expect(notice("WATCHDOG_USEC=1").watchdogInterval == 100_000_000)
        #expect(notice("WATCHDOG_USEC=0").watchdogInterval == 0)
        #expect(notice("WATCHDOG=trigger\nWATCHDOG=1").watchdog == .trigger)
    }

    @Test func `a status is printable and not long`() throws {
        #expect(notice("STATUS=a\u{1b}[2Jb\u{202e}c\td\u{0}e").status == "a?[2Jb?c?d?e")
        #expect(notice("STATUS=größer ✓").status == "größer ✓")
        #expect(notice("STATUS=").status == "")
        let long = try #require(notice("STATUS=" + String(repeating: "e\u{301}", count: 1500)).status)
        #expect(long.unicodeScalars.count == ServiceNotice.statusLimit + 1 && long.hasSuffix("…"))
        let broken = ServiceNotice(datagram: Array("STATUS=".utf8) + [0xff, 0xc3, 0x28])
        #expect(broken.status == "\u{fffd}\u{fffd}(")
    }

    @Test func `any bytes at all are read without harm, and in bounds`() {
        var random = SeededRandom(seed: 20_261_128)
        let words = [
            "READY=1", "STATUS=", "WATCHDOG=1", "WATCHDOG=trigger", "WATCHDOG_USEC=", "EXTEND_TIMEOUT_USEC=",
            "MAINPID=1",
            "RELOADING=1", "STOPPING=1", "\n", "=", "99999999999999999999", "\u{1b}", "FDSTORE=1",
        ].map { Array($0.utf8) }
        for _ in 0..<20_000 {
            var bytes: [UInt8] = []
            for _ in 0..<random.pick(0...12) {
                if random.oneIn(2) {
                    bytes += random.pick(words)
                } else {
                    for _ in 0..<random.pick(0...40) { bytes.append(UInt8(random.pick(0...255))) }
                }
                if random.oneIn(3) { bytes.append(UInt8(ascii: "\n")) }
            }
            let notice = ServiceNotice(datagram: bytes)
            #expect((notice.status?.unicodeScalars.count ?? 0) <= ServiceNotice.statusLimit + 1)
            #expect(notice.status?.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f } ?? true)
            #expect(notice.watchdogInterval.map { $0 == 0 || $0 >= ServiceNotice.shortestWatchdog } ?? true)
            #expect(notice.timeoutExtension.map { $0 >= 0 } ?? true)
        }
    }
}
