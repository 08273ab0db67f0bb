import Foundation
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Keeper

@Suite("A real keeper becomes another image", .serialized) struct UpgradeProcessTests {
    /// Has the keeper's own program take over, and plays the part of the supervisor that leaves.
    private func upgrade(_ supervisor: FakeRole) throws {
        try supervisor.send(.upgrade(path: nil, onlyTries: false))
        let report = try supervisor.next { if case .trialEnded(let report) = $0.notice { report } else { nil } }
        #expect(report.failure == nil)
        #expect(report.version == "harness")
        try supervisor.wait { $0.notice == .leave }
        try supervisor.end(code: 0)
    }

    /// Children in every state, with what belongs to them, and a file that is held.
    private struct Population {
        let running: (pid: Int32, output: [Descriptor])
        let ended: Int32

        init(_ supervisor: FakeRole) throws {
            running = try supervisor.start(
                shell(10, "echo ready; exec sleep 1000", label: "api/1 10"))
            ended = try supervisor.start(shell(11, "exit 7", label: "api/2 11")).pid
            _ = try supervisor.exit(of: 11)
            let file = try MemoryFile(name: "test")
            try file.replaceContents(Array("snapshot".utf8))
            try supervisor.send(.hold(name: "snapshot"), [file.descriptor])
            try supervisor.isHeard()
        }

