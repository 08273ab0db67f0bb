import Links
import Platform
import Testing

@testable import Keeper

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
