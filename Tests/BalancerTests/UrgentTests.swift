import Glibc
import TestSupport
import Testing

@testable import Balancer

@Suite("Urgent data is kept in the stream")
struct UrgentTests {
    @Test("an urgent byte with nothing behind it arrives", arguments: [true, false])
    func alone(fromClient: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            let (writer, reader) = fromClient ? (client, server) : (server, client)
            try writer.send("before")
            #expect(try reader.receiveText(6) == "before")
            for byte in "!?" {
                try writer.sendUrgent(byte.asciiValue ?? 0)
                #expect(try reader.receiveText(1) == String(byte))
            }
        }
    }

    @Test("urgent bytes in a bulk transfer neither stop nor shorten it", arguments: [true, false])
    func inBulk(fromClient: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let (client, server) = try rig.pair(backend)
            let (writer, reader) = fromClient ? (client, server) : (server, client)
            let (rounds, size) = (8, 1 << 20)
            try concurrently(
                {
                    for round in 0..<rounds {
                        try writer.sendPattern(UInt64(round), count: size)
                        try writer.sendUrgent(UInt8(round))
                    }
                    writer.finishWriting()
                },
                {
                    for round in 0..<rounds {
                        try reader.receivePattern(UInt64(round), count: size)
                        guard try reader.receive(1) == [UInt8(round)] else { throw TestFailure("round \(round)") }
                    }
                    guard try reader.receiveToEnd().isEmpty else { throw TestFailure("bytes past the end") }
                })
        }
    }
}
