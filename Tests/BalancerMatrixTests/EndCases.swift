import Glibc
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    @Suite("Ends and resets go through as they are")
    struct Ends {
        @Test("one side ends in the middle, and 10 MB still flow the other way", arguments: [true, false])
        func halfClose(byClient: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let (ending, other) = byClient ? (client, server) : (server, client)
                let size = 10 << 20
                let pusher = try Worker {
                    var pattern = Pattern(1)
                    try other.send(&pattern, size)
                    other.finishWriting()
                }
                var pattern = Pattern(1)
                try ending.receive(&pattern, 1 << 20)
                try ending.send("that is all")
                ending.finishWriting()
                #expect(try other.receiveToEnd() == Wire.Whole("that is all", .orderly))
                #expect(try ending.receive(&pattern) == .orderly)
                #expect(pattern.position == size)
                try pusher.join()
            }
        }

        @Test("one side ends at once, and the other answers 10 MB afterwards", arguments: [true, false])
        func earlyHalfClose(byClient: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let (ending, other) = byClient ? (client, server) : (server, client)
                ending.finishWriting()
                #expect(try other.receiveToEnd() == Wire.Whole("", .orderly))
                let size = 10 << 20
                try atOnce(
                    {
                        var pattern = Pattern(1)
                        try other.send(&pattern, size)
                        other.close()
                    },
                    { try Streams.expectAll(ending, 1, size) })
            }
        }

        @Test("a server sends and closes at once: a slow reader gets every byte", arguments: [false, true])
        func sendAndClose(clientEndsFirst: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair(Wire.Manner(receiveBuffer: 16 << 10))
                if clientEndsFirst {
                    client.finishWriting()
                    #expect(try server.receiveToEnd() == Wire.Whole("", .orderly))
                }
                let size = 4 << 20
                try atOnce(
                    {
                        var pattern = Pattern(1)
                        try server.send(&pattern, size)
                        server.close()
                    },
                    {
                        var pattern = Pattern(1)
                        for _ in 0..<512 {
                            usleep(500)
                            try client.receive(&pattern, size / 512)
                        }
                        let end = try client.receiveToEnd()
                        guard end == Wire.Whole("", .orderly) else { throw TestFailure("after the last byte: \(end)") }
                    })
            }
        }

        @Test("a short answer and its end come in one piece, many times")
        func answerAndClose() throws {
            try Stage.run { stage in
                for _ in 0..<200 {
                    let (client, server) = try stage.pair()
                    try server.send("answer")
                    server.close()
                    try #require(try client.receiveToEnd() == Wire.Whole("answer", .orderly))
                }
            }
        }

        @Test("a server's reset after its last bytes")
        func resetByServer() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try server.send("partial")
                #expect(try client.receiveText(4) == "part")
                server.reset()
                let whole = try client.receiveToEnd()
                #expect(whole.text == "ial")
                let expected = Stage.rightly(
                    supd: Wire.End.reset, haproxy: .orderly,
                    because:
                        "it ends the client's stream with a FIN whatever its server did; a cut answer then looks whole")
                #expect(whole.end == expected)
            }
        }

        @Test("a client's reset after its last bytes")
        func resetByClient() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try client.send("partial")
                #expect(try server.receiveText(4) == "part")
                client.reset()
                let whole = try server.receiveToEnd()
                #expect(whole.text == "ial")
                #expect(whole.end == .reset)
            }
        }

        @Test("a reset after the other side had ended", arguments: [true, false])
        func resetAfterHalfClose(byClient: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let (resetting, other) = byClient ? (client, server) : (server, client)
                other.finishWriting()
                #expect(try resetting.receiveToEnd() == Wire.Whole("", .orderly))
                resetting.reset()
                let expected = Stage.rightly(
                    supd: Wire.End.reset, haproxy: .orderly,
                    because: "it passes no reset on once the other side has ended")
                #expect(try other.receiveToEnd().end == expected)
            }
        }

        @Test("both sides end at the same time", arguments: [true, false])
        func simultaneousClose(whileStopped: Bool) throws {
            try Stage.run { stage in
                for round in 0..<30 {
                    let (client, server) = try stage.pair()
                    try client.send("question")
                    try #require(try server.receiveText(8) == "question")
                    let endBoth = {
                        try client.send("up")
                        try server.send("down")
                        if round % 2 == 0 {
                            try atOnce({ client.finishWriting() }, { server.finishWriting() })
                        } else {
                            try atOnce({ server.finishWriting() }, { client.finishWriting() })
                        }
                    }
                    // All that happens meanwhile comes in one batch of events.
                    if whileStopped { try stage.whileStopped(endBoth) } else { try endBoth() }
                    try #require(try server.receiveToEnd() == Wire.Whole("up", .orderly))
                    try #require(try client.receiveToEnd() == Wire.Whole("down", .orderly))
                }
            }
        }

        @Test("both sides are gone when the proxy looks", arguments: [true, false])
        func bothGone(byReset: Bool) throws {
            try Stage.run { stage in
                let pairs = try (0..<50).map { _ in try stage.pair() }
                try stage.whileStopped {
                    for (client, server) in pairs {
                        try client.send("up")
                        try server.send("down")
                        if byReset {
                            client.reset()
                            server.reset()
                        } else {
                            client.close()
                            server.close()
                        }
                    }
                }
            }
        }

        @Test("400 connections are reset at once", arguments: [true, false])
        func manyResets(byClients: Bool) throws {
            try Stage.run { stage in
                let pairs = try (0..<400).map { _ in try stage.pair() }
                try stage.whileStopped { for (client, server) in pairs { (byClients ? client : server).reset() } }
                let expected =
                    byClients
                    ? Wire.End.reset
                    : Stage.rightly(supd: .reset, haproxy: .orderly, because: "it passes no server's reset on")
                for (client, server) in pairs {
                    try #require(try (byClients ? server : client).receiveToEnd() == Wire.Whole("", expected))
                }
            }
        }

        @Test("an early answer arrives although the client is still sending")
        func earlyAnswer() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                var pattern = Pattern(1)
                try client.send(&pattern, 1 << 20)
                var seen = Pattern(1)
                try server.receive(&seen, 1000)
                try server.send("413 too large")
                // With unread bytes this is a FIN and then a RST.
                server.close()
                let sender = try Worker { [pattern] in
                    var pattern = pattern
                    // Until it is told that nobody reads: an answer that is there must be readable then, too.
                    while client.sendSome(&pattern, 64 << 10) != nil, pattern.position < 8 << 20 { usleep(500) }
                }
                let whole = try client.receiveToEnd()
                try sender.join()
                let mayBeLost = Stage.rightly(
                    supd: false, haproxy: true,
                    because:
                        "it gives both ways up when the server takes no more, and may not have read its answer")
                // All of it or nothing, and never a part.
                #expect(whole.text == "413 too large" || mayBeLost && whole.text.isEmpty)
            }
        }

        @Test("a server that is killed in mid-transfer: what has come is right, and its end", arguments: [true, false])
        func killedInTransfer(leavesUnread: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                if leavesUnread {
                    try client.send("a request that nobody reads")
                    try #require(server.isReadable(within: 30_000))
                }
                // Another process that has the server's socket, and nobody else; it says the same line for ever.
                let line = (0..<10_007).map { String($0) }.joined(separator: ",")
                let writer = try ChildProcess(
                    "/bin/sh", ["sh", "-c", "exec yes \"$1\" >&3", "sh", line], environment: ["PATH=/usr/bin:/bin"],
                    descriptors: [try server.handOver()], limit: nil)
                var lines = Repetition(of: line + "\n")
                #expect(try lines.receive(from: client, atLeast: 8 << 20) == nil)
                writer.signal(SIGKILL)
                #expect(try writer.waitForEnd() == .signal(SIGKILL, coreDumped: false), "it was still writing")
                let end = try lines.receive(from: client, atLeast: .max)
                // The kernel resets what had unread bytes; without any it sends what was written, and a FIN.
                let expected =
                    leavesUnread
                    ? Stage.rightly(supd: Wire.End.reset, haproxy: .orderly, because: "it passes no server's reset on")
                    : .orderly
                #expect(end == expected)
            }
        }

        /// A text that comes again and again.
        private struct Repetition {
            private let period: Int
            private let bytes: [UInt8]
            private var position = 0

            init(of text: String) {
                period = text.utf8.count
                // A window at every place of the period.
                let count = period + Pattern.window
                bytes = Array(repeating: Array(text.utf8), count: count / period + 1).flatMap { $0 }
            }

            /// Receives and compares until so many bytes were seen, or to the end, which it answers.
            mutating func receive(from wire: Wire, atLeast count: Int) throws -> Wire.End? {
                while position < count {
                    switch wire.receiveOnce() {
                    case .nothing: throw TestFailure("nothing came in time after \(position) bytes")
                    case .end(let end): return end
                    case .bytes(let piece):
                        let start = position % period
                        let isRight = bytes.withUnsafeBytes { all in
                            UnsafeRawBufferPointer(rebasing: all[start..<start + piece.count]).isEqual(to: piece)
                        }
                        guard isRight else {
                            throw TestFailure("wrong bytes among the \(piece.count) after \(position)")
                        }
                        position += piece.count
                    }
                }
                return nil
            }
        }

        @Test(
            "a server's reset that the kernel tells of in the middle of a splice stays a reset, and its end an end",
            .enabled(if: getuid() == 0, "only root may let a socket vanish without a FIN"), arguments: [false, true])
        func resetWithinSplice(afterEnd: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                // Bulk, so that it moves through a pipe from now on.
                let size = 8 << 20
                try atOnce(
                    {
                        var pattern = Pattern(1)
                        try client.send(&pattern, size)
                    },
                    {
                        var pattern = Pattern(1)
                        try server.receive(&pattern, size)
                    })
                try server.send("last words")
                try stage.whileStopped {
                    // splice(2) sends what is in a pipe sixteen buffers at a time. The first are answered by a reset, and the
                    // next take its error away, of which the number of bytes that the call answers tells nothing.
                    try client.sendPages(64)
                    if afterEnd { server.close() } else { try server.vanish() }
                }
                let expected =
                    afterEnd
                    ? .orderly
                    : Stage.rightly(supd: Wire.End.reset, haproxy: .orderly, because: "it passes no server's reset on")
                let whole = try client.receiveToEnd()
                #expect(whole == Wire.Whole("last words", expected))
            }
        }

        @Test("a server that is killed before it has said anything looks like no clean end")
        func killedServer() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try client.send("a request that nobody reads")
                try #require(server.isReadable(within: 30_000))
                // Another process that has the server's socket, and nobody else.
                let holder = try ChildProcess(
                    "/bin/sleep", ["sleep", "1000"], environment: [], descriptors: [try server.handOver()], limit: nil)
                holder.signal(SIGKILL)
                try holder.waitForEnd()
                let expected = Stage.rightly(
                    supd: Wire.End.reset, haproxy: .orderly,
                    because: "it passes no reset on, and a killed process's kernel resets what had unread bytes")
                #expect(try client.receiveToEnd() == Wire.Whole("", expected))
            }
        }
    }
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes are the same, by memcmp(3).
    fileprivate func isEqual(to other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let base = baseAddress, let otherBase = other.baseAddress else { return count == 0 }
        return memcmp(base, otherBase, count) == 0
    }
}
