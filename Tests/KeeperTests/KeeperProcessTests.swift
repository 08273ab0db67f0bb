import Foundation
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Keeper

@Suite("A real keeper", .serialized) struct KeeperProcessTests {
    @Test("starts a child, captures its output, and tells its exit", arguments: [[], ["old"]])
    func startsAndReaps(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (supervisor, inventory) = try keeper.supervisor()
        #expect(
            inventory.map(\.notice) == [
                .welcome(version: linkVersion, runs: 1, crashes: 0, scope: keeper.scope, highestID: 0), .inventoryEnd,
            ])
        let (pid, output) = try supervisor.start(shell(7, "echo out; echo err >&2; exit 3"))
        #expect(pid > 0)
        #expect(try output.map(readLine) == ["out", "err"])
        let end = try supervisor.exit(of: 7)
        #expect(end == (.code(3), true))
        let before = try keeper.openDescriptors()
        try supervisor.send(.release(id: 7))
        try supervisor.send(.queryGroup(id: 7))
        let notice = try supervisor.next().notice
        #expect(notice == .group(id: 7, empty: true))
        // Both pipes and the pidfd are closed.
        #expect(try keeper.openDescriptors().count == before.count - 3)
        #expect(try !ProcessTable.all().contains { $0.pid == pid && $0.parent == keeper.program.pid })
    }

    @Test("reports a start that failed, and leaves nothing of it", arguments: [[], ["old"]])
    func reportsFailure(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (supervisor, _) = try keeper.supervisor()
        let before = try keeper.openDescriptors()
        var plan = shell(1, "true")
        plan.directory = "/nowhere"
        try supervisor.send(.spawn(plan))
        let notice = try supervisor.next().notice
        #expect(notice == .spawnFailed(id: 1, failure: SpawnFailure(stage: .directory, code: ENOENT)))
        #expect(try keeper.openDescriptors() == before)
        #expect(try !ProcessTable.all().contains { $0.parent == keeper.program.pid && $0.hasEnded })
        // The number may be used again: nothing is left.
        _ = try supervisor.start(shell(1, "true"))
    }

    @Test("gives a child what is held for it, and nothing that is not", arguments: [[], ["old"]])
    func passesHeldDescriptors(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (supervisor, _) = try keeper.supervisor()
        let pipe = try makePipe(nonblockingRead: true)
        try supervisor.send(.hold(name: "writing"), [pipe.write])
        var plan = shell(1, "echo here >&5; test $OWN = $$ && echo own; test -e /proc/$$/fd/4 || echo closed")
        plan.passed = [SpawnPlan.Passed(number: 5, held: "writing")]
        plan.processIDVariables = ["OWN"]
        let (_, output) = try supervisor.start(plan)
        #expect(try supervisor.exit(of: 1) == (.code(0), true))
        #expect(PipeIO.readAvailable(pipe.read, limit: 100) == Array("here\n".utf8))
        #expect(PipeIO.readAvailable(output[0], limit: 100) == Array("own\nclosed\n".utf8))
        // Dropped meanwhile.
        plan.id = 2
        try supervisor.send(.drop(name: "writing"))
        try supervisor.send(.spawn(plan))
        let refused = try supervisor.next().notice
        #expect(refused == .spawnFailed(id: 2, failure: SpawnFailure(stage: .descriptors, code: EMFILE)))
        for number in [Int32.min, 2, 1024, Int32.max] {
            plan.id += 1
            plan.passed = [SpawnPlan.Passed(number: number, held: "writing")]
            try supervisor.send(.hold(name: "writing"), [pipe.write])
            try supervisor.send(.spawn(plan))
            let notice = try supervisor.next().notice
            #expect(notice == .spawnFailed(id: plan.id, failure: SpawnFailure(stage: .descriptors, code: EMFILE)))
        }
    }

    @Test("hands children, exits and descriptors on to the next supervisor")
    func survivesSupervisor() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        let (running, _) = try first.start(shell(10, "echo ready; exec sleep 1000", label: "api/1 10"))
        let (ended, _) = try first.start(shell(11, "read line", label: "api/2 11"))
        _ = try first.exit(of: 11)
        let file = try MemoryFile(name: "test")
        try file.replaceContents(Array("snapshot".utf8))
        try first.send(.hold(name: "snapshot"), [file.descriptor])
        try first.send(.queryGroup(id: 99))
        _ = try first.next()
        first.kill()

        let (second, inventory) = try keeper.supervisor()
        #expect(
            inventory.map(\.notice) == [
                .welcome(version: linkVersion, runs: 2, crashes: 1, scope: keeper.scope, highestID: 11),
                .child(id: 10, label: "api/1 10", pid: running, state: .running),
                .child(id: 11, label: "api/2 11", pid: ended, state: .exited),
                .exited(id: 11, exit: .code(1), groupEmpty: true), .held(name: "snapshot"), .inventoryEnd,
            ])
        #expect(inventory.map(\.descriptors.count) == [0, 2, 2, 0, 1, 0])
        let output = try #require(inventory[1].descriptors.first)
        #expect(try readLine(output) == "ready")
        let held = try MemoryFile(received: try #require(inventory[4].descriptors.first))
        #expect(try held.read(limit: 100) == Array("snapshot".utf8))
        try second.send(.signal(id: 10, number: SIGTERM, group: true))
        let end = try second.exit(of: 10)
        #expect(end == (.signal(SIGTERM, coreDumped: false), true))
    }

    @Test("replaces a balancer and gives its link to this and later supervisors")
    func replacesBalancer() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        try first.send(.startBalancer(nil))
        let one = try keeper.role("balancer")
        let started = try first.next()
        #expect(started.notice == .balancerStarted(pid: one.pid, runs: 1))
        try expectConnected(started, one)
        one.kill()
        let exited = try first.next().notice
        #expect(exited == .balancerExited(exit: .signal(SIGKILL, coreDumped: false)))
        let two = try keeper.role("balancer")
        let again = try first.next()
        #expect(again.notice == .balancerStarted(pid: two.pid, runs: 2))
        first.kill()
        let (_, inventory) = try keeper.supervisor()
        let last = try #require(inventory.first { $0.notice == .balancerStarted(pid: two.pid, runs: 2) })
        try expectConnected(last, two)
    }

    private func expectConnected(_ message: FakeRole.Message, _ balancer: FakeRole) throws {
        let link = LinkConnection(try #require(message.descriptors.first))
        #expect(try link.send(BalancerRequest.hello(version: 1)) == .sent)
        let other = try #require(balancer.supervisorLink)
        let received = other.receive(BalancerRequest.self)
        guard case .message(.hello(version: 1), _) = received else { throw TestFailure("received \(received)") }
    }

    @Test("refuses a balancer that asks for more than it may")
    func refusesBalancer() throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        try supervisor.send(.startBalancer(nil))
        let balancer = try keeper.role("balancer")
        try balancer.send(.hello(version: linkVersion))
        let canary = keeper.directory.file("canary")
        try balancer.send(.spawn(shell(1, "touch \(canary)")))
        let exit = try supervisor.next { message -> ChildExit? in
            if case .balancerExited(let exit) = message.notice { exit } else { nil }
        }
        #expect(exit == .signal(SIGKILL, coreDumped: false))
        _ = try keeper.role("balancer")
        #expect(!FileManager.default.fileExists(atPath: canary))
    }

    @Test(
        "replaces a supervisor that sends nonsense, and keeps the children",
        arguments: ["", "{", "{}", "null", "@", "@99999999999999999999", "@5", #"{"spawn":{"_0":{"id":-1}}}"#])
    func replacesNonsense(packet: String) throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        let (pid, _) = try first.start(shell(1, "exec sleep 1000"))
        if packet.isEmpty {
            // Longer than any packet of the protocol.
            _ = try first.socket.send([UInt8](repeating: UInt8(ascii: " "), count: LinkCodec.inlineLimit + 1))
        } else {
            _ = try first.socket.send(Array(packet.utf8))
        }
        try waitUntilGone(first.pid)
        let (_, inventory) = try keeper.supervisor()
        #expect(inventory.contains { $0.notice == .child(id: 1, label: "test", pid: pid, state: .running) })
    }

    @Test("takes its children along when it is killed")
    func takesChildrenAlong() throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        let (pid, _) = try supervisor.start(shell(1, "exec sleep 1000"))
        keeper.program.kill()
        try waitUntilGone(pid)
    }

    @Test(
        "outlives signals that are meant for others", arguments: [SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE])
    func straySignals(number: Int32) throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        _ = try supervisor.start(shell(1, "exec sleep 1000"))
        #expect(kill(keeper.program.pid, number) == 0)
        // One is meant for the supervisor.
        if number == SIGHUP { #expect(try supervisor.next().notice == .reload) }
        try supervisor.send(.queryGroup(id: 1))
        let notice = try supervisor.next().notice
        #expect(notice == .group(id: 1, empty: false))
        // A child has none of them blocked or ignored.
        let (_, output) = try supervisor.start(shell(2, "grep -E '^Sig(Blk|Ign)' /proc/self/status; exec sleep 1000"))
        let lines = try [readLine(output[0]), readLine(output[0])]
        #expect(lines == ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"])
    }

    @Test("adopts orphans, names their scope, signals them and reaps them", arguments: [[], ["old"]])
    func adoptsOrphans(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (supervisor, _) = try keeper.supervisor()
        let mark = "\(keeper.scope)#api/1#1"
        _ = try supervisor.start(shell(1, "setsid sleep 1000 & exit 0", scope: mark))
        // It is told before the exit that has made it an orphan.
        let adopted = try supervisor.next().notice
        guard case .adopted(let orphan, let scope) = adopted else { throw TestFailure("\(adopted)") }
        #expect(scope == mark)
        _ = try supervisor.exit(of: 1)
        supervisor.kill()
        let (next, inventory) = try keeper.supervisor()
        #expect(inventory.contains { $0.notice == .adopted(pid: orphan, scope: mark) })
        try next.send(.signalOrphan(pid: orphan, number: SIGKILL))
        let gone = try next.next().notice
        #expect(gone == .orphanExited(pid: orphan))
        #expect(try !ProcessTable.all().contains { $0.pid == orphan && $0.parent == keeper.program.pid })
    }

    @Test("knows when a group is empty, and signals what is left of it", arguments: [[], ["old"]])
    func knowsGroups(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (supervisor, _) = try keeper.supervisor()
        _ = try supervisor.start(shell(1, "sleep 1000 & exit 0"))
        let end = try supervisor.exit(of: 1)
        #expect(end == (.code(0), false))
        try supervisor.send(.queryGroup(id: 1))
        let notice = try supervisor.next().notice
        #expect(notice == .group(id: 1, empty: false))
        try supervisor.send(.signal(id: 1, number: SIGKILL, group: true))
        _ = try supervisor.next { if case .orphanExited = $0.notice { true } else { nil } }
        try supervisor.send(.queryGroup(id: 1))
        let last = try supervisor.next().notice
        #expect(last == .group(id: 1, empty: true))
    }

    @Test("passes SIGTERM on, and leaves with the supervisor's code and nothing behind", arguments: [[], ["old"]])
    func stopsInOrder(options: [String]) throws {
        let keeper = try RealKeeper(options)
        let (first, _) = try keeper.supervisor()
        try first.send(.startBalancer(nil))
        let balancer = try keeper.role("balancer")
        let (pid, _) = try first.start(shell(1, "trap '' TERM; setsid sleep 1000 & echo $!; wait; wait"))
        keeper.program.send(SIGTERM)
        _ = try first.next { $0.notice == .shutdown(signal: SIGTERM) ? true : nil }
        first.kill()
        // The next one learns it too.
        let (second, _) = try keeper.supervisor()
        let notice = try second.next().notice
        #expect(notice == .shutdown(signal: SIGTERM))
        try second.send(.exit(code: 7))
        try second.end(code: 0)
        #expect(try keeper.program.wait().code == 7)
        for process in [pid, balancer.pid, second.pid] { try waitUntilGone(process) }
        #expect(
            try !ProcessTable.all().contains { ProcessTable.environmentValue("SUPD_SCOPE", of: $0.pid) == keeper.scope }
        )
    }

    @Test("kills everything at a second signal")
    func stopsAtOnce() throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        let (_, output) = try supervisor.start(
            shell(1, "trap '' TERM; setsid sleep 1000 & echo $!; wait; wait", scope: keeper.scope))
        let line = try readLine(try #require(output.first))
        let grandchild = try #require(Int32(line))
        keeper.program.send(SIGINT)
        _ = try supervisor.next { $0.notice == .shutdown(signal: SIGINT) ? true : nil }
        keeper.program.send(SIGINT)
        #expect(try keeper.program.wait().code == 1)
        for process in [grandchild, supervisor.pid] { try waitUntilGone(process) }
    }

    @Test("stops the services itself when no supervisor stays up")
    func stopsAlone() throws {
        let keeper = try RealKeeper()
        let (first, _) = try keeper.supervisor()
        let (pid, _) = try first.start(shell(1, "exec sleep 1000"))
        keeper.program.send(SIGTERM)
        _ = try first.next { $0.notice == .shutdown(signal: SIGTERM) ? true : nil }
        first.kill()
        for _ in 2...KeeperCore.stoppingCrashes { try keeper.role("supervisor").kill() }
        #expect(try keeper.program.wait().code == 1)
        try waitUntilGone(pid)
    }

    @Test("loses no exit when the supervisor does not read")
    func keepsExits() throws {
        let keeper = try RealKeeper()
        let (supervisor, _) = try keeper.supervisor()
        let ids = UInt64(1)...200
        // More than a socket holds, so that the keeper must keep the rest; it reads on meanwhile.
        for id in ids { try supervisor.send(.spawn(shell(id, "exit \(id % 100)"))) }
        _ = try eventually("all children to end") {
            let alive = try ProcessTable.all().contains { $0.parent == keeper.program.pid && $0.pid != supervisor.pid }
            return alive ? nil : true
        }
        var exits: [UInt64: ChildExit] = [:]
        while exits.count < ids.count {
            let message = try supervisor.next()
            if case .exited(let id, let exit, true, _) = message.notice { exits[id] = exit }
        }
        for id in ids { #expect(exits[id] == .code(Int32(id % 100))) }
    }

    @Test("refuses starts when descriptors run out, but can still replace the supervisor")
    func descriptorShortage() throws {
        let keeper = try RealKeeper(["nofile:128"])
        let (first, _) = try keeper.supervisor()
        var id: UInt64 = 0
        var failure: SpawnFailure?
        while failure == nil, id < 100 {
            id += 1
            try first.send(.spawn(shell(id, "exec sleep 1000")))
            failure = try first.next { message -> SpawnFailure?? in
                switch message.notice {
                case .spawned: .some(nil)
                case .spawnFailed(_, let failure): failure
                default: nil
                }
            }
        }
        #expect(failure == SpawnFailure(stage: .prepare, code: EMFILE))
        #expect(id > 5)
        // What a role wants to be held has its place beside the children, again and again.
        for content in 1...3 {
            let file = try MemoryFile(name: "snapshot")
            try file.write([UInt8(content)], at: 0)
            try first.send(.hold(name: "snapshot"), [file.descriptor])
        }
        try first.send(.queryGroup(id: 1))
        _ = try first.next { if case .group = $0.notice { true } else { nil } }
        first.kill()
        let (second, inventory) = try keeper.supervisor()
        #expect(inventory.count == Int(id) + 2)
        let held = inventory.first { if case .held(name: "snapshot") = $0.notice { true } else { false } }
        let snapshot = try MemoryFile(received: try #require(held?.descriptors.first))
        #expect(try snapshot.read(limit: 10) == [3])
        try second.send(.signal(id: 1, number: SIGKILL, group: true))
        _ = try second.exit(of: 1)
        try second.send(.release(id: 1))
        _ = try second.start(shell(1000, "exec sleep 1000"))
    }

    static let faultyCalls = [
        "pipe2", "fcntl", "clone3", "socketpair", "epoll_ctl", "recv", "recvmsg", "sendmsg", "waitid",
    ]

    @Test("goes on whichever system call fails once", arguments: faultyCalls, [EMFILE, ENOMEM])
    func faults(call: String, code: Int32) throws {
        // Without its signals the keeper would be none: it says so and ends.
        for count in (call == "epoll_ctl" ? 2 : 1)...8 {
            let keeper = try RealKeeper(["fault:\(call):\(count):\(code)"])
            var before: [String] = []
            // Whatever has failed, a supervisor can start a child and see it end, at the latest in the third try.
            for attempt in 1...3 {
                do {
                    let (supervisor, _) = try keeper.supervisor()
                    before = try keeper.openDescriptors()
                    _ = try supervisor.start(shell(UInt64(attempt), "exit 5"))
                    let end = try supervisor.exit(of: UInt64(attempt))
                    #expect(end.exit == .code(5) || call == "waitid")
                    try supervisor.send(.release(id: UInt64(attempt)))
                    try supervisor.send(.queryGroup(id: 1000))
                    _ = try supervisor.next { if case .group = $0.notice { true } else { nil } }
                    break
                } catch {
                    if attempt == 3 { throw error }
                    keeper.endRoles()
                }
            }
            #expect(!keeper.program.ended())
            let after = try keeper.openDescriptors()
            #expect(after.count <= before.count, "\(call) \(count): \(before), \(after), \(keeper.program.output)")
        }
    }

    @Test("tells systemd what the supervisor says, and keeps its socket to itself")
    func notifiesSystemd() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("notify")
        let server = try NotifyServer(path)
        let keeper = try RealKeeper(environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000", "SUPD_TEST": "1"])
        let (supervisor, _) = try keeper.supervisor()
        try supervisor.send(.ready)
        try supervisor.send(.ready)
        try supervisor.send(.status("two\nlines"))
        try supervisor.send(.stopping(microseconds: 5_000_000))
        // The watchdog is fed at its own pace, unasked.
        var seen: [String] = []
        while seen.count(where: { $0 == "WATCHDOG=1" }) < 2 || seen.filter({ $0 != "WATCHDOG=1" }).count < 3 {
            seen.append(try server.next())
        }
        #expect(
            seen.filter { $0 != "WATCHDOG=1" } == [
                "READY=1", "STATUS=two lines", "STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000",
            ])
        let environment = String(
            decoding: try readSmallFile("/proc/\(supervisor.pid)/environ", limit: 10_000), as: UTF8.self)
        #expect(environment.contains("SUPD_TEST=1"))
        #expect(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG_USEC"))
    }
}

/// What systemd would hear.
final class NotifyServer {
    private let socket: Descriptor

    init(_ path: String) throws {
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try systemCall("bind") { bind(socket.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        self.socket = socket
    }

    func next() throws -> String {
        try waitUntilReadable(socket, "a notification")
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = try systemCall("recv") { recv(socket.raw, &buffer, buffer.count, 0) }
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
