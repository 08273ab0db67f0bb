import Manifest
import Testing

@testable import Supervision

@Suite struct PortsTests {
    private func ports(_ story: Story) -> [UInt16] { story.app.views(at: story.now).flatMap(\.instances).map(\.port) }

    @Test func `fixed ports are consecutive, the others come from the range`() {
        let story = Story(service("a", replicas: 3, port: 5000), service("b", replicas: 2), service("c"))
        #expect(ports(story) == [5000, 5001, 5002, 20000, 20001, 20002])
    }

    @Test func `ports of fronts and fixed ports are never given out`() {
        let story = Story(
            service("a", replicas: 3), service("b", port: 20001), service("c", front: 20003),
            ports: PortRange(first: 20000, last: 20010))
        #expect(ports(story) == [20000, 20002, 20004, 20001, 20005])
    }

    @Test func `who gets no port waits for one and says so`() throws {
        var story = Story(service("a", replicas: 3), ports: PortRange(first: 20000, last: 20001))
        #expect(story.spawns.count == 2)
        let view = try story.view(instance("a", 3))
        #expect(view.state == "backoff")
        #expect(view.lastExit?.reason == "no port of supd.portRange is free: widen it")
        story.pass(.seconds(5))
        #expect(story.spawns.isEmpty)
    }

    @Test func `who has a port keeps it, also if one before it has none`() {
        var story = Story(service("a"), service("b"), ports: PortRange(first: 20000, last: 20000))
        story.command(1, .stop, instance("a"), instance("b"))
        story.spawned(1)
        story.exited(1)
        #expect(ports(story) == [20000, 0])
        story.app.instances[0].port = 0
        story.app.instances[1].port = 20000
        story.app.assignPorts()
        #expect(ports(story) == [0, 20000])
    }

    @Test func `a port of the range that is taken is exchanged for the next one at once`() throws {
        var story = Story(service("a", replicas: 2))
        story.tell(.portTaken(Generation(1), holder: "pid 7 (nginx)"))
        #expect(story.acts == [.release(Generation(1)), .spawn(Generation(3), instance("a"), port: 20002)])
        #expect(story.reports == [])
        // And kept from then on.
        story.spawned(3)
        story.exited(3)
        story.pass(.seconds(1))
        #expect(story.acts == [.spawn(Generation(4), instance("a"), port: 20002)])
    }

    @Test func `after the last port of the range comes a pause`() throws {
        var story = Story(service("a"), ports: PortRange(first: 20000, last: 20002))
        var generation: UInt64 = 1
        for _ in 1...2 {
            story.tell(.portTaken(Generation(generation), holder: "pid 7 (x)"))
            generation += 1
            #expect(story.spawns == [generation])
        }
        story.tell(.portTaken(Generation(generation), holder: "pid 7 (x)"))
        #expect(story.acts == [.release(Generation(generation))])
        #expect(try story.view(instance("a")).state == "backoff")
        #expect(
            try story.view(instance("a")).lastExit?.reason
                == "port 20002 is in use by pid 7 (x), and no other port of supd.portRange is free: widen it")
        story.pass(.seconds(1))
        #expect(story.spawns == [generation + 1])
    }

    @Test func `a fixed port that is taken is a failed start`() throws {
        var story = Story(service("a", port: 5000))
        story.tell(.portTaken(Generation(1), holder: "pid 7 (nginx)"))
        #expect(story.acts == [.release(Generation(1))])
        #expect(story.reports == ["a/1: port 5000 is in use by pid 7 (nginx); next try in 0.5 s"])
    }

    @Test(arguments: [
        ([20001, 20002, 20003, 20007], "ports 20001-20003, 20007 of portRange are in use; skipped"),
        ([20007, 20001, 20001], "ports 20001, 20007 of portRange are in use; skipped"),
        ([20001], "port 20001 of portRange is in use; skipped"),
        ([65535, 65534, 1], "ports 1, 65534-65535 of portRange are in use; skipped"),
    ])
    func `ports that were passed over are told in one line, once`(found: [UInt16], line: String) {
        var ports = SkippedPorts()
        for port in found { ports.insert(port) }
        #expect(ports.takeLine() == line)
        #expect(ports.takeLine() == nil)
    }
}
