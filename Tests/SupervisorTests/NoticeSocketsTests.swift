import Dispatch
import Glibc
import Platform
import Supervision
import TestSupport
import Testing

@testable import Supervisor

/// The sockets on which services say how they are, with this test's own children in the place of services.
@Suite struct NoticeSocketsTests {
    /// What came of a set of sockets.
    private final class World: @unchecked Sendable {
        let directory: TemporaryDirectory
        let queue = DispatchQueue(label: "test")
        private var sockets: NoticeSockets?
        private var heard: [ServiceNotice] = []
        private var lines: [String] = []
        let generation = Generation(17)

        init() throws {
            directory = try TemporaryDirectory()
            let path = directory.file("notify")
            queue.sync {
                sockets = NoticeSockets(
                    directory: path, queue: queue, report: { [unowned self] in heard.append($1) },
                    note: { [unowned self] in lines.append("\($0): \($1)") })
            }
        }

        deinit { queue.sync { sockets = nil } }

        var path: String { NoticeSockets.path(in: directory.file("notify"), generation) }
        var notices: [ServiceNotice] { queue.sync { heard } }
        var notes: [String] { queue.sync { lines } }

        func open() throws -> Descriptor {
            try queue.sync { try #require(sockets).open(generation, user: nil, isRoot: false) }
        }

        func begin(leader: Int32) {
            let instance = InstanceProcesses.Instance(
                generation: generation, id: InstanceID(service: "a", number: 1), leader: leader, scope: "none")
            queue.sync { sockets?.begin(generation, NoticeSockets.Owner(instance: instance, keeper: getppid())) }
        }

        func close() -> Bool { queue.sync { sockets?.close(generation) ?? false } }
        func drain() { queue.sync { sockets?.read(generation) } }
    }

    @Test func `what the leader says is heard, also what it said before anybody listened`() throws {
        let world = try World()
        _ = try world.open()
        let sender = try #require(try NotifySocket(path: world.path))
        try sender.send("STATUS=early")
        #expect(world.notices == [])
        world.begin(leader: getpid())
        try sender.send("READY=1")
        try eventually("both") { world.notices.count == 2 ? true : nil }
        #expect(world.notices.map(\.isReady) == [false, true])
        #expect(world.close())
        #expect(!world.close())
        #expect(access(world.path, F_OK) != 0)
    }

    @Test func `a process that is nobody's is ignored, and said so ever more seldom`() throws {
        let world = try World()
        _ = try world.open()
        // A leader that this test is no descendant of, nor in the session of.
        let other = try Program("/bin/sh", ["-c", "exec sleep 1000"])
        world.begin(leader: other.pid)
        let sender = try #require(try NotifySocket(path: world.path))
        for number in 1...100 {
            try eventually("room") { (try? sender.send("READY=1\nX=\(number)")) != nil ? true : nil }
            world.drain()
        }
        // Beside them there may be a word about so many at a time.
        let notes = try eventually("the last") {
            let notes = world.notes.filter { $0.contains("none of its processes") }
            return notes.count == 3 ? notes : nil
        }
        #expect(world.notices == [])
        #expect(notes[0].hasPrefix("a/1: a notice of pid \(getpid()) ("))
        #expect(notes[2].hasSuffix("which is none of its processes, is ignored; 100 so far"))
    }

    @Test func `a sender that is gone counts if its user is the leader's`() throws {
        let world = try World()
        _ = try world.open()
        let leader = try Program("/bin/sh", ["-c", "exec sleep 1000"])
        // It has ended, and was waited for, before anybody reads.
        let hasty = try Program.run(
            "/usr/bin/env",
            [
                "python3", "-c",
                "import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])",
                world.path,
            ])
        guard hasty.code == 0 else { return }
        world.begin(leader: leader.pid)
        try eventually("its word") { world.notices.first?.isReady == true ? true : nil }
    }

    @Test func `a flood is read in bounds, and what was said is still heard in the end`() throws {
        let world = try World()
        _ = try world.open()
        world.begin(leader: getpid())
        let sender = try #require(try NotifySocket(path: world.path))
        let began = monotonicNanoseconds()
        let count = 4 * NoticeSockets.burst
        for _ in 0..<count { try eventually("room") { (try? sender.send("WATCHDOG=1")) != nil ? true : nil } }
        try eventually("all") { world.notices.count == count ? true : nil }
        #expect(monotonicNanoseconds() - began >= 2 * NoticeSockets.window)
        #expect(world.notes.count == 1 && world.notes[0].contains("more comes by its NOTIFY_SOCKET than supd reads"))
    }

    @Test func `what is too long, and a main process, are said once and ignored`() throws {
        let world = try World()
        _ = try world.open()
        world.begin(leader: getpid())
        let sender = try #require(try NotifySocket(path: world.path))
        for _ in 0..<3 {
            try sender.send("READY=1\n" + String(repeating: "x", count: 5000))
            try sender.send("MAINPID=1\nSTATUS=y")
            world.drain()
        }
        try eventually("the rest") { world.notices.count == 3 ? true : nil }
        #expect(world.notices.allSatisfy { !$0.isReady && $0.status == "y" })
        #expect(world.notes.count == 2)
    }

    @Test func `another set takes over a socket with all that waits in it`() throws {
        let world = try World()
        let socket = try world.open()
        let sender = try #require(try NotifySocket(path: world.path))
        try sender.send("READY=1")
        let next = NoticeSocket(try socket.duplicate())
        #expect(next.peek(limit: 100)?.bytes == Array("READY=1".utf8))
    }
}