        /// What the next supervisor finds of it.
        func check(_ inventory: [FakeRole.Message]) throws {
            let child = try #require(
                inventory.first { if case .child(10, _, _, _) = $0.notice { true } else { false } })
            #expect(child.notice == .child(id: 10, label: "api/1 10", pid: running.pid, state: .running))
            #expect(try inode(child.descriptors) == inode(running.output))
            #expect(
                inventory.map(\.notice).contains(.child(id: 11, label: "api/2 11", pid: ended, state: .exited)))
            #expect(inventory.map(\.notice).contains(.exited(id: 11, exit: .code(7), groupEmpty: true)))
            let held = try #require(inventory.first { $0.notice == .held(name: "snapshot") }?.descriptors.first)
            #expect(try MemoryFile(received: held).read(limit: 100) == Array("snapshot".utf8))
        }

        private func inode(_ descriptors: [Descriptor]) throws -> [UInt64] {
            try descriptors.map { descriptor in
                var status = stat()
                try systemCall("fstat") { fstat(descriptor.raw, &status) }
                return UInt64(status.st_ino)
            }
        }
    }

    @Test("with its children, exits that nobody dealt with, outputs and held files", arguments: [[], ["old"]])
    func keepsTables(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (first, _) = try keeper.supervisor()
        let population = try Population(first)
        let before = try keeper.openDescriptors()
        for round in 1...3 {
            let supervisor = round == 1 ? first : try #require(keeper.given.last)
            try upgrade(supervisor)
            let (next, inventory) = try keeper.supervisor()
            try population.check(inventory)
            #expect(inventory.map(\.notice).contains(.upgraded(count: round, failure: nil)))
            try next.send(.ready)
            try next.send(.queryGroup(id: 10))
            try next.wait { $0.notice == .group(id: 10, empty: false) }
        }
        // Nothing was left behind on the way.
        let after = try keeper.openDescriptors()
        #expect(kinds(after) == kinds(before), "\(before) \(after)")
        // What was there before is still the keeper's: its end is seen, and it can be signalled.
        let last = try #require(keeper.given.last)
        try last.send(.signal(id: 10, number: SIGTERM, group: true))
        #expect(try last.exit(of: 10).exit == .signal(SIGTERM, coreDumped: false))
        for id: UInt64 in [10, 11] { try last.send(.release(id: id)) }
        try last.send(.queryGroup(id: 10))
        try last.wait { $0.notice == .group(id: 10, empty: true) }
        #expect(try keeper.openDescriptors().count < before.count)
        #expect(try !ProcessTable.all().contains { $0.parent == keeper.program.pid && $0.hasEnded })
    }

    /// Descriptors without their numbers, which differ, and without those of the log, which come with its first line.
    private func kinds(_ descriptors: [String]) -> [String] {
        let log = descriptors.first { $0.hasPrefix("2 ") }?.dropFirst(2) ?? ""
        return descriptors.filter { !$0.hasSuffix(" \(log)") }.map { descriptor in
            String(descriptor.drop { $0 != " " }.prefix { $0 != ":" })
        }.sorted()
    }

    @Test("and what its children leave behind afterwards becomes its own, as before")
    func staysSubreaper() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        let scope = "\(keeper.scope)#api/1#10"
        let (pid, output) = try first.start(shell(10, "setsid sleep 1000 & echo $!; exec sleep 1000", scope: scope))
        let deserter = try #require(Int32(readLine(output[0])))
        try upgrade(first)
        let (next, _) = try keeper.supervisor()
        kill(pid, SIGKILL)
        try next.wait { $0.notice == .adopted(pid: deserter, scope: scope) }
        try next.send(.signalOrphan(pid: deserter, number: SIGKILL))
        try next.wait { $0.notice == .orphanExited(pid: deserter) }
    }

    @Test("and its children die with it")
    func deathSignal() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        let (pid, _) = try first.start(shell(10, "exec sleep 1000"))
        try upgrade(first)
        let (next, _) = try keeper.supervisor()
        let (later, _) = try next.start(shell(11, "exec sleep 1000"))
        #expect(kill(pid, 0) == 0)
        keeper.program.kill()
        for one in [pid, later] { try waitUntilGone(one) }
    }

    @Test("a program that refuses in its trial is told in its own words, and nothing happens")
    func refusal() throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        let file = try MemoryFile(name: "manifest")
        try file.replaceContents(Array("refuse: too new for me".utf8))
        try supervisor.send(.hold(name: "manifest"), [file.descriptor])
        try supervisor.isHeard()
        let before = try keeper.openDescriptors()
        try supervisor.send(.upgrade(path: nil, onlyTries: false))
        let report = try supervisor.next { if case .trialEnded(let report) = $0.notice { report } else { nil } }
        #expect(report.failure == "refuse: too new for me")
        try supervisor.isHeard()
        #expect(try kinds(keeper.openDescriptors()) == kinds(before))
    }

    @Test("one that cannot read the tables after all gives way to the one before, which has lost nothing")
    func cannotRead() throws {
        let keeper = try RealKeeper(environment: ["HARNESS_BREAKS": "version"])
        let (first, _) = try keeper.supervisor()
        let population = try Population(first)
        try upgrade(first)
        let (next, inventory) = try keeper.supervisor()
        try population.check(inventory)
        let failure = try #require(
            inventory.compactMap { if case .upgraded(0, let failure) = $0.notice { failure } else { nil } }.first)
        #expect(failure.contains("format 9, which this one cannot read"))
        #expect(keeper.program.output.contains("the one before goes on"))
        // It is a keeper like any other.
        let (pid, _) = try next.start(shell(12, "exec sleep 1000"))
        #expect(pid > 0)
    }

    @Test("one whose supervisors do not get ready gives way, too")
    func supervisorsCrash() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        let population = try Population(first)
        try upgrade(first)
        for _ in 0..<3 { try keeper.supervisor().role.end(code: 1) }
        let (next, inventory) = try keeper.supervisor()
        try population.check(inventory)
        #expect(
            inventory.map(\.notice).contains(
                .upgraded(count: 0, failure: "its supervisor ended 3 times before it was ready")))
        try next.send(.ready)
        // Another attempt is possible.
        try upgrade(next)
        _ = try keeper.supervisor()
    }

    @Test("the balancer goes on in it until the next one serves, and then it is told to retire")
    func balancers() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        try first.send(.startBalancer(nil))
        let old = try keeper.role("balancer")
        try old.send(.hello(version: linkVersion))
        try upgrade(first)
        let (next, _) = try keeper.supervisor()
        let new = try keeper.role("balancer")
        #expect(new.pid != old.pid)
        #expect(kill(old.pid, 0) == 0)
        try next.send(.startBalancer(nil))
        try next.send(.balancerServes(drainTime: 1_000_000_000))
        try old.wait { $0.notice == .retire }
        try old.end(code: 0)
        try next.wait { $0.notice == .formerBalancerEnded(pid: old.pid) }
        #expect(kill(new.pid, 0) == 0)
    }
}

extension FakeRole {
    /// Waits until all that was sent is done.
    fileprivate func isHeard() throws {
        try send(.queryGroup(id: 1))
        try wait { $0.notice == .group(id: 1, empty: true) }
    }

    /// Waits for a notice; others are passed over.
    fileprivate func wait(for isMeant: (Message) -> Bool) throws { _ = try next { isMeant($0) ? true : nil } }
}
