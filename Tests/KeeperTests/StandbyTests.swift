import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Keeper

/// A plan whose process carries a mark.
private func heir(_ id: UInt64) -> SpawnPlan {
    SpawnPlan(
        id: id, label: "heir \(id)", candidates: ["/bin/true"], arguments: ["true"],
        environment: ["\(ProcessScope.variable)=scope \(id)"])
}

@Suite("The keeper's core: standing orders") struct StandbyCoreTests {
    /// A world in which child 1 is to be followed by 2.
    private func world() -> World {
        var world = World.greeted()
        world.ask(.spawn(heir(1)))
        world.handle(.childForked(1, pid: 51))
        world.handle(.childExecuted(1))
        let answer = world.ask(.standby(for: 1, port: 20000, heir(2)))
        #expect(answer == [.wantSpare])
        return world
    }

    private let killed = ChildExit.signal(9, coreDumped: false)

    @Test("starts the heir at once, and says so")
    func follows() {
        var world = world()
        #expect(
            world.handle(.childExited(1, killed, groupEmpty: true)) == [
                .spawn(heir(2)), told(.exited(id: 1, exit: killed, groupEmpty: true, heir: 2)),
            ])
        #expect(world.core.highestID == 2)
        // Once: the heir has none.
        world.handle(.childForked(2, pid: 52))
        world.handle(.childExecuted(2))
        #expect(
            world.handle(.childExited(2, killed, groupEmpty: true))
                == [told(.exited(id: 2, exit: killed, groupEmpty: true))])
    }

    @Test("starts nothing while anything of the child is left, or somebody has the port")
    func leaves() {
        var group = world()
        #expect(
            group.handle(.childExited(1, killed, groupEmpty: false))
                == [told(.exited(id: 1, exit: killed, groupEmpty: false))])
        var port = world()
        #expect(
            port.handle(.childExited(1, killed, groupEmpty: true, portIsFree: false))
                == [told(.exited(id: 1, exit: killed, groupEmpty: true))])
        var orphan = world()
        orphan.handle(.orphanFound(pid: 60, scope: "scope 1"))
        #expect(
            orphan.handle(.childExited(1, killed, groupEmpty: true))
                == [told(.exited(id: 1, exit: killed, groupEmpty: true))])
        // That of another child is in nobody's way.
        var stranger = world()
        stranger.handle(.orphanFound(pid: 60, scope: "scope 3"))
        stranger.handle(.orphanFound(pid: 61, scope: nil))
        #expect(stranger.handle(.childExited(1, killed, groupEmpty: true)).first == .spawn(heir(2)))
    }

    @Test("forgets the order when it is withdrawn, when another supervisor comes, and when everything stops")
    func forgets() {
        let alone = [told(.exited(id: 1, exit: killed, groupEmpty: true))]
        var withdrawn = world()
        withdrawn.ask(.standDown(id: 1))
        #expect(withdrawn.handle(.childExited(1, killed, groupEmpty: true)) == alone)

        var replaced = world()
        replaced.handle(.roleExited(.supervisor, killed))
        replaced.pass(10)
        replaced.handle(.roleSpawned(.supervisor, pid: 101))
        replaced.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        #expect(replaced.handle(.childExited(1, killed, groupEmpty: true)) == alone)

        var stopping = world()
        stopping.handle(.signalled(15))
        #expect(stopping.handle(.childExited(1, killed, groupEmpty: true)) == alone)
    }

    @Test("follows it while there is no supervisor, which then learns of both")
    func alone() {
        var world = world()
        world.handle(.roleExited(.supervisor, killed))
        #expect(world.handle(.childExited(1, killed, groupEmpty: true)) == [.spawn(heir(2))])
        world.handle(.childForked(2, pid: 52))
        world.handle(.childExecuted(2))
        world.pass(10)
        world.handle(.roleSpawned(.supervisor, pid: 101))
        let answer = world.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        #expect(answer.contains(told(.exited(id: 1, exit: killed, groupEmpty: true))))
        #expect(
            answer.contains(
                .send(
                    .supervisor, .child(id: 2, label: "heir 2", pid: 52, state: .running), [.output(child: 2)])))
    }

    @Test("takes no order for a child that is not there or has not begun, nor one whose number is taken")
    func refuses() {
        var world = World.greeted()
        world.ask(.standby(for: 1, port: 1, heir(2)))
        world.ask(.spawn(heir(1)))
        world.ask(.standby(for: 1, port: 1, heir(2)))
        #expect(world.core.children[1]?.standby == nil)
        world.handle(.childForked(1, pid: 51))
        world.handle(.childExecuted(1))
        world.ask(.standby(for: 1, port: 1, heir(1)))
        #expect(world.core.children[1]?.standby == nil)
    }
}

