import Glibc
import Platform
import TestSupport

/// A server in a process of its own (see EchoServer): killed, stopped and started again at the same port.
final class EchoProcess: @unchecked Sendable {
    let port: UInt16
    /// Keeps the port while there is no process.
    private let reservation: Descriptor
    private var process: ChildProcess?
    /// The process ends when this is closed.
    private var lifeline: Descriptor?
    /// Held by whoever has it for itself.
    private let lock = Lock(0)

    init() throws { (port, reservation) = try freePort() }

    /// Does something while nobody else kills or stops it.
    func alone(_ body: () throws -> Void) throws { try lock.withLock { _ throws in try body() } }

    /// Starts one; nobody but the process holds the socket when this returns.
    func start() throws {
        guard process == nil else { return }
        let (end, lifeline) = try makePipe()
        let socket = try Platform.listen(on: .ipv4("127.0.0.1", port: port))
        process = try ChildProcess(
            try builtProgram("EchoServer"), ["echo"], environment: [], descriptors: [socket, end],
            diesWithThread: false)
        self.lifeline = lifeline
    }

    /// SIGKILL. The port refuses when this returns.
    func kill() throws {
        process?.signal(SIGKILL)
        _ = try process?.waitForEnd()
        process = nil
    }

    /// SIGSTOP. It does nothing more when this returns.
    func stop() throws {
        guard let process else { return }
        process.signal(SIGSTOP)
        try eventually("process \(process.pid) has stopped") {
            ProcessTable.entry(of: process.pid)?.state == UInt8(ascii: "T") ? true : nil
        }
    }

    /// SIGCONT.
    func goOn() { process?.signal(SIGCONT) }
}
