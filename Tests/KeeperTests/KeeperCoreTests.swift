import Links
import Platform
import Testing

@testable import Keeper

/// A core with a clock of its own.
struct World {
    static let second: Int64 = 1_000_000_000

    var core: KeeperCore
    var now: Int64 = 1000 * second

    init(watchdog: Int64? = nil) { core = KeeperCore(scope: "scope", watchdog: watchdog) }

    /// A world whose supervisor (pid 100) has said hello, and that it is ready.
    static func greeted(watchdog: Int64? = nil, isReady: Bool = true) -> World {
        var world = World(watchdog: watchdog)
        world.handle(.started)
        world.handle(.roleSpawned(.supervisor, pid: 100))
        world.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        if isReady { world.handle(.received(.supervisor, .ready, descriptors: 0)) }
        return world
    }

    @discardableResult
    mutating func handle(_ event: KeeperEvent) -> [KeeperAction] { core.handle(event, at: now) }

    @discardableResult
    mutating func ask(_ request: KeeperRequest, descriptors: Int = 0) -> [KeeperAction] {
        handle(.received(.supervisor, request, descriptors: descriptors))
    }

    /// Lets time pass, to the next deadline if none is given.
    @discardableResult
    mutating func pass(_ seconds: Double? = nil) -> [KeeperAction] {
        now = seconds.map { now + Int64($0 * Double(Self.second)) } ?? max(now, core.nextDeadline)
        return handle(.timePassed)
    }

    /// The seconds until the next deadline.
    var untilDeadline: Double { Double(core.nextDeadline - now) / Double(Self.second) }

    /// A running child.
    mutating func child(_ id: UInt64, pid: Int32) {
        ask(.spawn(SpawnPlan(id: id, label: "label \(id)", candidates: [], arguments: [], environment: [])))
        handle(.childForked(id, pid: pid))
        handle(.childExecuted(id))
    }

    /// A running balancer (pid 200) that has said hello.
    mutating func balancer() {
        ask(.startBalancer(nil))
        handle(.roleSpawned(.balancer, pid: 200))
        handle(.received(.balancer, .hello(version: linkVersion), descriptors: 0))
    }
}

private func told(_ notice: KeeperNotice, _ keys: [DescriptorKey] = []) -> KeeperAction {
    .send(.supervisor, notice, keys)
}