@Suite("A real keeper: standing orders") struct StandbyProcessTests {
    @Test("starts the heir of a killed child, and not when its port is taken", arguments: [false, true])
    func follows(portIsTaken: Bool) throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        _ = try supervisor.start(shell(1, "exec sleep 1000"))
        let (port, reservation) = try freePort()
        let stranger = portIsTaken ? try testListener(port: port).socket : nil
        defer { withExtendedLifetime((stranger, reservation)) {} }
        try supervisor.send(.standby(for: 1, port: port, shell(2, "echo heir; exec sleep 1000")))
        try supervisor.send(.signal(id: 1, number: SIGKILL, group: true))
        let end = try supervisor.next { message in
            if case .exited(1, _, _, _) = message.notice { message.notice } else { nil }
        }
        let killed = ChildExit.signal(SIGKILL, coreDumped: false)
        #expect(end == .exited(id: 1, exit: killed, groupEmpty: true, heir: portIsTaken ? nil : 2))
        if !portIsTaken {
            let output = try supervisor.next { message in
                if case .spawned(2, _) = message.notice { message.descriptors.first } else { nil }
            }
            #expect(try readLine(output) == "heir")
        }
    }
}

@Suite("A real keeper: the process that is forked in advance") struct SpareTests {
    /// Waits for the keeper's spare process, and answers its pid.
    private func spare(of keeper: RealKeeper, other than: Int32 = 0) throws -> Int32 {
        try eventually("a spare process") {
            try ProcessTable.all().first {
                $0.parent == keeper.program.pid && $0.name == "supd: spare" && $0.pid != than
            }?.pid
        }
    }

    /// A keeper with child 1, which 2 is to follow.
    private func keeperWithOrder(
        _ options: [String] = []
    ) throws -> (keeper: RealKeeper, supervisor: FakeRole, reservation: Descriptor) {
        let keeper = try RealKeeper(options)
        let (supervisor, _) = try keeper.supervisor()
        _ = try supervisor.start(shell(1, "exec sleep 1000"))
        let (port, reservation) = try freePort()
        try supervisor.send(.standby(for: 1, port: port, shell(2, "echo heir; exec sleep 1000")))
        return (keeper, supervisor, reservation)
    }

    private func killed(_ supervisor: FakeRole) throws -> (pid: Int32, line: String) {
        try supervisor.send(.signal(id: 1, number: SIGKILL, group: true))
        let (pid, output) = try supervisor.next { message in
            if case .spawned(2, let pid) = message.notice { (pid, message.descriptors) } else { nil }
        }
        return (pid, try readLine(try #require(output.first)))
    }

    @Test("becomes the heir, and another one takes its place", arguments: [[], ["old"]])
    func becomesHeir(options: [String]) throws {
        let (keeper, supervisor, reservation) = try keeperWithOrder(options)
        defer { withExtendedLifetime(reservation) {} }
        let pid = try spare(of: keeper)
        let heir = try killed(supervisor)
        #expect(heir.pid == pid)
        #expect(heir.line == "heir")
        #expect(try spare(of: keeper, other: pid) != pid)
    }

    @Test("when it was killed it is reaped, and a child is forked as ever")
    func killedBefore() throws {
        let (keeper, supervisor, reservation) = try keeperWithOrder()
        defer { withExtendedLifetime(reservation) {} }
        let pid = try spare(of: keeper)
        // An answer comes after all that went before: the fork is done.
        try supervisor.send(.queryGroup(id: 99))
        #expect(try supervisor.next().notice == .group(id: 99, empty: true))
        let before = try keeper.openDescriptors().count
        kill(pid, SIGKILL)
        try eventually("the spare process to be reaped") {
            try ProcessTable.all().contains { $0.pid == pid && $0.parent == keeper.program.pid } ? nil : true
        }
        // Two pipes, its status, its pidfd.
        try eventually("its descriptors to be closed") {
            try keeper.openDescriptors().count == before - 4 ? true : nil
        }
        let heir = try killed(supervisor)
        #expect(heir.pid != pid)
        #expect(heir.line == "heir")
    }

    @Test("dies with the keeper")
    func diesWithKeeper() throws {
        let (keeper, _, reservation) = try keeperWithOrder()
        defer { withExtendedLifetime(reservation) {} }
        let process = try ProcessDescriptor(pid: try spare(of: keeper))
        keeper.program.send(SIGKILL)
        try waitUntilReadable(process.descriptor, "the end of the spare process")
    }

    @Test("a start that fails in it is told like any other", arguments: [[], ["old"]])
    func failure(options: [String]) throws {
        let (keeper, supervisor, reservation) = try keeperWithOrder(options)
        defer { withExtendedLifetime(reservation) {} }
        _ = try spare(of: keeper)
        var plan = shell(3, "true")
        plan.directory = "/nowhere"
        try supervisor.send(.spawn(plan))
        let notice = try supervisor.next().notice
        #expect(notice == .spawnFailed(id: 3, failure: SpawnFailure(stage: .directory, code: ENOENT)))
        #expect(try !ProcessTable.all().contains { $0.parent == keeper.program.pid && $0.hasEnded })
    }
}
