import Manifest
import Testing

@testable import Supervision

@Suite struct WordingTests {
    @Test(arguments: [
        (0, "0 s"), (-5, "0 s"), (400_000, "0 ms"), (3_000_000, "3 ms"), (12_000_000, "0.01 s"),
        (120_000_000, "0.12 s"),
        (500_000_000, "0.5 s"), (994_000_000, "0.99 s"), (996_000_000, "1 s"), (3_240_000_000, "3.2 s"),
        (9_999_000_000, "10 s"), (45_400_000_000, "45 s"), (119_000_000_000, "119 s"), (300_000_000_000, "5 min"),
        (310_000_000_000, "310 s"), (7_200_000_000_000, "2 h"), (Int64.max, "2562048 h"),
    ])
    func `times have as many digits as matter`(nanoseconds: Int64, text: String) {
        #expect(Wording.time(nanoseconds) == text)
    }

    @Test(
        arguments: [(512 << 20, "512M"), (1 << 30, "1G"), (4096, "4K"), (1000, "1000"), (0, "0")] as [(UInt64, String)])
    func `sizes are those of the manifest`(bytes: UInt64, text: String) {
        #expect(Wording.size(bytes) == text)
    }

    @Test(arguments: [
        (Supervision.ExitStatus.code(1), "exited with code 1"), (.signal(9, coreDumped: false), "killed by SIGKILL"),
        (.signal(11, coreDumped: true), "killed by SIGSEGV (core dumped)"),
        (.signal(34, coreDumped: false), "killed by SIGRTMIN"),
        (.signal(37, coreDumped: false), "killed by SIGRTMIN+3"),
        (.signal(99, coreDumped: false), "killed by signal 99"),
        (.signal(-1, coreDumped: false), "killed by signal -1"),
    ])
    func `an exit has a reason in words`(status: Supervision.ExitStatus, text: String) {
        #expect(Wording.reason(status, limits: []) == text)
    }

    @Test(
        arguments: [
            (24, "killed by SIGXCPU: cpu limit of 5 s reached"), (25, "killed by SIGXFSZ: fsize limit of 10M reached"),
            (9, "killed by SIGKILL, perhaps by the hard end of its cpu limit of 5 s"),
            (11, "killed by SIGSEGV, perhaps by its stack limit of 1M"), (15, "killed by SIGTERM"),
        ] as [(Int32, String)])
    func `a signal of a limit names the limit`(signal: Int32, text: String) {
        let limits = [
            ResourceLimit(resource: .cpu, soft: 5, hard: 6),
            ResourceLimit(resource: .fsize, soft: 10 << 20, hard: 10 << 20),
            ResourceLimit(resource: .stack, soft: 1 << 20, hard: nil),
        ]
        #expect(Wording.reason(.signal(signal, coreDumped: false), limits: limits) == text)
    }

    @Test func `an unlimited limit is no reason`() {
        let limits = [ResourceLimit(resource: .cpu, soft: nil, hard: nil)]
        #expect(Wording.reason(.signal(24, coreDumped: false), limits: limits) == "killed by SIGXCPU")
    }

    @Test func `long lists and texts are cut`() {
        #expect(Wording.list([]) == "")
        #expect(Wording.list(["a"]) == "a")
        #expect(Wording.list(["a", "b"]) == "a and b")
        #expect(Wording.list(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more")
        #expect(Wording.bounded(String(repeating: "x", count: 10_000)).count == 301)
    }
}