@Suite("The keeper's core: roles") struct KeeperCoreRoleTests {
    @Test("starts the supervisor, and the balancer when it is asked for")
    func starts() {
        var world = World()
        #expect(world.handle(.started) == [.spawnRole(.supervisor, nil)])
        world = .greeted()
        let credentials = RoleCredentials(user: 1, group: 2)
        #expect(world.ask(.startBalancer(credentials)) == [.spawnRole(.balancer, credentials)])
        #expect(
            world.handle(.roleSpawned(.balancer, pid: 7)) == [told(.balancerStarted(pid: 7, runs: 1), [.balancerLink])])
        #expect(world.ask(.startBalancer(credentials)) == [])
        #expect(world.ask(.startBalancer(nil)) == [.killRole(.balancer)])
        let exit = ChildExit.signal(9, coreDumped: false)
        #expect(
            world.handle(.roleExited(.balancer, exit)) == [
                .closeLink(.balancer), told(.balancerExited(exit: exit)), .spawnRole(.balancer, nil),
            ])
    }

    @Test("starts a role again at once after a first crash, then after longer and longer waits")
    func waits() {
        var world = World.greeted()
        var waits: [Double] = []
        for _ in 0..<10 {
            world.handle(.roleExited(.supervisor, .signal(5, coreDumped: true)))
            if case .due(let instant) = world.core.supervisor.phase {
                let wait = Double(instant - world.now) / Double(World.second)
                waits.append(wait)
                #expect(world.pass(wait).contains(.spawnRole(.supervisor, nil)))
            } else {
                waits.append(0)
                #expect(world.core.supervisor.phase == .spawning)
            }
            world.handle(.roleSpawned(.supervisor, pid: 100))
        }
        #expect(waits == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])
        // After a life that is not short it begins anew.
        world.pass(3)
        #expect(world.handle(.roleExited(.supervisor, .code(1))).contains(.spawnRole(.supervisor, nil)))
    }

    @Test("a role that speaks another version is replaced, in words")
    func otherVersion() {
        var world = World.greeted()
        let role = Role.supervisor
        let actions = world.ask(.hello(version: linkVersion + 1))
        #expect(
            actions.contains(
                .warn(
                    "the link to the \(role.rawValue) is of no use: the \(role.rawValue) speaks version \(linkVersion + 1), "
                        + "this keeper \(linkVersion)")))
        #expect(actions.contains(.closeLink(role)))
        #expect(!actions.contains { if case .send(role, .welcome, _) = $0 { true } else { false } })
    }

    @Test("counts the quick crashes of the last half minute")
    func crashes() {
        var world = World.greeted()
        func crashes(_ world: inout World) -> Int? {
            world.handle(.roleSpawned(.supervisor, pid: 100))
            for case .send(_, .welcome(_, _, let crashes, _, _), _) in world.ask(.hello(version: linkVersion)) {
                return crashes
            }
            return nil
        }
        world.handle(.roleExited(.supervisor, .code(1)))
        #expect(crashes(&world) == 1)
        world.handle(.roleExited(.supervisor, .code(1)))
        #expect(crashes(&world) == 2)
        world.pass(20)
        world.ask(.pong)
        // After a life that is not short: its snapshot did not kill it.
        world.handle(.roleExited(.supervisor, .code(0)))
        #expect(crashes(&world) == 2)
        world.pass(11)
        world.handle(.roleExited(.supervisor, .code(1)))
        #expect(crashes(&world) == 0)
    }

    @Test("tries again after a start that failed")
    func failedStart() {
        var world = World()
        world.handle(.started)
        let failure = SpawnFailure(stage: .fork, code: 11)
        #expect(world.handle(.roleSpawnFailed(.supervisor, failure)).contains(.spawnRole(.supervisor, nil)))
        #expect(!world.handle(.roleSpawnFailed(.supervisor, failure)).contains(.spawnRole(.supervisor, nil)))
        #expect(world.pass().contains(.spawnRole(.supervisor, nil)))
    }

    @Test("pings roles every seven seconds, and kills one that does not answer within three")
    func heartbeat() {
        var world = World.greeted()
        world.balancer()
        #expect(world.untilDeadline == 7)
        #expect(world.pass() == [.send(.supervisor, .ping, []), .send(.balancer, .ping, [])])
        world.handle(.received(.balancer, .pong, descriptors: 0))
        let actions = world.pass(3)
        #expect(actions.contains(.killRole(.supervisor)))
        #expect(!actions.contains(.killRole(.balancer)))
        // Once is enough.
        world.handle(.received(.balancer, .pong, descriptors: 0))
        #expect(!world.pass(20).contains(.killRole(.supervisor)))
    }

    @Test("takes any message for a sign of life")
    func signsOfLife() {
        var world = World.greeted()
        world.pass()
        world.ask(.queryGroup(id: 1))
        #expect(world.pass() == [.send(.supervisor, .ping, [])])
    }

    @Test("gives a new role twenty seconds to say hello")
    func hello() {
        var world = World()
        world.handle(.started)
        world.handle(.roleSpawned(.supervisor, pid: 100))
        for _ in 0..<2 { #expect(world.pass(9) == []) }
        #expect(world.untilDeadline == 2)
        #expect(world.pass().contains(.killRole(.supervisor)))
    }

    @Test("gives the first supervisor a minute to begin, in which it need not answer; a later one has no such time")
    func begins() {
        var world = World.greeted(isReady: false)
        world.pass(8)
        // What it says meanwhile is no promise to answer.
        world.ask(.hold(name: "manifest"), descriptors: 1)
        var pings = 0
        for _ in 0..<5 { pings += world.pass(10).count { if case .send(_, .ping, _) = $0 { true } else { false } } }
        #expect(pings == 0)
        #expect(world.core.supervisor.process?.isCondemned == false)
        #expect(world.untilDeadline == 2)
        #expect(world.pass().contains(.killRole(.supervisor)))

        world = .greeted(isReady: false)
        world.pass(50)
        world.ask(.ready)
        #expect(world.pass() == [.send(.supervisor, .ping, [])])
        world.handle(.roleExited(.supervisor, .signal(9, coreDumped: false)))
        world.handle(.roleSpawned(.supervisor, pid: 101))
        world.ask(.hello(version: linkVersion))
        #expect(world.pass() == [.send(.supervisor, .ping, [])])
        #expect(world.pass().contains(.killRole(.supervisor)))
    }

    @Test("kills nobody because it was itself held up", arguments: [true, false])
    func heldUp(isGreeted: Bool) {
        var world = World()
        if isGreeted {
            world = .greeted()
            world.pass()
        } else {
            world.handle(.started)
            world.handle(.roleSpawned(.supervisor, pid: 100))
        }
        #expect(!world.pass(3600).contains(.killRole(.supervisor)))
        // The next deadline counts again.
        for _ in 0..<5 where world.core.supervisor.process?.isCondemned == false { world.pass() }
        #expect(world.core.supervisor.process?.isCondemned == true)
    }

    @Test("an idle keeper has nothing to do but the heartbeat")
    func idle() {
        var world = World.greeted()
        world.balancer()
        for id in UInt64(1)...100 { world.child(id, pid: Int32(id)) }
        var turns = 0
        let end = world.now + 60 * World.second
        while world.core.nextDeadline <= end {
            for action in world.pass() {
                guard case .send(let role, .ping, _) = action else { continue }
                world.handle(.received(role, .pong, descriptors: 0))
            }
            turns += 1
        }
        #expect(turns == 8)
    }

    @Test("replaces the balancer that the supervisor does not understand, and no later one")
    func replacesBalancer() {
        var world = World.greeted()
        #expect(world.ask(.replaceBalancer(pid: 200)) == [])
        world.balancer()
        #expect(world.ask(.replaceBalancer(pid: 199)) == [])
        let actions = world.ask(.replaceBalancer(pid: 200))
        #expect(actions.first == .closeLink(.balancer))
        #expect(actions.last == .killRole(.balancer))
        #expect(!world.ask(.replaceBalancer(pid: 200)).contains(.killRole(.balancer)))
        let exit = ChildExit.signal(9, coreDumped: false)
        let after = world.handle(.roleExited(.balancer, exit))
        #expect(after.contains(told(.balancerExited(exit: exit))))
        #expect(after.last == .spawnRole(.balancer, nil))
    }

    @Test("waits longer and longer before it starts a balancer that the supervisor does not understand time and again")
    func replacesBalancerAgain() {
        var world = World.greeted()
        world.balancer()
        var waits: [Double] = []
        for pid in Int32(201)...206 {
            world.ask(.replaceBalancer(pid: pid - 1))
            world.handle(.roleExited(.balancer, .signal(9, coreDumped: false)))
            if case .due(let instant) = world.core.balancer.phase {
                waits.append(Double(instant - world.now) / Double(World.second))
                world.pass(waits.last)
            } else {
                waits.append(0)
            }
            #expect(world.core.balancer.phase == .spawning)
            world.handle(.roleSpawned(.balancer, pid: pid))
            world.handle(.received(.balancer, .hello(version: linkVersion), descriptors: 0))
        }
        #expect(waits == [0, 0.1, 0.2, 0.4, 0.8, 1.6])
    }

    @Test(
        "lets the balancer say hello and pong, and kills it for anything else",
        arguments: [
            KeeperRequest.spawn(SpawnPlan(id: 1, label: "", candidates: [], arguments: [], environment: [])),
            .signal(id: 1, number: 9, group: true), .signalOrphan(pid: 5, number: 9), .release(id: 1),
            .queryGroup(id: 1), .hold(name: "x"), .drop(name: "x"), .startBalancer(nil), .replaceBalancer(pid: 200),
            .ready,
            .status("x"),
            .stopping(microseconds: 1), .exit(code: 0),
        ])
    func balancerRights(request: KeeperRequest) {
        var world = World.greeted()
        world.child(1, pid: 5)
        world.ask(.hold(name: "x"), descriptors: 1)
        world.handle(.orphanFound(pid: 5, scope: nil))
        world.balancer()
        let actions = world.handle(.received(.balancer, request, descriptors: 1))
        #expect(actions.first == .closeLink(.balancer))
        #expect(actions.last == .killRole(.balancer))
        #expect(actions.count == 3)
        #expect(world.handle(.received(.balancer, request, descriptors: 1)) == [])
    }

    @Test("kills a role whose link is broken, and a supervisor that asks before it says hello")
    func brokenLinks() {
        var world = World.greeted()
        let actions = world.handle(.linkBroken(.supervisor, reason: "nonsense"))
        #expect(actions.first == .closeLink(.supervisor))
        #expect(actions.last == .killRole(.supervisor))
        world = World()
        world.handle(.started)
        world.handle(.roleSpawned(.supervisor, pid: 100))
        #expect(world.ask(.ready).contains(.killRole(.supervisor)))
    }
}

