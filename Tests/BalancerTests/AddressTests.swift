import Links
import Testing

@testable import Balancer

@Suite("Addresses, lists of them and counts by them")
struct AddressTests {
    typealias Range = RoutingTable.AddressRange

    static func list(_ ranges: [([UInt8], UInt8)]) -> AddressList {
        AddressList(ranges.map { Range(bytes: $0.0, prefix: $0.1) })
    }

    static func six(_ high: UInt64, _ low: UInt64) -> ClientAddress { ClientAddress(ipv6: high, low, port: 1) }

    static func bytes(_ high: UInt64, _ low: UInt64) -> [UInt8] {
        [high, low].flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * $0)) } }
    }

    @Test("an IPv4 list takes its addresses, and no others")
    func ipv4() {
        let list = Self.list([
            ([192, 168, 0, 0], 16), ([10, 0, 0, 1], 32), ([10, 0, 0, 2], 31), ([192, 168, 7, 0], 24),
        ])
        let ranges = list.ranges
        let expected: [(UInt32, Bool)] = [
            (0xc0a7_ffff, false), (0xc0a8_0000, true), (0xc0a8_0700, true), (0xc0a8_ffff, true), (0xc0a9_0000, false),
            (0x0a00_0000, false), (0x0a00_0001, true), (0x0a00_0002, true), (0x0a00_0003, true), (0x0a00_0004, false),
            (0, false), (.max, false),
        ]
        for (number, isIn) in expected {
            #expect(ranges.contains(ClientAddress(ipv4: number, port: 9)) == isIn, "\(number)")
            // As an IPv6 socket tells of it.
            #expect(ranges.contains(Self.six(0, 0xffff_0000_0000 | UInt64(number))) == isIn)
        }
        #expect(!ranges.contains(Self.six(0, 0x0a00_0001)))
        withExtendedLifetime(list) {}
    }

    @Test("both ends of a connection are on one machine when they have one address, or loopback ones")
    func oneMachine() {
        func four(_ number: UInt32, _ port: UInt16) -> ClientAddress { ClientAddress(ipv4: number, port: port) }
        let local = four(0x7f00_0001, 80)
        let mapped = Self.six(0, 0xffff_7f00_0001)
        let far = Self.six(0x2001_0db8_0000_0000, 1)
        let table: [(ClientAddress, ClientAddress, Bool)] = [
            (local, four(0x7f00_0001, 4000), true), (local, four(0x7fff_fffe, 4000), true), (local, mapped, true),
            (four(0x0a00_0001, 80), four(0x0a00_0001, 4000), true), (local, four(0x0a00_0001, 80), false),
            (four(0x0a00_0001, 80), four(0x0a00_0002, 80), false), (four(0x7e00_0001, 80), local, false),
            (local, four(0x8000_0001, 80), false),
            (Self.six(0, 1), Self.six(0, 1), true), (far, far, true), (far, Self.six(0, 1), false),
            (Self.six(0, 0x7f00_0001), Self.six(0, 0x7f00_0002), false), (local, Self.six(0, 1), false),
            (ClientAddress(), ClientAddress(), false), (ClientAddress(), local, false),
        ]
        for (one, other, isLocal) in table {
            #expect(one.isOnMachine(of: other) == isLocal, "\(one) and \(other)")
            #expect(other.isOnMachine(of: one) == isLocal, "\(other) and \(one)")
        }
    }

    @Test("an IPv6 list takes its addresses, and no IPv4 ones unless it names them")
    func ipv6() {
        let all = Self.list([(Self.bytes(0, 0), 0)])
        #expect(all.ranges.contains(Self.six(0, 0)))
        #expect(all.ranges.contains(Self.six(0, 1)))
        #expect(all.ranges.contains(Self.six(.max, .max)))
        #expect(all.ranges.contains(Self.six(0, 0xfffe_ffff_ffff)))
        #expect(all.ranges.contains(Self.six(0, 0x1_0000_0000_0000)))
        #expect(!all.ranges.contains(ClientAddress(ipv4: 0, port: 1)))
        #expect(!all.ranges.contains(ClientAddress(ipv4: .max, port: 1)))
        // Blocks that end where the IPv4 addresses end.
        for prefix in [80, 90, 95] as [UInt8] {
            let high: UInt64 = prefix == 80 ? 0 : prefix == 90 ? 0xffc0_0000_0000 : 0xfffe_0000_0000
            let list = Self.list([(Self.bytes(0, high), prefix)])
            #expect(list.ranges.contains(Self.six(0, high)))
            #expect(list.ranges.contains(Self.six(0, 0xfffe_ffff_ffff)))
            #expect(!list.ranges.contains(ClientAddress(ipv4: 0, port: 1)))
            #expect(!list.ranges.contains(ClientAddress(ipv4: .max, port: 1)))
            withExtendedLifetime(list) {}
        }
        let both = Self.list([([0, 0, 0, 0], 0), (Self.bytes(0, 0), 0)])
        #expect(both.ranges.contains(ClientAddress(ipv4: 77, port: 1)))
        let some = Self.list([
            (Self.bytes(0x2001_0db8_0000_0000, 0), 32), (Self.bytes(0, 1), 128),
            (Self.bytes(0, 0xffff_0a00_0000), 104),
        ])
        #expect(some.ranges.contains(Self.six(0x2001_0db8_ffff_ffff, .max)))
        #expect(!some.ranges.contains(Self.six(0x2001_0db9_0000_0000, 0)))
        #expect(some.ranges.contains(Self.six(0, 1)))
        #expect(!some.ranges.contains(Self.six(0, 2)))
        #expect(some.ranges.contains(ClientAddress(ipv4: 0x0aff_ffff, port: 1)))
        #expect(!some.ranges.contains(ClientAddress(ipv4: 0x0b00_0000, port: 1)))
        withExtendedLifetime((all, both, some)) {}
    }

    @Test("an empty list, and entries that make no sense, take no one")
    func nonsense() {
        let list = Self.list([
            ([1, 2, 3], 8), ([], 0), ([10, 0, 0, 0], 33), (Self.bytes(0, 0), 129),
            ([UInt8](repeating: 0, count: 17), 0),
        ])
        #expect(!list.ranges.contains(ClientAddress(ipv4: 0x0a00_0000, port: 1)))
        #expect(!list.ranges.contains(Self.six(0, 0)))
        withExtendedLifetime(list) {}
    }

    @Test("a list agrees with looking at every entry", arguments: [UInt64](1...3))
    func agrees(seed: UInt64) {
        var random = seed
        func next(_ limit: UInt32) -> UInt32 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt32(random >> 33) % limit
        }
        for _ in 0..<50 {
            let entries = (0..<next(20)).map { _ -> (UInt32, UInt32) in
                let prefix = 20 + next(13)
                let mask = prefix == 0 ? 0 : UInt32.max << (32 - prefix)
                return (next(1 << 14) & mask, prefix)
            }
            let list = Self.list(
                entries.map { entry in
                    ((0..<4).map { UInt8(truncatingIfNeeded: entry.0 >> (24 - 8 * $0)) }, UInt8(entry.1))
                })
            for _ in 0..<200 {
                let number = next(1 << 15)
                let expected = entries.contains { entry in number & (UInt32.max << (32 - entry.1)) == entry.0 }
                #expect(list.ranges.contains(ClientAddress(ipv4: number, port: 1)) == expected)
            }
        }
    }

    @Test("the ledger gives as many places as the limit, takes them back, and forgets who has none")
    func ledger() {
        let ledger = AddressLedger()
        #expect(!ledger.isLimited)
        ledger.set(limit: 2)
        let keys = (0..<100).map { ClientAddress(ipv4: $0, port: 0).key }
        for key in keys {
            #expect(ledger.enter(key))
            #expect(ledger.enter(key))
            #expect(!ledger.enter(key))
        }
        #expect(ledger.addressCount == 100)
        for key in keys {
            ledger.leave(key)
            #expect(ledger.enter(key))
            #expect(!ledger.enter(key))
        }
        for key in keys {
            ledger.leave(key)
            ledger.leave(key)
        }
        #expect(ledger.addressCount == 0)
        // One that was never in does no harm.
        ledger.leave(keys[0])
        ledger.set(limit: nil)
        #expect(!ledger.isLimited)
    }

    @Test("loops that count at the same time lose nothing")
    func ledgerOfManyThreads() throws {
        let ledger = AddressLedger()
        ledger.set(limit: .max)
        let body: @Sendable () throws -> Void = {
            for number in 0..<5000 {
                let key = ClientAddress(ipv4: UInt32(number % 7), port: 0).key
                _ = ledger.enter(key)
                ledger.leave(key)
            }
        }
        try concurrently(body, body, body)
        #expect(ledger.addressCount == 0)
    }
}
