import Foundation
import Links
import Testing

@testable import Keeper

/// What a trial said that went well.
private let good = TrialReport(path: "/supd", version: "2")

extension World {
    /// A world in which another image has just taken over, with a balancer (pid 200) of the one before.
    fileprivate static func resumed(formerBalancers: [KeeperState.Balancer]? = nil) -> World {
        let state = KeeperState.example(
            balancers: formerBalancers ?? [KeeperState.Balancer(pid: 200, process: 20, link: 21, until: nil)])
        var world = World()
        world.core = KeeperCore(resuming: state, failure: nil, watchdog: nil)
        world.handle(.resumed)
        return world
    }

    fileprivate mutating func supervisorArrives(pid: Int32 = 101, isReady: Bool = true) {
        handle(.roleSpawned(.supervisor, pid: pid))
        handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        if isReady { ask(.ready) }
    }
}

extension KeeperState {
    fileprivate static func example(balancers: [Balancer] = []) -> KeeperState {
        let plan = SpawnPlan(
            id: 9, label: "l", candidates: ["/bin/x"], arguments: ["x"], environment: ["A=b"],
            limits: [SpawnPlan.Limit(resource: 7, soft: 1, hard: .max)])
        func child(_ id: UInt64, _ state: ChildState, exit: ChildExit? = nil) -> Child {
            Child(
                id: id, label: "api/\(id)", pid: Int32(id) + 1000, state: state, exit: exit,
                groupEmpty: exit == nil ? nil : false, mark: "m#\(id)", process: Int32(id) + 30, output: [],
                isWatched: exit == nil, isReaped: exit != nil)
        }
        var waiting = child(2, .running)
        waiting.standbyPort = 20_000
        waiting.standby = StandingOrder(plan)
        return KeeperState(
            processID: 42, nonce: "n", program: KeeperProgram(supervisorConfiguration: "{}", path: "/supd", locks: [3]),
            scope: "s", upgrades: 1, formerImage: 4,
            children: [child(1, .running), waiting, child(3, .exited, exit: .signal(9, coreDumped: true))],
            orphans: [Orphan(pid: 77, scope: nil, process: 40)], held: ["manifest": 5, "snapshot": 6],
            balancers: balancers, balancerCredentials: RoleCredentials(user: 1, group: 2), wantsBalancer: true,
            supervisorRuns: 3, balancerRuns: 1, highestID: 8, wasReady: true, strangers: [99],
            formerFileLimit: SpawnPlan.Limit(resource: 7, soft: 1024, hard: 4096))
    }
}

