import Foundation
import Glibc
import Platform
import TestSupport
import Testing

@Suite("A packet socket") struct PacketSocketTests {
    @Test("keeps the borders of packets, and their descriptors")
    func packets() throws {
        let (left, right) = try PacketSocket.pair()
        let pipes = try (0..<PacketSocket.descriptorLimit).map { _ in try makePipe().read }
        #expect(try left.send([1, 2, 3], descriptors: pipes) == .sent)
        #expect(try left.send([4]) == .sent)
        guard case .packet(let bytes, let descriptors) = try right.receive(limit: 3) else { throw Unexpected("none") }
        #expect(bytes == [1, 2, 3])
        #expect(descriptors.count == PacketSocket.descriptorLimit)
        for (received, sent) in zip(descriptors, pipes) {
            #expect(received.raw != sent.raw)
            #expect(fcntl(received.raw, F_GETFD) & FD_CLOEXEC != 0)
            #expect(try inode(received) == inode(sent))
        }
        guard case .packet([4], let none) = try right.receive(limit: 3) else { throw Unexpected("no second") }
        #expect(none.isEmpty)
        guard case .wouldBlock = try right.receive(limit: 3) else { throw Unexpected("a third") }
    }

    @Test("refuses a packet that is too long, and installs none of its descriptors")
    func tooLong() throws {
        let (left, right) = try PacketSocket.pair()
        let pipe = try makePipe()
        #expect(try left.send([1, 2, 3, 4], descriptors: [pipe.write]) == .sent)
        #expect(throws: PacketSocket.ReceiveError.tooLong(4)) { try right.receive(limit: 3) }
    }

    @Test("says that the other end is closed, to who sends and who receives")
    func closes() throws {
        let right: PacketSocket
        do {
            let left: PacketSocket
            (left, right) = try PacketSocket.pair()
            _ = try left.send([1])
        }
        guard case .packet = try right.receive(limit: 9) else { throw Unexpected("no packet") }
        // For a moment every program that another test has just forked has a copy of the other end.
        try eventually("the end") { if case .closed = try right.receive(limit: 9) { true } else { nil } }
        #expect(try right.send([1]) == .closed)
    }

    @Test("fails as the system call does", arguments: [("socketpair", EMFILE), ("sendmsg", ENOMEM)])
    func faults(call: String, code: Int32) throws {
        #expect(throws: SystemError.self) {
            try FaultPlan.$current.withValue(FaultPlan { name, _ in name == call ? code : nil }) {
                let (left, _) = try PacketSocket.pair()
                _ = try left.send([1])
            }
        }
    }
}

@Suite("A file in memory") struct MemoryFileTests {
    @Test("gives back what was written")
    func readsBack() throws {
        let file = try MemoryFile(name: "test")
        #expect(try file.read(limit: 0) == [])
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0) }
        try file.replaceContents(bytes)
        #expect(try file.read(limit: bytes.count) == bytes)
        try file.write([9, 9], at: 1)
        try #expect(file.read(limit: bytes.count).prefix(4) == [0, 9, 9, 3])
        try file.replaceContents([5])
        #expect(try file.read(limit: 1) == [5])
    }

    @Test("refuses to read more than the limit")
    func limit() throws {
        let file = try MemoryFile(name: "test")
        try file.replaceContents([1, 2, 3])
        let error = #expect(throws: SystemError.self) { try file.read(limit: 2) }
        #expect(error?.code == EFBIG)
    }

    @Test("takes over nothing that could make a reader wait")
    func received() throws {
        let file = try MemoryFile(name: "test")
        _ = try MemoryFile(received: file.descriptor)
        let pipe = try makePipe()
        #expect(throws: SystemError.self) { try MemoryFile(received: pipe.read) }
        let disk = Descriptor(owning: try systemCall("open") { open("/proc/self/exe", O_RDONLY | O_CLOEXEC) })
        #expect(throws: SystemError.self) { try MemoryFile(received: disk) }
    }
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func inode(_ descriptor: Descriptor) throws -> UInt {
    var status = stat()
    try systemCall("fstat") { fstat(descriptor.raw, &status) }
    return UInt(status.st_ino)
}
