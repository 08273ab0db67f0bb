import Manifest
import Testing

@testable import Supervision

/// What a service's own word does to its instance.
@Suite struct NotifyingTests {
    private let a = instance("a")

    @Test func `a service is ready when it says so, and the keeper is to remember it`() throws {
        var story = Story(service("a", front: 80, ready: .notify(.systemd)))
        story.spawned(1)
        #expect(try story.view(a).detail == "to be ready: READY=1 has not come")
        story.says(1, "STATUS=recovering")
        #expect(try story.view(a).detail == "to be ready: READY=1 has not come; its status: recovering")
        #expect(story.app.routes[0].endpoints.isEmpty)
        story.pass(.seconds(2))
        story.says(1, "READY=1\nSTATUS=serving")
        #expect(
            story.acts == [
                .endProbing(Generation(1)), .keepReadiness(Generation(1), a, port: 20000), .publish,
            ])
        #expect(story.reports == ["a/1: ready on port 20000 after 2 s"])
        #expect(try story.view(a).state == "running")
        #expect(try story.view(a).status == "serving")
        // Once is enough.
        story.says(1, "READY=1")
        #expect(story.effects == [])
    }

    @Test func `without READY=1 the start has failed, and its last status says why`() throws {
        var story = Story(service("a", ready: .notify(.systemd), readyTimeout: .seconds(5)))
        story.spawned(1)
        story.says(1, "STATUS=waiting for a lock")
        story.pass(.seconds(5))
        #expect(
            story.reports == [
                "a/1: not ready within 5 s (READY=1 has not come; its status: waiting for a lock); stopping it"
            ])
        #expect(story.acts.contains(.signal(Generation(1), "TERM")))
    }

    @Test func `a service that says it by a descriptor is ready with the newline, which comes once`() throws {
        var story = Story(service("a", port: 3000, ready: .notify(.descriptor(3)), readyTimeout: .seconds(5)))
        story.spawned(1)
        #expect(story.acts == [.beginProbing(Generation(1), a, port: 3000)])
        #expect(try story.view(a).detail == "to be ready: no newline has come by descriptor 3")
        // Only who is to say it by the socket can.
        story.says(1, "READY=1")
        #expect(try story.view(a).state == "starting")
        var other = story
        story.ready(1)
        #expect(story.acts == [.keepReadiness(Generation(1), a, port: 3000)])
        other.tell(.probed(Generation(1), passed: false, detail: "descriptor 3 was closed without a newline"))
        other.pass(.seconds(5))
        #expect(
            other.reports == [
                "a/1: not ready within 5 s (descriptor 3 was closed without a newline); stopping it"
            ])
    }

    @Test func `a service that says it by a line of its output is ready with it, and the keeper is to remember it`()
        throws
    {
        let pattern = Template(parts: [.literal("up on *:"), .variable(.port)])
        var story = Story(service("a", ready: .log(pattern: pattern), readyTimeout: .seconds(5)))
        story.spawned(1)
        #expect(try story.view(a).detail == "to be ready: no line with \"up on *:${PORT}\" has come")
        var other = story
        story.ready(1)
        #expect(story.acts == [.keepReadiness(Generation(1), a, port: 20000)])
        // The line may be told of twice.
        story.ready(1)
        #expect(story.effects == [])
        other.pass(.seconds(5))
        #expect(other.reports == ["a/1: not ready within 5 s (no line with \"up on *:${PORT}\" has come); stopping it"])
    }

    @Test func `what it says before its start is confirmed, or as another process, counts for nothing`() throws {
        var story = Story(service("a", ready: .notify(.systemd)))
        story.says(1, "READY=1")
        #expect(try story.view(a).state == "starting")
        story.spawned(1)
        story.says(2, "READY=1")
        #expect(try story.view(a).state == "starting")
    }

    @Test func `READY=1 says nothing of a service that is probed otherwise`() throws {
        var story = Story(service("a", front: 80, ready: .tcp, watchdog: .seconds(30)))
        story.spawned(1)
        story.says(1, "READY=1")
        #expect(try story.view(a).state == "starting")
    }

    @Test func `RELOADING and STOPPING are shown until READY=1`() throws {
        var story = Story(service("a", ready: .notify(.systemd)))
        story.spawned(1)
        story.says(1, "READY=1")
        story.says(1, "RELOADING=1")
        #expect(try story.view(a).detail == "it says that it is reloading")
        #expect(try story.view(a).isReady)
        story.says(1, "READY=1")
        #expect(try story.view(a).detail == nil)
        story.says(1, "STOPPING=1\nSTATUS=")
        #expect(try story.view(a).detail == "it says that it is stopping")
        #expect(try story.view(a).status == nil)
    }

    @Test func `what one process has said is not said of the next`() throws {
        var story = Story(service("a", ready: .notify(.systemd)))
        story.spawned(1)
        story.says(1, "READY=1\nSTATUS=one")
        story.pass(.seconds(20))
        story.exited(1)
        #expect(story.spawns == [2])
        #expect(try story.view(a).status == nil)
        story.spawned(2)
        #expect(try story.view(a).state == "starting")
    }

    // MARK: Watchdog

    @Test func `a service that goes silent is stopped, with the reason said, and started again`() throws {
        var story = Story(service("a", watchdog: .seconds(30)))
        story.spawned(1)
        for _ in 0..<5 {
            story.pass(.seconds(29))
            story.says(1, "WATCHDOG=1")
        }
        #expect(try story.view(a).state == "running")
        story.pass(.seconds(29))
        #expect(story.effects == [])
        story.pass(.seconds(1))
        #expect(story.reports == ["a/1: watchdog: silent for 30 s; stopping it"])
        #expect(story.acts == [.signal(Generation(1), "TERM")])
        story.exited(1, .signal(15, coreDumped: false))
        // It had run long enough to be healthy.
        #expect(story.spawns == [2])
        #expect(try story.view(a).lastExit?.reason == "watchdog: silent for 30 s")
    }

    @Test func `the watchdog begins with readiness`() throws {
        var story = Story(service("a", ready: .notify(.systemd), watchdog: .seconds(3)))
        story.spawned(1)
        story.pass(.seconds(50))
        #expect(try story.view(a).state == "starting")
        story.says(1, "READY=1")
        story.pass(.seconds(3))
        #expect(story.reports == ["a/1: watchdog: silent for 3 s; stopping it"])
    }

    @Test func `a silent process that does not heed the stop signal is killed`() {
        var story = Story(service("a", watchdog: .seconds(3), stop: StopSettings(timeout: .seconds(2))))
        story.spawned(1)
        story.pass(.seconds(5))
        #expect(story.acts.first == .signal(Generation(1), "KILL"))
    }

    @Test func `a service may trigger its watchdog, choose another interval, and switch it off`() throws {
        var story = Story(service("a", watchdog: .seconds(3)))
        story.spawned(1)
        story.says(1, "WATCHDOG_USEC=60000000")
        story.pass(.seconds(59))
        #expect(try story.view(a).state == "running")
        story.says(1, "WATCHDOG_USEC=0")
        story.pass(.seconds(3600))
        #expect(try story.view(a).state == "running")
        #expect(story.app.nextDeadline == nil)
        story.says(1, "WATCHDOG=trigger")
        #expect(story.reports == ["a/1: watchdog: triggered by the service itself; stopping it"])
        #expect(try story.view(a).state == "stopping")
    }

    @Test func `an interval that it chooses before it is ready counts afterwards`() throws {
        var story = Story(service("a", ready: .notify(.systemd), watchdog: .seconds(3)))
        story.spawned(1)
        story.says(1, "WATCHDOG_USEC=10000000")
        story.pass(.seconds(20))
        story.says(1, "READY=1")
        story.pass(.seconds(9))
        #expect(try story.view(a).state == "running")
        story.pass(.seconds(1))
        #expect(try story.view(a).state == "stopping")
    }

    @Test func `the next supervisor gives a watchdog its whole time, for nobody has read what was said meanwhile`()
        throws
    {
        var story = Story(service("a", watchdog: .seconds(3)))
        story.spawned(1)
        story.now = story.now + .seconds(60)
        let child = Application.SurvivingChild(generation: Generation(1), instance: a, port: 20000, pid: 1001)
        let app = try Application(manifest: story.app.manifest, snapshot: story.app.snapshot)
        var next = Story(resuming: app, children: [child])
        next.now = story.now
        next.effects = next.app.resume(children: [child], highestGeneration: Generation(1), at: next.now)
        #expect(next.app.silent(at: next.now) == [])
        #expect(next.app.nextDeadline == next.now + .seconds(3))
    }

    // MARK: Timeouts

    @Test func `EXTEND_TIMEOUT_USEC extends the start, by an hour a message and a day in all`() throws {
        var story = Story(service("a", ready: .notify(.systemd), readyTimeout: .seconds(5)))
        story.spawned(1)
        let began = story.now
        story.says(1, "EXTEND_TIMEOUT_USEC=1000000")
        // Never earlier than it would have been.
        #expect(story.app.nextDeadline == began + .seconds(5))
        story.pass(.seconds(4))
        story.says(1, "EXTEND_TIMEOUT_USEC=30000000")
        #expect(story.app.nextDeadline == story.now + .seconds(30))
        var hours = 0
        while try story.view(a).state == "starting", hours < 100 {
            story.says(1, "EXTEND_TIMEOUT_USEC=99999999999999999999")
            #expect(try #require(story.app.nextDeadline) <= story.now + .seconds(3600))
            story.pass(.seconds(3599))
            hours += 1
        }
        #expect(hours == 25)
    }

    @Test func `it extends the stop, by an hour in all, but not that of what was left behind`() throws {
        var story = Story(service("a", watchdog: .seconds(30)))
        story.spawned(1)
        story.command(1, .stop, a)
        let began = story.now
        story.says(1, "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000")
        #expect(story.app.nextDeadline == began + .seconds(60))
        #expect(story.app.longestStopUnderWay(at: began) == 60_000_000_000)
        for _ in 0..<100 { story.says(1, "EXTEND_TIMEOUT_USEC=99999999999999999999") }
        #expect(story.app.nextDeadline == began + .seconds(3600))
        story.exited(1, groupEmpty: false)
        let before = story.app.nextDeadline
        story.says(1, "EXTEND_TIMEOUT_USEC=99999999999999999999")
        #expect(story.app.nextDeadline == before)
    }

    // MARK: Crashes of the supervisor

    @Test(arguments: [true, false])
    func `readiness that was said to a supervisor before is not waited for again`(hasSnapshot: Bool) throws {
        var story = Story(service("a", front: 80, ready: .notify(.systemd)))
        story.spawned(1)
        // The snapshot is of before.
        let snapshot = story.app.snapshot
        story.says(1, "READY=1")
        let child = Application.SurvivingChild(
            generation: Generation(1), instance: a, port: 20000, pid: 1001, saidReady: true)
        let manifest = story.app.manifest
        let app =
            hasSnapshot ? try Application(manifest: manifest, snapshot: snapshot) : Application(manifest: manifest)
        let next = Story(resuming: app, children: [child])
        #expect(try next.view(a).state == "running")
        #expect(next.app.routes[0].endpoints.map(\.generation) == [Generation(1)])
        let unsaid = Application.SurvivingChild(generation: Generation(1), instance: a, port: 20000, pid: 1001)
        #expect(try Story(resuming: app, children: [unsaid]).view(a).state == "starting")
    }

    @Test func `a service that says what it is has no heir, whose socket nobody would have made`() {
        var story = Story(service("a", ready: .notify(.systemd)), service("b", watchdog: .seconds(300)), service("c"))
        for generation in 1...3 { story.spawned(UInt64(generation)) }
        story.says(1, "READY=1")
        story.pass(.seconds(20))
        #expect(story.app.heirCandidates(at: story.now).candidates.map(\.instance) == [instance("c")])
    }
}
