import Foundation
import Glibc
import Platform
import TestSupport
import Testing

@Suite("Waiting for descriptors") struct WaitingTests {
    @Test("a poll set tells who is ready, for what, until it is removed")
    func pollSet() throws {
        let set = try PollSet()
        let (one, two) = (try makePipe(), try makePipe())
        try set.add(one.read, token: 1)
        try set.add(two.read, token: .max)
        #expect(try set.wait(until: 0) == [])
        try systemCall("write") { write(two.write.raw, "x", 1) }
        let event = PollSet.Event(token: .max, isReadable: true, isWritable: false)
        #expect(try set.wait(until: nil) == [event])
        // Level-triggered: still there.
        #expect(try set.wait(until: nil) == [event])
        set.remove(two.read)
        set.remove(two.read)
        #expect(try set.wait(until: 0) == [])
        try set.add(one.write, token: 3, readable: false, writable: true)
        #expect(try set.wait(until: nil) == [PollSet.Event(token: 3, isReadable: false, isWritable: true)])
        try set.change(one.write, token: 3, readable: false, writable: false)
        #expect(try set.wait(until: 0) == [])
    }

    @Test("a poll set's wait does not end before its deadline")
    func deadline() throws {
        let set = try PollSet()
        for wait in [Int64(0), 1, 500_000, 3_000_000] {
            let deadline = monotonicNanoseconds() + wait
            #expect(try set.wait(until: deadline) == [])
            #expect(monotonicNanoseconds() >= deadline)
        }
        #expect(try set.wait(until: .min) == [])
    }

    @Test("signals arrive as data")
    func signals() throws {
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let signals = try SignalDescriptor([SIGUSR1, SIGUSR2])
        #expect(signals.take() == [])
        // To this thread alone.
        pthread_kill(pthread_self(), SIGUSR2)
        pthread_kill(pthread_self(), SIGUSR2)
        #expect(signals.take() == [SIGUSR2])
        #expect(signals.take() == [])
    }

    @Test("a notification reaches a socket by path and by abstract name", arguments: [false, true])
    func notify(isAbstract: Bool) throws {
        let directory = try TemporaryDirectory()
        let name = isAbstract ? "@supd-test-\(getpid())-\(directory.path)" : directory.file("socket")
        let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
        let server = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if isAbstract { bytes[0] = 0 } else { bytes.append(0) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try systemCall("bind") { bind(server.raw, generic, length) }
            }
        }
        let socket = try #require(try NotifySocket(path: name))
        try socket.send("READY=1\nSTATUS=up")
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = try systemCall("recv") { recv(server.raw, &buffer, buffer.count, 0) }
        #expect(String(decoding: buffer.prefix(count), as: UTF8.self) == "READY=1\nSTATUS=up")
    }

    @Test(
        "a notification socket refuses what is no address",
        arguments: ["", "@", "/", "relative", "vsock:2:1", String(repeating: "/x", count: 60)])
    func badNotifySockets(path: String) throws { #expect(try NotifySocket(path: path) == nil) }

    @Test("a small file is read to its end or to the limit")
    func smallFiles() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("file", String(repeating: "x", count: 40_000))
        #expect(try readSmallFile(path, limit: 100_000).count == 40_000)
        #expect(try readSmallFile(path, limit: 20_000).count == 20_000)
        #expect(throws: SystemError.self) { try readSmallFile(directory.file("none"), limit: 1) }
        try systemCall("mkfifo") { mkfifo(directory.file("fifo"), 0o600) }
        #expect(try readSmallFile(directory.file("fifo"), limit: 1) == [])
    }
}
