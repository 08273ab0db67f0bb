import Links
import Platform
import Testing

@testable import Keeper

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
