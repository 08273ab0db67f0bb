import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Ends and resets go through as they are")
struct EndingTests {
    /// Runs a body with one connection, then waits until the balancer has forgotten it.
    private func withPair(
        receiveBuffer: Int32? = nil, _ body: (_ rig: Rig, _ client: Peer, _ server: Peer) throws -> Void
    ) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend, receiveBuffer: receiveBuffer)
            try body(rig, client, server)
            client.close()
            server.close()
            _ = try eventually("the connection is forgotten") { try rig.front.current == 0 ? true : nil }
            #expect(try rig.instance("api/1").current == 0)
        }
    }

    @Test("a client that has ended its request still gets 10 MB of answer")
    func halfCloseByClient() throws {
        try withPair { _, client, server in
            try client.send("request")
            client.finishWriting()
            #expect(String(decoding: try server.receiveToEnd(), as: UTF8.self) == "request")
            let size = 10 << 20
            try concurrently(
                {
                    try server.sendPattern(1, count: size)
                    server.finishWriting()
                }, { try client.receivePattern(1, count: size) })
            #expect(try client.receiveToEnd() == [])
        }
    }

    @Test("a server that has ended its answer still gets 10 MB of request")
    func halfCloseByServer() throws {
        try withPair { _, client, server in
            try server.send("greeting")
            server.finishWriting()
            #expect(String(decoding: try client.receiveToEnd(), as: UTF8.self) == "greeting")
            let size = 10 << 20
            try concurrently(
                {
                    try client.sendPattern(1, count: size)
                    client.finishWriting()
                }, { try server.receivePattern(1, count: size) })
            #expect(try server.receiveToEnd() == [])
        }
    }

    @Test("a server sends 4 MB and closes at once: a slow reader gets every byte", arguments: [false, true])
    func sendAndClose(clientEndsFirst: Bool) throws {
        try withPair(receiveBuffer: 16 << 10) { _, client, server in
            if clientEndsFirst {
                client.finishWriting()
                #expect(try server.receiveToEnd() == [])
            }
            let size = 4 << 20
            try concurrently(
                {
                    try server.sendPattern(1, count: size)
                    server.close()
                },
                {
                    var pattern = Pattern(seed: 1)
                    for _ in 0..<1024 {
                        usleep(200)
                        guard areEqual(try client.receive(size / 1024), pattern.next(size / 1024)) else {
                            throw TestFailure("wrong bytes")
                        }
                    }
                })
            #expect(client.receiveToEndOrError() == ([], 0))
        }
    }

    @Test("a server's reset reaches the client as a reset, after all bytes before it")
    func resetByServer() throws {
        try withPair { _, client, server in
            try server.send("partial")
            #expect(try client.receiveText(4) == "part")
            server.reset()
            let end = client.receiveToEndOrError()
            #expect(String(decoding: end.bytes, as: UTF8.self) == "ial")
            #expect(end.code == ECONNRESET)
        }
    }

    @Test("a client's reset reaches the server as a reset, after all bytes before it")
    func resetByClient() throws {
        try withPair { _, client, server in
            try client.send("partial")
            #expect(try server.receiveText(4) == "part")
            client.reset()
            let end = server.receiveToEndOrError()
            #expect(String(decoding: end.bytes, as: UTF8.self) == "ial")
            #expect(end.code == ECONNRESET)
        }
    }

    @Test("a reset after the client had ended its request")
    func resetAfterHalfClose() throws {
        try withPair { _, client, server in
            client.finishWriting()
            let request = try server.receiveToEnd()
            #expect(request == [])
            server.reset()
            #expect(client.receiveToEndOrError().code == ECONNRESET)
        }
    }

    @Test("a client that vanishes after its request while the server streams: the server learns it")
    func clientVanishes() throws {
        try withPair { _, client, server in
            try client.send("request")
            #expect(try server.receiveText(7) == "request")
            client.close()
            #expect(try server.receiveToEnd() == [])
            #expect(throws: SystemError.self) {
                while true { try server.send([UInt8](repeating: 0, count: 1 << 16)) }
            }
        }
    }

    @Test("an early reply arrives although the server closes with most of the request unread")
    func earlyReply() throws {
        try withPair { _, client, server in
            try client.send([UInt8](repeating: 1, count: 100_000))
            _ = try server.receive(1000)
            try server.send("413 too large")
            // Unread bytes make this a reset.
            server.close()
            // The client goes on until it is told, as HTTP clients do.
            while (try? client.send([UInt8](repeating: 1, count: 10_000))) != nil {}
            let end = client.receiveToEndOrError()
            #expect(String(decoding: end.bytes, as: UTF8.self) == "413 too large")
        }
    }

    @Test("an early reply that ends in order arrives with its end while the client is still sending")
    func earlyReplyInOrder() throws {
        try withPair { _, client, server in
            try client.send("x")
            #expect(try server.receiveText(1) == "x")
            try server.send("no thanks")
            server.close()
            #expect(try client.receiveToEnd() == Array("no thanks".utf8))
            // Heard out and thrown away, since nobody is there.
            try client.send([UInt8](repeating: 1, count: 1 << 20))
            client.finishWriting()
            #expect(client.receiveToEndOrError().code == 0)
        }
    }

    @Test("a client that never stops sending to nobody is cut in the end")
    func discardingIsBounded() throws {
        try withPair { rig, client, server in
            try client.send("x")
            #expect(try server.receiveText(1) == "x")
            server.close()
            #expect(try client.receiveToEnd() == [])
            #expect(throws: SystemError.self) {
                while true { try client.send([UInt8](repeating: 0, count: 1 << 16)) }
            }
            _ = try eventually("the connection is forgotten") { try rig.front.current == 0 ? true : nil }
        }
    }

    @Test("both sides close at the same time")
    func simultaneousClose() throws {
        for round in 0..<30 {
            try withPair { _, client, server in
                try client.send("a")
                try server.send("b")
                _ = try server.receive(1)
                _ = try client.receive(1)
                if round % 2 == 0 {
                    client.close()
                    server.close()
                } else {
                    try concurrently({ server.close() }, { client.close() })
                }
            }
        }
    }

    @Test("a server that is killed in mid-transfer looks like no clean end")
    func cutTransfer() throws {
        try withPair(receiveBuffer: 16 << 10) { _, client, server in
            try client.send([UInt8](repeating: 1, count: 10))
            // The request is not read, so closing resets: what a killed process does.
            try concurrently(
                {
                    try server.sendPattern(1, count: 1 << 20)
                    server.close()
                },
                { _ = try client.receive(1000) })
            let end = client.receiveToEndOrError()
            #expect(end.code == ECONNRESET)
        }
    }

    @Test("2,000 short connections leave no descriptor behind")
    func shortConnections() throws {
        let before = try openDescriptors()
        try Rig.run(loops: 2) { rig in
            let backend = try Backend()
            try rig.serve([backend])
            for number in 0..<2000 {
                let (client, server) = try rig.pair(backend)
                try client.send("\(number % 10)")
                #expect(try server.receiveText(1) == "\(number % 10)")
                try server.send("ok")
                server.close()
                #expect(try client.receiveToEnd() == Array("ok".utf8))
                client.close()
            }
            _ = try eventually("the connections are forgotten") { try rig.front.current == 0 ? true : nil }
            #expect(try rig.front.total == 2000)
            #expect(try rig.front.connectErrors == 0)
        }
        // Other tests, with hundreds of their own, run at the same time and end; a leak would be larger, and stay.
        try eventually("the descriptors to be closed") { try openDescriptors() < before + 1000 ? true : nil }
    }

    private func openDescriptors() throws -> Int {
        let directory = try #require(opendir("/proc/self/fd"))
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return count
    }
}
