import Foundation
import Glibc
import Links
import Platform
import TestSupport

/// A keeper that runs as a process of its own, with this test in the place of its roles.
final class RealKeeper {
    let program: Program
    let directory: TemporaryDirectory
    /// The text in SUPD_SCOPE.
    let scope: String
    private let listener: Descriptor
    private var waiting: [FakeRole] = []
    /// Roles live as long as the keeper, unless they are killed: letting go of one ends it.
    private(set) var given: [FakeRole] = []

    init(_ options: [String] = [], environment: [String: String] = [:]) throws {
        directory = try TemporaryDirectory()
        let scope = directory.file("roles")
        self.scope = scope
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let listener = Descriptor(owning: try systemCall("socket") { socket(AF_UNIX, type, 0) })
        self.listener = listener
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: scope.utf8) }
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try systemCall("bind") {
                    bind(listener.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        try systemCall("listen") { listen(listener.raw, 16) }
        let products = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let harness = URL(filePath: products).deletingLastPathComponent().appending(path: "KeeperHarness").path
        program = try Program(
            harness, ["keeper", scope] + options,
            environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"].merging(environment) { $1 })
    }

    /// Waits for the next start of a role.
    func role(_ name: String) throws -> FakeRole {
        while true {
            if let index = waiting.firstIndex(where: { $0.name == name }) {
                given.append(waiting.remove(at: index))
                return given[given.count - 1]
            }
            _ = try eventually("a \(name) to connect; the keeper said: \(program.output)") {
                if program.ended() { throw TestFailure("the keeper has ended; it said: \(program.output)") }
                return try isReadable(listener, within: 0.1) ? true : nil
            }
            waiting.append(try FakeRole(PacketSocket(acceptConnection(from: listener))))
        }
    }

    /// Waits for a supervisor, says hello, and answers it with the inventory that it got.
    func supervisor() throws -> (role: FakeRole, inventory: [FakeRole.Message]) {
        let role = try role("supervisor")
        try role.send(.hello(version: linkVersion))
        var inventory: [FakeRole.Message] = []
        repeat { inventory.append(try role.next()) } while inventory.last?.notice != .inventoryEnd
        return (role, inventory)
    }

    /// Ends all roles that were given out.
    func endRoles() { given = [] }

    /// What the keeper has open, in order.
    func openDescriptors() throws -> [String] {
        let directory = "/proc/\(program.pid)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: directory).compactMap { name in
            try? "\(name) \(FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\(name)"))"
        }.sorted()
    }
}

/// A role of a `RealKeeper`: a process that does nothing, whose links the test has.
final class FakeRole {
    let name: String
    let pid: Int32
    let link: LinkConnection
    let socket: PacketSocket
    /// A balancer's link to the supervisor.
    let supervisorLink: LinkConnection?
    private let control: PacketSocket

    struct Message {
        var notice: KeeperNotice
        var descriptors: [Descriptor]
    }

    fileprivate init(_ control: PacketSocket) throws {
        self.control = control
        try waitUntilReadable(control.descriptor, "a role's links")
        guard case .packet(let bytes, let descriptors) = try control.receive(limit: 100) else {
            throw TestFailure("a role sent nothing")
        }
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard words.count == 2, let pid = Int32(words[1]), let link = descriptors.first else {
            throw TestFailure("a role sent \(words)")
        }
        name = String(words[0])
        self.pid = pid
        self.link = LinkConnection(link)
        socket = PacketSocket(link)
        supervisorLink = descriptors.dropFirst().first.map(LinkConnection.init)
    }

    /// Sends a request.
    func send(_ request: KeeperRequest, _ descriptors: [Descriptor] = []) throws {
        let encoded = try LinkCodec.encode(request)
        _ = try eventually("room in the link") {
            switch try link.send(encoded: encoded, descriptors: descriptors) {
            case .sent: true
            case .wouldBlock: nil
            case .closed: throw TestFailure("the keeper has closed the link")
            }
        }
    }

    /// Waits for the next notice; pings are answered.
    func next() throws -> Message {
        while true {
            try waitUntilReadable(link.descriptor, "a notice for the \(name)")
            switch link.receive(KeeperNotice.self) {
            case .message(.ping, _): try send(.pong)
            case .message(let notice, let descriptors): return Message(notice: notice, descriptors: descriptors)
            case .wouldBlock: continue
            case .closed: throw TestFailure("the keeper has closed the link")
            case .malformed(let error): throw error
            }
        }
    }

    /// Waits for a notice that `body` has an answer for; others are passed over.
    func next<Value>(_ body: (Message) throws -> Value?) throws -> Value {
        while true {
            if let value = try body(try next()) { return value }
        }
    }

    /// Starts a program and answers its pid and the read ends of its output.
    func start(_ plan: SpawnPlan) throws -> (pid: Int32, output: [Descriptor]) {
        try send(.spawn(plan))
        return try next { message in
            switch message.notice {
            case .spawned(plan.id, let pid): return (pid, message.descriptors)
            case .spawnFailed(plan.id, let failure): throw TestFailure("cannot start: \(failure)")
            default: return nil
            }
        }
    }

    /// Waits for a child's end.
    func exit(of id: UInt64) throws -> (exit: ChildExit, groupEmpty: Bool) {
        try next { if case .exited(id, let exit, let groupEmpty, _) = $0.notice { (exit, groupEmpty) } else { nil } }
    }

    /// Lets the process end with this code.
    func end(code: UInt8) throws { _ = try control.send([code]) }

    /// SIGKILLs the process.
    func kill() { _ = Glibc.kill(pid, SIGKILL) }
}

/// A shell command as a plan.
func shell(_ id: UInt64, _ script: String, label: String = "test", scope: String? = nil) -> SpawnPlan {
    SpawnPlan(
        id: id, label: label, candidates: ["/bin/sh"], arguments: ["sh", "-c", script],
        environment: ["PATH=/usr/local/bin:/usr/bin:/bin"] + [scope.map { "SUPD_SCOPE=\($0)" }].compactMap(\.self))
}

/// Waits, at most half a minute, until there is something to read.
func waitUntilReadable(_ descriptor: Descriptor, _ what: String) throws {
    if try !isReadable(descriptor, within: 30) { throw TestFailure("waited in vain for \(what)") }
}

/// Whether there is something to read before so many seconds have passed.
func isReadable(_ descriptor: Descriptor, within seconds: Double) throws -> Bool {
    var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    return try systemCall("poll") { poll(&entry, 1, Int32(seconds * 1000)) } > 0
}

/// One line from a nonblocking pipe.
func readLine(_ descriptor: Descriptor) throws -> String {
    var line: [UInt8] = []
    while true {
        try waitUntilReadable(descriptor, "a line of output")
        var byte: UInt8 = 0
        let count = try systemCall("read") { read(descriptor.raw, &byte, 1) }
        if count == 0 || byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
        line.append(byte)
    }
}

/// Waits until no process has this id any more, or only a zombie.
func waitUntilGone(_ pid: Int32) throws {
    _ = try eventually("end of process \(pid)") {
        guard let line = try? readSmallFile("/proc/\(pid)/stat", limit: 4096), let entry = ProcessEntry(statText: line)
        else {
            return true
        }
        return entry.hasEnded ? true : nil
    }
}
