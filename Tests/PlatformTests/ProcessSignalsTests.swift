import Glibc
import TestSupport
import Testing

@testable import Platform

@Suite("How processes take signals")
struct ProcessSignalsTests {
    @Test("What a process ignores is told, and nothing else")
    func ignored() throws {
        let program = try Program("/bin/sh", ["-c", "trap '' TERM USR1; echo trapped; exec sleep 1000"])
        try program.waitForOutput("trapped")
        let signals = try #require(ProcessSignals(of: program.pid))
        #expect(signals.ignores(SIGTERM) && signals.ignores(SIGUSR1))
        #expect(ProcessSignals.ignores(program.pid, "SIGTERM") && !ProcessSignals.ignores(program.pid, "SIGHUP"))
        #expect(!signals.ignores(SIGINT) && !signals.ignores(SIGKILL))
    }

    @Test("No such process, a text that is none, and numbers that are no signals")
    func nonsense() throws {
        #expect(ProcessSignals(of: -1) == nil)
        #expect(ProcessSignals(statusText: "Name:\tsh\n") == nil)
        #expect(ProcessSignals(statusText: "SigIgn:\tzz\n") == nil)
        let all = try #require(ProcessSignals(statusText: "Name:\tsh\nSigIgn:\tffffffffffffffff\nSigCgt:\t0\n"))
        for number in [Int32.min, -1, 0, 65, .max] { #expect(!all.ignores(number)) }
        for number in Int32(1)...64 { #expect(all.ignores(number)) }
    }
}