@Suite("The keeper's core: children") struct KeeperCoreChildTests {
    @Test("tells each step of a child's life once, and forgets it when it is released")
    func life() {
        var world = World.greeted()
        let plan = SpawnPlan(id: 3, label: "l", candidates: ["/x"], arguments: ["x"], environment: [])
        #expect(world.ask(.spawn(plan)) == [.spawn(plan)])
        #expect(world.handle(.childForked(3, pid: 9)) == [])
        #expect(world.handle(.childExecuted(3)) == [told(.spawned(id: 3, pid: 9), [.output(child: 3)])])
        #expect(world.handle(.childExecuted(3)) == [])
        // Not while it runs.
        #expect(world.ask(.release(id: 3)) == [])
        #expect(
            world.handle(.childExited(3, .code(1), groupEmpty: false)) == [
                told(.exited(id: 3, exit: .code(1), groupEmpty: false))
            ])
        #expect(world.ask(.release(id: 3)) == [.forget(3)])
        #expect(world.core.children.isEmpty)
        #expect(world.ask(.release(id: 3)) == [])
    }

    @Test("forgets a child that could not be started")
    func failure() {
        var world = World.greeted()
        world.ask(.spawn(SpawnPlan(id: 3, label: "", candidates: [], arguments: [], environment: [])))
        let failure = SpawnFailure(stage: .directory, code: 2)
        #expect(
            world.handle(.childFailed(3, failure)) == [.forget(3), told(.spawnFailed(id: 3, failure: failure))])
        #expect(world.core.children.isEmpty)
    }

    @Test("gives a child another label, for the next supervisor")
    func relabels() {
        var world = World.greeted()
        world.child(1, pid: 9)
        #expect(world.ask(.relabel(id: 1, label: "ready")) == [])
        #expect(world.ask(.relabel(id: 1, label: String(repeating: "x", count: 4097))) == [])
        #expect(world.ask(.relabel(id: 9, label: "nobody")) == [])
        #expect(world.core.children[1]?.label == "ready")
        #expect(world.core.children.count == 1)
    }

    @Test("refuses an id that is in use, a label that is too long, and too many children")
    func refusals() {
        var world = World.greeted()
        func refusal(_ id: UInt64, label: String = "") -> Int32? {
            let plan = SpawnPlan(id: id, label: label, candidates: [], arguments: [], environment: [])
            guard case .send(_, .spawnFailed(id, let failure), _)? = world.ask(.spawn(plan)).first else { return nil }
            return failure.code
        }
        #expect(refusal(1) == nil)
        #expect(refusal(1) == ErrorCode.exists)
        #expect(refusal(2, label: String(repeating: "x", count: 4097)) == ErrorCode.nameTooLong)
        #expect(world.core.children.count == 1)
        for id in 2...UInt64(KeeperCore.tableLimit) { #expect(refusal(id) == nil) }
        #expect(refusal(.max) == ErrorCode.tryAgain)
    }

    @Test("passes on signals and questions about children that it has")
    func signals() {
        var world = World.greeted()
        world.child(1, pid: 5)
        #expect(
            world.ask(.signal(id: 1, number: 15, group: true)) == [.signal(1, number: 15, group: true)])
        #expect(world.ask(.signal(id: 2, number: 15, group: true)) == [])
        #expect(world.ask(.queryGroup(id: 1)) == [.findOrphans, .checkGroup(1)])
        #expect(world.handle(.groupChecked(1, empty: false)) == [told(.group(id: 1, empty: false))])
        #expect(world.ask(.queryGroup(id: 2)) == [.findOrphans, told(.group(id: 2, empty: true))])
        #expect(world.ask(.signalOrphan(pid: 5, number: 9)) == [])
        #expect(world.handle(.orphanFound(pid: 5, scope: "s")) == [told(.adopted(pid: 5, scope: "s"))])
        #expect(world.ask(.signalOrphan(pid: 5, number: 9)) == [.signalOrphan(pid: 5, number: 9)])
        #expect(world.handle(.orphanExited(pid: 5)) == [told(.orphanExited(pid: 5))])
        #expect(world.handle(.orphanExited(pid: 5)) == [])
    }

    @Test("holds a descriptor under a name, and needs exactly one", arguments: [0, 1, 2])
    func holds(count: Int) {
        var world = World.greeted()
        let actions = world.ask(.hold(name: "a"), descriptors: count)
        if count == 1 {
            #expect(actions == [.hold(name: "a")])
            #expect(world.ask(.drop(name: "a")) == [.drop(name: "a")])
            #expect(world.ask(.drop(name: "a")) == [])
        } else {
            #expect(actions.contains(.killRole(.supervisor)))
            #expect(world.core.held.isEmpty)
        }
    }

    @Test("gives all that there is to the next supervisor, and says nothing to it before its hello")
    func inventory() {
        var world = World.greeted()
        world.child(2, pid: 12)
        world.child(1, pid: 11)
        world.ask(.spawn(SpawnPlan(id: 3, label: "third", candidates: [], arguments: [], environment: [])))
        world.ask(.hold(name: "b"), descriptors: 1)
        world.ask(.hold(name: "a"), descriptors: 1)
        world.balancer()
        world.handle(.roleExited(.supervisor, .code(1)))
        world.handle(.roleSpawned(.supervisor, pid: 101))
        #expect(world.handle(.childExited(1, .code(0), groupEmpty: true)) == [])
        #expect(world.handle(.orphanFound(pid: 50, scope: nil)) == [])
        #expect(world.handle(.childForked(3, pid: 13)) == [])
        #expect(
            world.ask(.hello(version: linkVersion)) == [
                told(.welcome(version: linkVersion, runs: 2, crashes: 1, scope: "scope", highestID: 3)),
                told(.adopted(pid: 50, scope: nil)),
                told(.child(id: 1, label: "label 1", pid: 11, state: .exited), [.output(child: 1)]),
                told(.exited(id: 1, exit: .code(0), groupEmpty: true)),
                told(.child(id: 2, label: "label 2", pid: 12, state: .running), [.output(child: 2)]),
                told(.child(id: 3, label: "third", pid: 13, state: .spawning), [.output(child: 3)]),
                told(.held(name: "a"), [.held(name: "a")]), told(.held(name: "b"), [.held(name: "b")]),
                told(.balancerStarted(pid: 200, runs: 1), [.balancerLink]),
                told(.inventoryEnd),
            ])
    }
}