@Suite("The keeper's decisions about another image") struct UpgradeCoreTests {
    @Test("it is tried first, the supervisor leaves, and then it takes over")
    func order() {
        var world = World.greeted()
        #expect(world.ask(.upgrade(path: "/supd", onlyTries: false)) == [.tryImage(path: "/supd")])
        let actions = world.handle(.trialEnded(good))
        #expect(actions.contains(told(.trialEnded(good))))
        #expect(actions.last == told(.leave))
        // Its snapshot is still taken.
        #expect(world.ask(.hold(name: "snapshot"), descriptors: 1) == [.hold(name: "snapshot")])
        #expect(
            world.handle(.roleExited(.supervisor, .code(0))) == [
                .closeLink(.supervisor), .replaceImage(goingBackBecause: nil),
            ])
        // Nobody is started by this image any more.
        #expect(world.pass(100).allSatisfy { if case .spawnRole = $0 { false } else { true } })
    }

    @Test("one that fails its trial, or is only tried, changes nothing", arguments: [true, false])
    func refused(onlyTries: Bool) {
        var world = World.greeted()
        world.ask(.upgrade(path: nil, onlyTries: onlyTries))
        let report = onlyTries ? good : TrialReport(path: "/supd", failure: "no")
        let actions = world.handle(.trialEnded(report))
        #expect(actions.contains(told(.trialEnded(report))))
        #expect(actions.contains(told(.upgraded(count: 0, failure: "/supd: no"))) == !onlyTries)
        #expect(!actions.contains(told(.leave)))
        #expect(world.core.upgrade == nil)
        #expect(world.ask(.upgrade(path: nil, onlyTries: true)).contains(.tryImage(path: nil)))
    }

    @Test("a second one is refused while one is under way")
    func twice() {
        var world = World.greeted()
        world.ask(.upgrade(path: nil, onlyTries: true))
        let refusal = TrialReport(path: "/other", failure: "another upgrade is under way")
        #expect(world.ask(.upgrade(path: "/other", onlyTries: false)) == [told(.trialEnded(refusal))])
    }

    @Test("a trial has ten seconds, and what it says later counts for nothing")
    func trialIsOverdue() {
        var world = World.greeted()
        world.ask(.upgrade(path: nil, onlyTries: false))
        var actions: [KeeperAction] = []
        for _ in 0..<20 where !actions.contains(.endTrial) {
            actions = world.pass()
            world.ask(.pong)
        }
        #expect(actions.contains(.endTrial))
        #expect(world.now - 1000 * World.second == KeeperCore.trialTime)
        #expect(world.handle(.trialEnded(good)).isEmpty)
    }

    @Test("a supervisor that does not leave is killed, and one that is just being started ends")
    func stubbornSupervisor() {
        var world = World.greeted()
        world.ask(.upgrade(path: nil, onlyTries: false))
        world.handle(.trialEnded(good))
        #expect(world.pass(Double(1000 + 5)).contains(.killRole(.supervisor)))
        #expect(
            world.handle(.roleExited(.supervisor, .signal(9, coreDumped: false))).last
                == .replaceImage(goingBackBecause: nil))

        var starting = World.greeted()
        starting.ask(.upgrade(path: nil, onlyTries: false))
        let next = starting.handle(.roleExited(.supervisor, .signal(11, coreDumped: false)))
        #expect(next.last == .spawnRole(.supervisor, nil))
        #expect(!starting.handle(.trialEnded(good)).contains(.replaceImage(goingBackBecause: nil)))
        #expect(starting.handle(.roleSpawned(.supervisor, pid: 101)) == [.killRole(.supervisor)])
        #expect(
            starting.handle(.roleExited(.supervisor, .signal(9, coreDumped: false))).last
                == .replaceImage(goingBackBecause: nil))
    }

    @Test("one that cannot be executed leaves all as it was, with another supervisor")
    func imageStays() {
        var world = World.greeted()
        world.ask(.upgrade(path: nil, onlyTries: false))
        world.handle(.trialEnded(good))
        world.handle(.roleExited(.supervisor, .code(0)))
        #expect(world.handle(.imageStays("why")).last == .spawnRole(.supervisor, nil))
        world.handle(.roleSpawned(.supervisor, pid: 101))
        let inventory = world.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        #expect(inventory.contains(told(.upgraded(count: 0, failure: "why"))))
    }

    @Test("SIGTERM comes first, whatever is under way", arguments: [false, true])
    func stopped(isLeaving: Bool) {
        var world = World.greeted()
        world.ask(.upgrade(path: nil, onlyTries: false))
        if isLeaving { world.handle(.trialEnded(good)) }
        let actions = world.handle(.signalled(15))
        #expect(actions.contains(.endTrial) == !isLeaving)
        #expect(actions.contains(told(.shutdown(signal: 15))))
        #expect(world.core.upgrade == nil)
        // One that has left already is followed by one that stops everything.
        #expect(world.handle(.roleExited(.supervisor, .code(0))).last == .spawnRole(.supervisor, nil))
        let refusal = world.ask(.upgrade(path: nil, onlyTries: true))
        #expect(!refusal.contains(.tryImage(path: nil)))
    }

    @Test("the next image knows all that the one before did, and starts roles of its own")
    func tables() throws {
        let state = KeeperState.example()
        #expect(try KeeperState(state.encoded()) == state)
        var world = World()
        world.core = KeeperCore(resuming: state, failure: nil, watchdog: nil)
        let actions = world.handle(.resumed)
        #expect(actions.suffix(2) == [.spawnRole(.supervisor, nil), .spawnRole(.balancer, state.balancerCredentials)])
        world.handle(.roleSpawned(.supervisor, pid: 101))
        // The order of before is followed until another supervisor comes.
        #expect(world.core.children[2]?.standby?.plan.id == 9)
        let inventory = world.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
        let notices = inventory.compactMap { if case .send(_, let notice, _) = $0 { notice } else { nil } }
        #expect(
            notices == [
                .welcome(version: linkVersion, runs: 4, crashes: 0, scope: "s", highestID: 8),
                .adopted(pid: 77, scope: nil), .child(id: 1, label: "api/1", pid: 1001, state: .running),
                .child(id: 2, label: "api/2", pid: 1002, state: .running),
                .child(id: 3, label: "api/3", pid: 1003, state: .exited),
                .exited(id: 3, exit: .signal(9, coreDumped: true), groupEmpty: false), .held(name: "manifest"),
                .held(name: "snapshot"), .upgraded(count: 2, failure: nil), .inventoryEnd,
            ])
        // READY=1 was said long ago.
        #expect(world.ask(.ready) == [.keepImage])
    }

    @Test("tables of another format are refused in words, and so is what is none")
    func otherFormats() throws {
        let text = String(decoding: try KeeperState.example().encoded(), as: UTF8.self)
        let newer = text.replacingOccurrences(of: "\"version\":1", with: "\"version\":2")
        for (bytes, words) in [
            (newer, "format 2, which this one cannot read"), ("{}", "cannot be read"), ("", "cannot be read"),
            (String(text.dropLast(5)), "cannot be read"),
        ] {
            let error = #expect(throws: KeeperState.Unreadable.self) { try KeeperState(Array(bytes.utf8)) }
            #expect(error?.text.contains(words) == true, "\(error?.text ?? "")")
        }
    }

    @Test("an order to start that cannot be read is none, and costs nothing else")
    func unreadableOrder() throws {
        let text = String(decoding: try KeeperState.example().encoded(), as: UTF8.self)
        let other = text.replacingOccurrences(of: "\"candidates\":", with: "\"programs\":")
        let state = try KeeperState(Array(other.utf8))
        #expect(state.children.map(\.standby?.plan) == [nil, nil, nil])
        #expect(KeeperCore(resuming: state, failure: nil, watchdog: nil).children.count == 3)
    }

    @Test("an image whose supervisors end before they are ready goes back to the one before")
    func goesBack() {
        var world = World.resumed()
        for crash in 1...3 {
            world.handle(.roleSpawned(.supervisor, pid: Int32(100 + crash)))
            world.handle(.received(.supervisor, .hello(version: linkVersion), descriptors: 0))
            let actions = world.handle(.roleExited(.supervisor, .signal(11, coreDumped: false)))
            let goesBack = actions.contains {
                if case .replaceImage(.some) = $0 { true } else { false }
            }
            #expect(goesBack == (crash == 3))
            if crash < 3 { world.pass() }
        }
        var ready = World.resumed()
        ready.supervisorArrives()
        for _ in 0..<5 {
            let actions = ready.handle(.roleExited(.supervisor, .signal(11, coreDumped: false)))
            #expect(!actions.contains { if case .replaceImage = $0 { true } else { false } })
            ready.pass()
            ready.supervisorArrives()
        }
    }

    @Test("a balancer of before serves until another one does, and has its time then")
    func formerBalancer() {
        var world = World.resumed()
        world.supervisorArrives()
        #expect(world.ask(.balancerServes(drainTime: 30 * World.second)) == [.retireBalancer(pid: 200)])
        // It is told once.
        #expect(world.ask(.balancerServes(drainTime: 30 * World.second)).isEmpty)
        let began = world.now
        var actions: [KeeperAction] = []
        for _ in 0..<20 where !actions.contains(.killBalancer(pid: 200)) {
            actions = world.pass()
            world.ask(.pong)
        }
        #expect(actions.contains(.killBalancer(pid: 200)))
        #expect(world.now - began == 40 * World.second)
        #expect(
            world.handle(.formerBalancerExited(pid: 200, .signal(9, coreDumped: false))).contains(
                told(.formerBalancerEnded(pid: 200))))
        #expect(world.core.formerBalancers.isEmpty)
    }

    @Test("of many balancers of before the oldest go")
    func manyBalancers() {
        let many = (1...6).map { KeeperState.Balancer(pid: $0, process: $0 + 50, link: nil, until: .max) }
        var world = World()
        world.core = KeeperCore(resuming: .example(balancers: many), failure: nil, watchdog: nil)
        let actions = world.handle(.resumed)
        let killed = actions.compactMap { if case .killBalancer(let pid) = $0 { pid } else { nil } }
        #expect(killed == [1, 2])
    }

    @Test("they are ended with everything else, and the keeper waits for them")
    func everythingEnds() {
        var world = World.resumed()
        world.core.children = [:]
        world.core.orphans = [:]
        world.supervisorArrives()
        let actions = world.ask(.exit(code: 0))
        #expect(actions.contains(.killBalancer(pid: 200)))
        world.handle(.roleExited(.supervisor, .code(0)))
        // That the new image has started.
        world.handle(.roleSpawned(.balancer, pid: 201))
        #expect(!world.handle(.roleExited(.balancer, .code(0))).contains(.exit(0)))
        #expect(world.handle(.formerBalancerExited(pid: 200, .code(0))).contains(.exit(0)))
    }
}
