import Links
import Testing

@testable import Keeper

@Suite("The keeper's core: the web role") struct WebCoreTests {
    private let user = RoleCredentials(user: 3, group: 4)

    /// A world with a web role (pid 300) that has said hello.
    private func world() -> World {
        var world = World.greeted()
        world.ask(.startWeb(user))
        world.handle(.roleSpawned(.web, pid: 300))
        world.handle(.received(.web, .hello(version: linkVersion), descriptors: 0))
        return world
    }

    @Test("it is started when the supervisor asks, never before, and again when it ends")
    func life() {
        var world = World.greeted()
        #expect(world.pass(10).allSatisfy { if case .spawnRole(.web, _) = $0 { false } else { true } })
        #expect(world.ask(.startWeb(user)) == [.spawnRole(.web, user)])
        #expect(world.handle(.roleSpawned(.web, pid: 300)) == [told(.webStarted(pid: 300, runs: 1), [.webLink])])
        world.handle(.received(.web, .hello(version: linkVersion), descriptors: 0))
        let actions = world.handle(.roleExited(.web, .signal(9, coreDumped: false)))
        #expect(actions.contains(told(.webExited(exit: .signal(9, coreDumped: false)))))
        #expect(actions.contains(.spawnRole(.web, user)))
        #expect(world.handle(.roleSpawned(.web, pid: 301)) == [told(.webStarted(pid: 301, runs: 2), [.webLink])])
    }

    @Test("it waits longer and longer after quick ends, and the balancer does not")
    func backoff() {
        var world = world()
        world.balancer()
        world.handle(.roleExited(.web, .code(1)))
        world.handle(.roleSpawned(.web, pid: 301))
        #expect(!world.handle(.roleExited(.web, .code(1))).contains(.spawnRole(.web, user)))
        #expect(world.handle(.roleExited(.balancer, .code(1))).contains(.spawnRole(.balancer, nil)))
        #expect(world.pass(0.1).contains(.spawnRole(.web, user)))
    }

    @Test(
        "it may not ask the keeper for anything", arguments: [KeeperRequest.exit(code: 0), .stopWeb, .drop(name: "a")])
    func rights(request: KeeperRequest) {
        var world = world()
        let actions = world.handle(.received(.web, request, descriptors: 0))
        #expect(actions.contains(.killRole(.web)) && actions.contains(.closeLink(.web)))
        #expect(world.core.phase == .running)
    }

    @Test("one that does not answer is killed and started anew")
    func hangs() {
        var world = world()
        world.pass(7)
        world.ask(.pong)
        #expect(world.pass(3.1).contains(.killRole(.web)))
        #expect(world.handle(.roleExited(.web, .signal(9, coreDumped: false))).contains(.spawnRole(.web, user)))
    }

    @Test("it is ended when it is not wanted any more, also while it is just being forked")
    func unwanted() {
        var world = world()
        #expect(world.ask(.stopWeb) == [.killRole(.web)])
        let actions = world.handle(.roleExited(.web, .signal(9, coreDumped: false)))
        #expect(!actions.contains(.spawnRole(.web, user)))
        #expect(world.ask(.startWeb(user)) == [.spawnRole(.web, user)])
        #expect(world.ask(.stopWeb) == [])
        #expect(world.handle(.roleSpawned(.web, pid: 302)) == [.killRole(.web)])
        world.handle(.roleExited(.web, .code(0)))
        #expect(world.core.web.phase == .unwanted)
        world.ask(.startWeb(user))
        world.ask(.stopWeb)
        world.handle(.roleSpawnFailed(.web, SpawnFailure(stage: .fork, code: 11)))
        #expect(world.core.web.phase == .unwanted)
    }

    @Test("wanted again before it has ended, it is started anew")
    func wantedAgain() {
        var world = world()
        world.ask(.stopWeb)
        #expect(world.ask(.startWeb(user)) == [])
        #expect(world.handle(.roleExited(.web, .code(0))).contains(.spawnRole(.web, user)))
    }

    @Test("the next supervisor learns of it")
    func inventory() {
        var world = world()
        world.handle(.roleExited(.supervisor, .code(1)))
        world.handle(.roleSpawned(.supervisor, pid: 101))
        let actions = world.ask(.hello(version: linkVersion))
        #expect(actions.suffix(2) == [told(.webStarted(pid: 300, runs: 1), [.webLink]), told(.inventoryEnd)])
    }

    @Test("it is killed before another image takes over, which starts its own")
    func upgrade() {
        var world = world()
        world.ask(.upgrade(path: "/supd", onlyTries: false))
        world.handle(.trialEnded(TrialReport(path: "/supd", version: "2")))
        #expect(
            world.handle(.roleExited(.supervisor, .code(0))) == [
                .closeLink(.supervisor), .killRole(.web), .replaceImage(goingBackBecause: nil),
            ])
    }

    @Test("it ends with everything else, and the keeper waits for it")
    func ending() {
        var world = world()
        #expect(world.ask(.exit(code: 0)).contains(.killRole(.web)))
        #expect(!world.handle(.roleExited(.supervisor, .code(0))).contains(.exit(0)))
        #expect(world.handle(.roleExited(.web, .signal(9, coreDumped: false))).contains(.exit(0)))
    }
}
