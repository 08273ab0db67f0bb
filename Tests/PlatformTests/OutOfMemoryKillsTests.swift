import Testing

@testable import Platform

@Suite("Processes that the kernel has ended for want of memory")
struct OutOfMemoryKillsTests {
    @Test(
        "They stand in /proc/vmstat",
        arguments: [
            ("nr_free_pages 1\noom_kill 3\npgfault 9\n", 3), ("oom_kill 0", 0), ("oom_killer 3\n", nil),
            ("oom_kill x\n", nil),
            ("oom_kill 99999999999999999999\n", nil), ("", nil),
        ] as [(String, UInt64?)])
    func vmstat(text: String, expected: UInt64?) { #expect(outOfMemoryKills(inVMStat: text) == expected) }

    @Test("This kernel tells") func here() { #expect(outOfMemoryKills() != nil) }
}
