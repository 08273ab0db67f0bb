import Glibc
import Platform
import Supervision
import TestSupport
import Testing

@testable import Supervisor

/// An instance whose leader is a real process; the test process is the keeper.
private func instance(_ leader: Int32, number: UInt64 = 1, scope: String = "/run/test#n") -> InstanceProcesses.Instance
{
    InstanceProcesses.Instance(
        generation: Generation(number), id: InstanceID(service: "api", number: 1), leader: leader, scope: scope)
}

@Suite struct InstanceProcessesTests {
    @Test("leader, group, session, descendants that left both, and marked orphans belong to an instance; others do not")
    func members() throws {
        let leader = try TestChild([
            "/bin/sh", "-c", "sleep 60 & echo $!; setsid sleep 60 & echo $!; sleep 60 & echo $!; wait",
        ])
        let children = try (0..<3).map { _ in try #require(Int32(try leader.line())) }
        let own = instance(leader.pid, scope: "/run/\(getpid())#n")
        // A child of the keeper that is no leader: an orphan that the keeper has become the parent of.
        let orphan = try TestChild(
            ["/bin/sh", "-c", "sleep 60 & echo $!; wait"],
            environment: ["PATH=/usr/bin:/bin", "SUPD_SCOPE=\(own.mark)"])
        let orphansChild = try #require(Int32(try orphan.line()))
        let other = try TestChild(["/bin/sleep", "60"])
        let foreign = try TestChild(
            ["/bin/sleep", "60"],
            environment: ["SUPD_SCOPE=\(instance(0, number: 2, scope: "/run/\(getpid())#n").mark)"])

        var processes = InstanceProcesses(keeper: getpid())
        _ = try eventually("setsid to have executed sleep") {
            processes.members(of: [own])[own.generation]?.filter { $0.name == "sleep" }.count == 4 ? true : nil
        }
        let found = processes.members(of: [own, instance(other.pid, number: 3)])
        let pids = Set(try #require(found[own.generation]).map(\.pid))
        #expect(pids == Set(children + [leader.pid, orphan.pid, orphansChild]))
        #expect(found[Generation(3)]?.map(\.pid) == [other.pid])
        #expect(found.count == 2)
        withExtendedLifetime(foreign) {}
    }

    @Test("what has ended is no member, and an instance without members has no entry")
    func ended() throws {
        let leader = try TestChild(["/bin/true"])
        try leader.waitForEnd()
        var processes = InstanceProcesses(keeper: getpid())
        let members = processes.members(of: [instance(leader.pid)])
        let usage = processes.sample([instance(leader.pid)])
        #expect(members.isEmpty)
        #expect(usage.isEmpty)
    }

    @Test("a table that shows a circle or unknown parents ends all the same")
    func circle() throws {
        func entry(_ pid: Int32, parent: Int32) throws -> ProcessEntry {
            try #require(
                ProcessEntry(
                    statText: Array("\(pid) (x) S \(parent) 9 9 0 -1 0 0 0 0 0 7 5 3 2 20 0 1 0 4242 9999 10 0".utf8)))
        }
        let table = try [
            entry(100, parent: 101), entry(101, parent: 100), entry(102, parent: 102), entry(103, parent: 999),
            entry(104, parent: 100), entry(50, parent: 40), entry(51, parent: 50), entry(52, parent: 51),
        ]
        var processes = InstanceProcesses(keeper: 40)
        let members = processes.members(of: [instance(51)], in: table)
        #expect(members[Generation(1)]?.map(\.pid).sorted() == [51, 52])
        #expect(members.count == 1)
    }

    @Test("CPU time and memory are those of all processes of an instance")
    func sample() throws {
        let leader = try TestChild(["/bin/sh", "-c", "while :; do :; done & sleep 60"])
        let idle = try TestChild(["/bin/sleep", "60"])
        var processes = InstanceProcesses(keeper: getpid())
        let usage = try eventually("CPU time of the busy child") { () -> [Generation: InstanceProcesses.Usage]? in
            let usage = processes.sample([instance(leader.pid), instance(idle.pid, number: 2)])
            // The shell forks the other one in its own time.
            guard let busy = usage[Generation(1)], busy.processes == 3 else { return nil }
            return busy.cpuSeconds > 0.05 ? usage : nil
        }
        let busy = try #require(usage[Generation(1)])
        #expect(busy.residentBytes > 100_000)
        let other = try #require(usage[Generation(2)])
        #expect(other.processes == 1)
        #expect(other.cpuSeconds < busy.cpuSeconds)
    }

    @Test("of what has ended and waits to be waited for CPU time counts, and nothing else")
    func endedSample() throws {
        let leader = try TestChild([
            "/bin/sh", "-c", "(i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done) & echo $!; exec sleep 60",
        ])
        let child = try #require(Int32(try leader.line()))
        _ = try eventually("the end of the child") { ProcessTable.entry(of: child)?.hasEnded == true ? true : nil }
        var processes = InstanceProcesses(keeper: getpid())
        let members = processes.members(of: [instance(leader.pid)])
        #expect(members[Generation(1)]?.map(\.pid) == [leader.pid])
        let sampled = processes.sample([instance(leader.pid)])
        let usage = try #require(sampled[Generation(1)])
        #expect(usage.processes == 1 && usage.cpuSeconds > 0.02)
    }

    @Test("orphans are ended, and the leader's group is left alone")
    func orphans() throws {
        let leader = try TestChild(["/bin/sh", "-c", "sleep 60 & echo $!; wait"])
        let child = try #require(Int32(try leader.line()))
        let own = instance(leader.pid, scope: "/run/\(getpid())#o")
        let orphan = try TestChild(["/bin/sleep", "60"], environment: ["SUPD_SCOPE=\(own.mark)"])
        var processes = InstanceProcesses(keeper: getpid())
        let ended = processes.endOrphans(of: own)
        #expect(ended == 1)
        try orphan.waitForEnd()
        let left = processes.endOrphans(of: own)
        #expect(left == 0)
        #expect(ProcessTable.entry(of: leader.pid)?.hasEnded == false)
        #expect(ProcessTable.entry(of: child)?.hasEnded == false)
    }

    @Test("a limit is set in every process of an instance, half of it if so wished")
    func limit() throws {
        let leader = try TestChild(["/bin/sh", "-c", "sleep 60 & echo $!; wait"])
        let child = try #require(Int32(try leader.line()))
        let nofile = try #require(ResourceLimits.number(of: "nofile"))
        var processes = InstanceProcesses(keeper: getpid())
        let before = try #require(try ResourceLimits.inForce(of: child)["nofile"])
        let result = processes.setLimit(nofile, of: instance(leader.pid)) { LimitPair(soft: 123, hard: $0.hard) }
        #expect(Set(result.changed) == [leader.pid, child])
        #expect(result.failures == [])
        for pid in [leader.pid, child] {
            #expect(try ResourceLimits.inForce(of: pid)["nofile"] == LimitPair(soft: 123, hard: before.hard))
        }
    }

    @Test("a limit that is refused is told for each process")
    func refusedLimit() throws {
        let leader = try TestChild(["/bin/sleep", "60"])
        var processes = InstanceProcesses(keeper: getpid())
        let nofile = try #require(ResourceLimits.number(of: "nofile"))
        let result = processes.setLimit(nofile, of: instance(leader.pid)) { _ in LimitPair(soft: 2, hard: 1) }
        #expect(result.changed == [])
        let failure = try #require(result.failures.first)
        #expect(result.failures.count == 1)
        #expect((failure.pid, failure.name, failure.error.code) == (leader.pid, "sleep", EINVAL))
    }
}

@Suite struct LeftoversTests {
    private func environment(_ directory: TemporaryDirectory, nonce: String) -> [String] {
        let scope = ProcessScope(runtimeDirectory: directory.path, nonce: nonce)
        return ["PATH=/usr/bin:/bin", "SUPD_SCOPE=\(ProcessMark(scope: scope, instance: "api/2", generation: 7))"]
    }

    @Test("what an earlier keeper of the runtime directory left is ended, with descendants that carry no mark")
    func ended() throws {
        let directory = try TemporaryDirectory()
        let elsewhere = try TemporaryDirectory()
        let old = try TestChild(
            ["/bin/sh", "-c", "env -i sleep 60 & echo $!; wait"], environment: environment(directory, nonce: "old"))
        let descendant = try #require(Int32(try old.line()))
        let keeper = try TestChild(["/bin/sleep", "60"])
        let own = try TestChild(["/bin/sleep", "60"], environment: environment(directory, nonce: "new"))
        let foreign = try TestChild(["/bin/sleep", "60"], environment: environment(elsewhere, nonce: "old"))

        let scope = ProcessScope(runtimeDirectory: directory.path, nonce: "new")
        let outcome = Leftovers.end(scope: scope, keeper: keeper.pid)
        #expect(outcome.remaining == [])
        #expect(outcome.ended.count == 2)
        #expect(outcome.ended.contains("pid \(old.pid) (sh) of api/2"))
        #expect(outcome.ended.contains { $0.hasPrefix("pid \(descendant) (") && $0.hasSuffix(" of api/2") })
        #expect(ProcessTable.entry(of: old.pid)?.hasEnded == true)
        #expect(ProcessTable.entry(of: descendant)?.hasEnded ?? true)
        for survivor in [keeper, own, foreign] { #expect(ProcessTable.entry(of: survivor.pid)?.hasEnded == false) }
        #expect(Leftovers.end(scope: scope, keeper: keeper.pid) == Leftovers.Outcome())
    }

    @Test("whoever the keeper descends from, and what descends from the keeper, is never touched")
    func family() throws {
        let directory = try TemporaryDirectory()
        let ancestor = try TestChild(
            ["/bin/sh", "-c", "sh -c 'sleep 60 & echo $!; wait' & echo $!; wait"],
            environment: environment(directory, nonce: "old"))
        // Keeper and its child, in whichever order they come.
        let pids = try (0..<2).map { _ in try #require(Int32(try ancestor.line())) }
        let keeper = try #require(pids.first { ProcessTable.entry(of: $0)?.parent == ancestor.pid })
        let scope = ProcessScope(runtimeDirectory: directory.path, nonce: "new")
        #expect(Leftovers.end(scope: scope, keeper: keeper) == Leftovers.Outcome())
        for pid in pids + [ancestor.pid] { #expect(ProcessTable.entry(of: pid)?.hasEnded == false) }
    }
}