@Suite("The keeper's core: the end") struct KeeperCoreEndTests {
    @Test("a SIGHUP that comes while no supervisor is there is told to the next one, once")
    func owedReload() {
        var world = World.greeted()
        world.handle(.roleExited(.supervisor, .code(1)))
        #expect(!world.handle(.signalled(1)).contains(told(.reload)))
        world.handle(.roleSpawned(.supervisor, pid: 77))
        world.ask(.hello(version: linkVersion))
        #expect(world.ask(.ready).contains(told(.reload)))
        #expect(!world.ask(.ready).contains(told(.reload)))
    }

    @Test("asks the supervisor to stop, and ends when it says so", arguments: [15, 2] as [Int32])
    func inOrder(signal: Int32) {
        var world = World.greeted()
        world.balancer()
        #expect(world.handle(.signalled(1)) == [told(.reload)])
        world.core.reloadsOnHangup = false
        let text = "SIGHUP ignored: supd was started on a terminal; \"supctl apply\" reads the manifest anew"
        #expect(world.handle(.signalled(1)) == [.note(text)])
        #expect(world.handle(.signalled(10)) == [.note("SIGUSR1 ignored")])
        #expect(world.handle(.signalled(signal)) == [told(.shutdown(signal: signal))])
        #expect(
            world.ask(.exit(code: 3)) == [
                .notify("STOPPING=1"), .killRole(.balancer), .closeLink(.supervisor), .findOrphans,
            ])
        #expect(!world.handle(.roleExited(.balancer, .signal(9, coreDumped: false))).contains(.exit(3)))
        #expect(world.handle(.roleExited(.supervisor, .code(0))).contains(.exit(3)))
    }

    @Test("gives the supervisor a second to leave by itself")
    func farewell() {
        var world = World.greeted()
        world.ask(.exit(code: 0))
        #expect(world.untilDeadline == 1)
        #expect(world.pass().contains(.killRole(.supervisor)))
    }

    @Test("kills what is left, also what shows up later, and waits for it, but not for ever")
    func leftovers() {
        var world = World.greeted()
        world.child(1, pid: 11)
        world.handle(.orphanFound(pid: 50, scope: nil))
        let actions = world.ask(.exit(code: 0))
        #expect(actions.contains(.signal(1, number: 9, group: true)))
        #expect(actions.contains(.signalOrphan(pid: 50, number: 9)))
        world.handle(.roleExited(.supervisor, .code(0)))
        #expect(world.handle(.orphanFound(pid: 51, scope: nil)) == [.signalOrphan(pid: 51, number: 9)])
        var other = world
        for event in [
            KeeperEvent.orphanExited(pid: 50), .childExited(1, .signal(9, coreDumped: false), groupEmpty: true),
        ] { #expect(!world.handle(event).contains(.exit(0))) }
        #expect(world.handle(.orphanExited(pid: 51)).contains(.exit(0)))
        #expect(!other.pass(4.9).contains(.exit(0)))
        #expect(other.pass(0.2).contains(.exit(0)))
    }

    @Test("kills everything at the second signal, and waits no longer at the third")
    func atOnce() {
        var world = World.greeted()
        world.child(1, pid: 11)
        world.handle(.signalled(15))
        let actions = world.handle(.signalled(15))
        #expect(actions.contains(.killRole(.supervisor)))
        #expect(actions.contains(.signal(1, number: 9, group: true)))
        #expect(!actions.contains(.exit(1)))
        #expect(world.handle(.signalled(2)).contains(.exit(1)))
    }

    @Test("tells a new supervisor that it is to stop")
    func replacedWhileStopping() {
        var world = World.greeted()
        world.handle(.signalled(15))
        #expect(world.handle(.roleExited(.supervisor, .code(1))).contains(.spawnRole(.supervisor, nil)))
        world.handle(.roleSpawned(.supervisor, pid: 101))
        #expect(
            world.ask(.hello(version: linkVersion)).suffix(2) == [told(.inventoryEnd), told(.shutdown(signal: 15))])
    }

    @Test("stops the services itself when the supervisor ends three times while stopping")
    func abandoned() {
        var world = World.greeted()
        world.child(1, pid: 11)
        world.child(2, pid: 12)
        world.handle(.signalled(15))
        var actions: [KeeperAction] = []
        for _ in 0..<KeeperCore.stoppingCrashes {
            world.pass()
            world.handle(.roleSpawned(.supervisor, pid: 100))
            actions = world.handle(.roleExited(.supervisor, .code(1)))
        }
        #expect(actions.contains(.signal(1, number: 15, group: true)))
        #expect(actions.contains(.signal(2, number: 15, group: true)))
        #expect(!actions.contains(.spawnRole(.supervisor, nil)))
        world.handle(.childExited(1, .signal(15, coreDumped: false), groupEmpty: true))
        world.pass(KeeperCoreEndTests.seconds(KeeperCore.abandonedTime) - 0.1)
        let last = world.pass(0.2)
        #expect(last.contains(.signal(2, number: 9, group: true)))
        #expect(world.handle(.childExited(2, .signal(9, coreDumped: false), groupEmpty: true)).contains(.exit(1)))
    }

    static func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }

    @Test("starts nothing any more")
    func startsNothing() {
        var world = World.greeted()
        world.ask(.exit(code: 0))
        let plan = SpawnPlan(id: 1, label: "", candidates: [], arguments: [], environment: [])
        #expect(world.ask(.spawn(plan)) == [])
        #expect(world.ask(.startBalancer(nil)) == [])
        #expect(world.core.children.isEmpty)
    }

    @Test("feeds the watchdog in half its time", arguments: [(1.0, 0.5), (30.0, 7.0), (0.001, 0.1)])
    func watchdog(limit: Double, tick: Double) {
        var world = World.greeted(watchdog: Int64(limit * 1e9))
        #expect(world.untilDeadline == tick)
        #expect(world.pass().contains(.notify("WATCHDOG=1")))
        // The ping that goes with it wants an answer within three seconds.
        #expect(world.untilDeadline == min(tick, 3))
        world = .greeted()
        #expect(!world.pass().contains(.notify("WATCHDOG=1")))
    }

    @Test("tells systemd one line of status, and that it is ready once")
    func systemd() {
        var world = World.greeted(isReady: false)
        #expect(world.ask(.ready) == [.notify("READY=1")])
        #expect(world.ask(.ready) == [])
        #expect(world.ask(.status("a\nREADY=0\r\nb")) == [.notify("STATUS=a READY=0 b")])
        #expect(world.ask(.stopping(microseconds: 5)) == [.notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=5")])
    }
}
