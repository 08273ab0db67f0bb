import Foundation
import Links
import Platform
import TestSupport
import Testing

/// What supervisor and balancer say to each other, whole, cut, changed and made up.
@Suite("The balancer's link") struct BalancerLinkTests {
    private static let table: RoutingTable = {
        var full = RoutingTable.Pool(
            service: "api \u{1F600} \"quoted\" \n",
            fronts: [
                RoutingTable.Front(address: "127.0.0.1:8080", listeners: ["a", "b"]),
                RoutingTable.Front(address: "unix:/run/ü.sock", listeners: []),
            ],
            endpoints: [
                RoutingTable.Endpoint(id: .max, instance: "api/1", port: .max, state: .active),
                RoutingTable.Endpoint(id: 0, instance: "", port: 0, state: .draining),
                RoutingTable.Endpoint(id: 1, instance: "api/3", port: 1, state: .parked),
            ],
            emptiness: .refuse, queueTimeout: .min, holdUntil: .max, connectTimeout: 0, drainTimeout: .max)
        full.idleTimeout = 1
        full.finTimeout = 0
        full.algorithm = .source
        full.slowStart = .max
        full.maxConnections = .max
        full.maxQueue = 0
        full.proxyProtocol = .v2
        full.logsSessions = true
        full.announcesWaiting = true
        full.fronts[0].maxConnections = 7
        full.fronts[0].maxConnectionsPerAddress = .max
        full.fronts[0].allow = [
            RoutingTable.AddressRange(bytes: [10, 0, 0, 0], prefix: 8),
            RoutingTable.AddressRange(bytes: Array(repeating: 255, count: 16), prefix: 128),
        ]
        full.fronts[0].acceptsProxyProtocol = true
        full.fronts[0].options.keepAliveSeconds = nil
        full.fronts[0].options.userTimeoutMilliseconds = 1
        full.fronts[0].options.backlog = .max
        full.fronts[0].options.deferAcceptSeconds = 3
        let bare = RoutingTable.Pool(
            service: "", fronts: [], endpoints: [], emptiness: .hold, queueTimeout: 0, connectTimeout: 0,
            drainTimeout: 0)
        return RoutingTable(revision: .max, loops: 2, pools: [full, bare])
    }()

    private static let counters: BalancerCounters = {
        var counts = BalancerCounters.Counts()
        counts.current = 1
        counts.total = .max
        counts.bytesIn = 1 << 53
        counts.connectTime = (1 << 53) + 1
        counts.ends = ["--": 1, "CD": .max, "": 0]
        var aside = BalancerCounters.Endpoint(instance: "api/1", counts: counts)
        aside.setAsideFor = .min
        aside.failedAgo = .max
        return BalancerCounters(
            fronts: [BalancerCounters.Front(service: "api", address: "[::]:80", counts: counts)],
            endpoints: [aside, BalancerCounters.Endpoint(instance: "api/2", counts: BalancerCounters.Counts())],
            acceptPauses: .max)
    }()

    static let requests: [BalancerRequest] = [
        .hello(version: .min), .listener(id: "api 127.0.0.1:8080 \u{0}"), .table(table),
        .table(RoutingTable(revision: 0, loops: 0, pools: [])), .queryCounters(query: .max),
        .sessionLog(service: "api"),
    ]

    static let notices: [BalancerNotice] = [
        .hello(version: .max, listeners: ["a", "", "\u{1F600}"], revision: 0), .applied(revision: .max),
        .waiting(service: "api \u{0}"),
        .drained(endpoint: .max), .counters(query: 0, counters), .counters(query: 1, BalancerCounters()),
        .log(level: -1, text: "line\n\u{7F}"),
    ]

    /// A packet gives a message, which then is the same after it was sent on, or an error of the protocol: never a
    /// trap, nor anything else. Answers whether it gave a message.
    @discardableResult
    private func judge<Message: LinkMessage & Equatable>(_ type: Message.Type, _ packet: [UInt8]) throws -> Bool {
        let message: Message
        do throws(LinkError) {
            message = try LinkCodec.decode(type, packet: packet, descriptors: []).message
        } catch {
            guard case .malformed = error else {
                if case .tooLarge = error { return false }
                throw Unexpected("\(error) for \(String(decoding: packet, as: UTF8.self))")
            }
            return false
        }
        let again = try LinkCodec.encode(message)
        let decoded = try LinkCodec.decode(
            type, packet: again.packet, descriptors: [again.file?.descriptor].compactMap(\.self))
        #expect(decoded.message == message, "\(String(decoding: packet, as: UTF8.self))")
        return true
    }

    @Test("gives back every message as it was")
    func roundTrip() throws {
        for request in Self.requests {
            let packet = try LinkCodec.encode(request).packet
            #expect(try LinkCodec.decode(BalancerRequest.self, packet: packet, descriptors: []).message == request)
            // Not as the other side's.
            #expect(try request == .hello(version: .min) || !judge(BalancerNotice.self, packet), "\(request)")
        }
        for notice in Self.notices {
            let packet = try LinkCodec.encode(notice).packet
            #expect(try LinkCodec.decode(BalancerNotice.self, packet: packet, descriptors: []).message == notice)
        }
    }

    @Test("carries a table that is too long for a packet in a file")
    func longTable() throws {
        var table = Self.table
        table.pools = Array(repeating: table.pools[0], count: 300)
        let encoded = try LinkCodec.encode(BalancerRequest.table(table))
        let file = try #require(encoded.file)
        let decoded = try LinkCodec.decode(
            BalancerRequest.self, packet: encoded.packet, descriptors: [file.descriptor])
        #expect(decoded.message == .table(table))
        #expect(decoded.descriptors.isEmpty)
    }

