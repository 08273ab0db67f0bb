import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Bytes go through unchanged")
struct StreamTests {
    @Test("16 MB each way at once arrive byte for byte")
    func bulkBothWays() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            let size = 16 << 20
            try concurrently(
                {
                    try client.sendPattern(1, count: size)
                    client.finishWriting()
                },
                {
                    try server.sendPattern(2, count: size)
                    server.finishWriting()
                },
                {
                    try server.receivePattern(1, count: size)
                    guard try server.receiveToEnd().isEmpty else { throw TestFailure("bytes past the end") }
                },
                {
                    try client.receivePattern(2, count: size)
                    guard try client.receiveToEnd().isEmpty else { throw TestFailure("bytes past the end") }
                })
            _ = try eventually("the connection is forgotten") { try rig.front.current == 0 ? true : nil }
            let counts = try rig.front
            #expect(counts.bytesIn == UInt64(size))
            #expect(counts.bytesOut == UInt64(size))
            #expect(try rig.instance("api/1").bytesIn == UInt64(size))
        }
    }

    @Test(
        "bulk without pipes and with no buffer for what the reader does not take", arguments: [(0, 4), (8, 1), (0, 1)])
    func scarcity(_ limits: (pipes: Int, buffers: Int)) throws {
        try Rig.run { configuration in
            configuration.pipesPerLoop = limits.pipes
            configuration.buffersPerLoop = limits.buffers
        } _: { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let size = 8 << 20
            let pairs = try (0..<3).map { _ in try rig.pair(backend) }
            // All three are stuck, one of them with a buffer at most.
            try concurrently(
                { for pair in pairs { try pair.server.send([UInt8](repeating: 1, count: 1)) } },
                { for pair in pairs { _ = try pair.client.receive(1) } })
            try concurrently(
                { try pairs[0].server.sendPattern(1, count: size) },
                { try pairs[1].server.sendPattern(2, count: size) },
                { try pairs[2].server.sendPattern(3, count: size) },
                {
                    try pairs[2].client.receivePattern(3, count: size)
                    try pairs[1].client.receivePattern(2, count: size)
                    try pairs[0].client.receivePattern(1, count: size)
                })
        }
    }

    @Test("one byte at a time, each answered")
    func byteByByte() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            for byte in 0..<200 {
                try client.send([UInt8(byte)])
                #expect(try server.receive(1) == [UInt8(byte)])
                try server.send([UInt8(255 - byte)])
                #expect(try client.receive(1) == [UInt8(255 - byte)])
            }
        }
    }

    @Test("a server that speaks first is heard before the client has said anything")
    func serverFirst() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            try server.send("220 ready\r\n")
            #expect(try client.receiveText(11) == "220 ready\r\n")
            try client.send("HELO\r\n")
            #expect(try server.receiveText(6) == "HELO\r\n")
        }
    }

    @Test("urgent data stays in the stream, and nothing behind it is held up")
    func urgentData() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            try client.send("before")
            #expect(try server.receiveText(6) == "before")
            try client.sendUrgent(UInt8(ascii: "!"))
            try client.send("after")
            client.finishWriting()
            #expect(String(decoding: try server.receiveToEnd(), as: UTF8.self) == "!after")
        }
    }

    @Test("a reader that stops leaves the memory bounded and gets every byte later")
    func stoppedReader() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend, receiveBuffer: 16 << 10)
            let size = 32 << 20
            let writer = FailureBox()
            let thread = try TestThread { writer.run { try server.sendPattern(9, count: size) } }
            // What the balancer has taken stands still although the server would send more: our kernel's send buffer is
            // full, and what did not fit is all that we hold.
            let taken = try eventually("reading stops") {
                let before = try rig.front.bytesOut
                usleep(200_000)
                return try rig.front.bytesOut == before && before > 0 ? before : nil
            }
            #expect(taken < 12 << 20)
            try client.receivePattern(9, count: size)
            thread.join()
            if let failure = writer.first { throw failure }
        }
    }

    @Test("many small exchanges over a Unix-socket front")
    func unixFront() throws {
        let directory = try TemporaryDirectory()
        try Rig.run { rig in
            let path = directory.file("front.sock")
            let backend = try Backend()
            rig.engine.receive(.listener(id: "unix"), [try listen(on: .unix(path))])
            try rig.apply([Rig.pool([backend.endpoint(1)], listeners: ["front", "unix"])])
            let client = try Peer.connect(path: path)
            let server = try backend.accept()
            for number in 0..<50 {
                try client.send("question \(number % 10)")
                #expect(try server.receiveText(10) == "question \(number % 10)")
                try server.send("answer")
                #expect(try client.receiveText(6) == "answer")
            }
            try concurrently(
                {
                    try client.sendPattern(4, count: 4 << 20)
                    client.finishWriting()
                },
                { try server.receivePattern(4, count: 4 << 20) })
            #expect(try server.receiveToEnd() == [])
            server.close()
            #expect(try client.receiveToEnd() == [])
        }
    }

    @Test("a Unix client that sends and closes at once has its message delivered, also when it had to wait")
    func fireAndForget() throws {
        let directory = try TemporaryDirectory()
        try Rig.run { rig in
            let path = directory.file("front.sock")
            rig.engine.receive(.listener(id: "unix"), [try listen(on: .unix(path))])
            try rig.apply([Rig.pool([], listeners: ["unix"])])
            let client = try Peer.connect(path: path)
            try client.send("message")
            client.close()
            let silent = try Peer.connect(path: path)
            _ = try eventually("both wait") { try rig.front.queued == 2 ? true : nil }
            silent.close()
            _ = try eventually("the one that has said nothing is gone") { try rig.front.queued == 1 ? true : nil }
            let backend = try Backend()
            try rig.apply([Rig.pool([backend.endpoint(1)], listeners: ["unix"])])
            #expect(try backend.accept().receiveToEnd() == Array("message".utf8))
        }
    }

    @Test("an IPv6 front")
    func ipv6Front() throws {
        try Rig.run { rig in
            let backend = try Backend()
            let listener = try listen(on: .ipv6("::1", port: 0))
            let port = try #require(try SocketAddress.local(of: listener).port)
            rig.engine.receive(.listener(id: "six"), [listener])
            try rig.apply([Rig.pool([backend.endpoint(1)], listeners: ["front", "six"])])
            let client = try Peer.connect6(port: port)
            try client.send("hello")
            #expect(try backend.accept().receiveText(5) == "hello")
        }
    }

    @Test("accepted connections have TCP_NODELAY without a call for each")
    func noDelay() throws {
        let listener = try listen(on: .ipv4("127.0.0.1", port: 0))
        let port = try #require(try SocketAddress.local(of: listener).port)
        let client = try Peer.connect(port: port)
        var entry = pollfd(fd: listener.raw, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 30_000) == 1)
        let accepted = Peer(supd_accept(listener.raw))
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        #expect(getsockopt(accepted.raw, Int32(IPPROTO_TCP), TCP_NODELAY, &value, &length) == 0)
        #expect(value != 0)
        client.close()
    }
}
