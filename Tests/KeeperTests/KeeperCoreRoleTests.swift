import Links
import Platform
import Testing

@testable import Keeper

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