    @Test("refuses every truncation, and bytes after the end")
    func truncations() throws {
        for request in Self.requests {
            let packet = try LinkCodec.encode(request).packet
            for length in 0..<packet.count {
                #expect(try !judge(BalancerRequest.self, Array(packet.prefix(length))), "\(request), \(length) bytes")
            }
            for byte in [0, UInt8(ascii: "x"), UInt8(ascii: "}")] {
                #expect(try !judge(BalancerRequest.self, packet + [byte]))
            }
        }
        for notice in Self.notices {
            let packet = try LinkCodec.encode(notice).packet
            for length in 0..<packet.count {
                #expect(try !judge(BalancerNotice.self, Array(packet.prefix(length))), "\(notice), \(length) bytes")
            }
            for byte in [0, UInt8(ascii: "x"), UInt8(ascii: "}")] {
                #expect(try !judge(BalancerNotice.self, packet + [byte]))
            }
        }
    }

    @Test(
        "refuses what is no message of the protocol",
        arguments: [
            "", " ", "#", "#\u{1}", "#\u{2}12345678", "#\u{7F}", "{}", "[]", "0", "null", "\"table\"",
            #"{"nothing":{}}"#, #"{"hello":{}}"#, #"{"hello":{"version":"1"}}"#, #"{"hello":{"version":1e99}}"#,
            #"{"hello":{"listeners":null,"revision":-1}}"#, #"{"hello":{"version":9223372036854775808}}"#,
            #"{"listener":{"id":null}}"#, #"{"listener":{"id":["a"]}}"#, #"{"table":{}}"#, #"{"table":{"_0":{}}}"#,
            #"{"table":{"_0":{"revision":1,"loops":1,"pools":{}}}}"#,
            #"{"table":{"_0":{"revision":-1,"loops":1,"pools":[]}}}"#,
            #"{"queryCounters":{"query":18446744073709551616}}"#, #"{"queryCounters":{"query":1.5}}"#,
            #"{"queryCounters":{"query":1},"listener":{"id":"a"}}"#, #"{"sessionLog":{}}"#,
            #"{"applied":{"revision":null}}"#, #"{"drained":{"endpoint":-1}}"#, #"{"counters":{"query":1}}"#,
            #"{"counters":{"query":1,"_1":{"fronts":[],"endpoints":[]}}}"#, #"{"log":{"level":"3","text":"x"}}"#,
            "@", "@-1", "@x", "@1", "@0", "@18446744073709551615", "@67108865", String(repeating: "[", count: 100_000),
            String(repeating: #"{"table":"#, count: 10_000),
        ])
    func nonsense(text: String) throws {
        #expect(try !judge(BalancerRequest.self, Array(text.utf8)))
        #expect(try !judge(BalancerNotice.self, Array(text.utf8)))
    }

    /// As the codec writes it, but with the keys in an order that is the same in every process: a seed replays.
    private static func replayable(_ message: some LinkMessage) throws -> [UInt8] {
        let packet = try LinkCodec.encode(message).packet
        guard packet.first == UInt8(ascii: "{") else { return packet }
        let object = try JSONSerialization.jsonObject(with: Data(packet))
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try JSONSerialization.data(withJSONObject: object, options: options))
    }

    @Test("survives random changes of messages, cuts and pieces of others")
    func randomChanges() throws {
        let packets = try Self.requests.map(Self.replayable) + Self.notices.map(Self.replayable)
        for packet in packets {
            #expect(try judge(BalancerRequest.self, packet) || judge(BalancerNotice.self, packet))
        }
        var understood = 0
        for seed in 0..<60 as Range<UInt64> { understood += try change(packets, seed: seed) }
        // Else nothing of this would have come through to where a message is made.
        #expect(understood > 0)
    }

    /// Answers how many of the changed packets were messages nevertheless.
    private func change(_ packets: [[UInt8]], seed: UInt64) throws -> Int {
        var random = SeededRandom(seed: seed)
        var understood = 0
        for original in packets {
            for _ in 0..<8 {
                var packet = original
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let place = Int.random(in: 0..<packet.count, using: &random)
                    switch Int.random(in: 0..<5, using: &random) {
                    case 0: packet[place] = UInt8.random(in: 0...255, using: &random)
                    // A digit is the likeliest to give another message.
                    case 1: packet[place] = UInt8.random(in: UInt8(ascii: "0")...UInt8(ascii: "9"), using: &random)
                    case 2: packet.remove(at: place)
                    case 3: packet.insert(UInt8.random(in: 0...255, using: &random), at: place)
                    default:
                        let other = packets[Int.random(in: 0..<packets.count, using: &random)]
                        let start = Int.random(in: 0..<other.count, using: &random)
                        packet.replaceSubrange(place..., with: other[start...])
                    }
                    if packet.isEmpty { packet = [0] }
                }
                if try judge(BalancerRequest.self, packet) { understood += 1 }
                if try judge(BalancerNotice.self, packet) { understood += 1 }
            }
        }
        return understood
    }

    @Test("survives random bytes", arguments: 0..<60)
    func randomBytes(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let beginnings: [[UInt8]] = [
            [], [UInt8(ascii: "#")], [UInt8(ascii: "@")], [UInt8(ascii: "{")], Array(#"{"table":{"_0":"#.utf8),
            Array(#"{"counters":{"query":"#.utf8),
        ]
        for beginning in beginnings {
            for limit in [1, 8, 64, 4096] {
                let count = Int.random(in: 0...limit, using: &random)
                let packet = beginning + (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                #expect(try !judge(BalancerRequest.self, packet))
                #expect(try !judge(BalancerNotice.self, packet))
            }
        }
    }
}
