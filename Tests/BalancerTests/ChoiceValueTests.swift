import Links
import Platform
import Testing

@testable import Balancer

@Suite("Rendezvous hashing moves only what it must")
struct RendezvousTests {
    private func instances(_ count: Int) -> [UInt64] {
        (1...count).map { Rendezvous.hash(instance: "api/\($0)") }
    }

    private func choice(_ client: UInt64, _ instances: [UInt64]) -> Int? {
        instances.indices.max {
            Rendezvous.weight(client: client, instance: instances[$0])
                < Rendezvous.weight(client: client, instance: instances[$1])
        }
    }

    private let clients: [UInt64] = (0..<20_000).compactMap { number in
        ClientAddress.ipv4(10, 0, UInt8(number >> 8 & 255), UInt8(number & 255))?.hash
    }

    @Test("clients spread evenly", arguments: [2, 3, 10, 50])
    func even(count: Int) {
        var shares = Array(repeating: 0, count: count)
        for client in clients { if let index = choice(client, instances(count)) { shares[index] += 1 } }
        let fair = Double(clients.count) / Double(count)
        // Five times the standard deviation.
        for share in shares { #expect(abs(Double(share) - fair) < 5 * fair.squareRoot()) }
    }

    @Test("an instance less moves only its own clients, to all others", arguments: [0, 4, 9])
    func removal(removed: Int) {
        let before = instances(10)
        var after = before
        // Its place in the table means nothing.
        after.remove(at: removed)
        var heirs: Set<Int> = []
        for client in clients {
            guard let old = choice(client, before), let new = choice(client, after) else { continue }
            if old == removed { heirs.insert(new) } else { #expect(after[new] == before[old]) }
        }
        #expect(heirs.count == 9)
    }

    @Test("one more takes its share and moves no other client")
    func addition() {
        let before = instances(10)
        let after = instances(11)
        var moved = 0
        for client in clients {
            guard let old = choice(client, before), let new = choice(client, after) else { continue }
            if old != new {
                #expect(new == 10)
                moved += 1
            }
        }
        #expect(abs(moved - clients.count / 11) < 250)
    }

    @Test("an IPv4 client is the same on an IPv6 socket, and on any port")
    func mapped() throws {
        let plain = try #require(ClientAddress.ipv4(192, 168, 1, 2))
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 168, 1, 2]
        let other = try #require(mapped.withUnsafeBytes { ClientAddress(bytes: $0, port: 4711) })
        #expect(other.family == .ipv4)
        #expect(other.hash == plain.hash)
        #expect(other.port == 4711)
        let loopback: [UInt8] = Array(repeating: 0, count: 15) + [1]
        #expect(loopback.withUnsafeBytes { ClientAddress(bytes: $0, port: 1) }?.family == .ipv6)
        #expect([UInt8](repeating: 0, count: 5).withUnsafeBytes { ClientAddress(bytes: $0, port: 1) } == nil)
        #expect(try #require(ClientAddress.ipv4(192, 168, 1, 3)).hash != plain.hash)
    }
}

extension ClientAddress {
    static func ipv4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) -> ClientAddress? {
        [a, b, c, d].withUnsafeBytes { ClientAddress(bytes: $0, port: 1) }
    }
}

@Suite("A new endpoint's share ramps up")
struct SlowStartTests {
    @Test(
        "from a tenth, evenly, to all",
        arguments: [
            (0, 103), (-5, 103), (50, 103), (250, 256), (500, 512), (999, 1022), (1000, 1024), (5000, 1024),
        ] as [(Int64, UInt32)])
    func ramp(elapsed: Int64, share: UInt32) {
        #expect(SlowStart.share(activated: 7_000, duration: 1000, now: 7_000 + elapsed) == share)
    }

    @Test(
        "what counts is its part of the oldest one's share",
        arguments: [
            // Ages of the oldest and of this one, of 1000.
            (5000, 5000, 1024), (5000, 500, 512), (5000, 0, 103), (500, 500, 1024), (500, 250, 512), (500, 0, 206),
            (200, 100, 517), (50, 0, 1024), (0, 0, 1024), (-5, -5, 1024), (0, 500, 1024),
        ] as [(Int64, Int64, UInt32)])
    func relative(oldest: Int64, own: Int64, share: UInt32) {
        let now: Int64 = 7_000
        #expect(SlowStart.share(activated: now - own, oldest: now - oldest, duration: 1000, now: now) == share)
    }

    @Test("no instants and durations overflow", arguments: [0, 1, 1 << 53, .max] as [Int64])
    func extremes(duration: Int64) {
        for activated in [Int64.min, -1, 0, .max] {
            for now in [Int64.min, -1, 0, .max] {
                let share = SlowStart.share(activated: activated, duration: duration, now: now)
                #expect((SlowStart.least...SlowStart.full).contains(share))
                for oldest in [Int64.min, 0, activated] {
                    let part = SlowStart.share(activated: activated, oldest: oldest, duration: duration, now: now)
                    #expect((share...SlowStart.full).contains(part))
                }
            }
        }
        #expect(SlowStart.share(activated: 0, duration: .max, now: .max / 2) == 512)
    }

    @Test("it takes part in as many choices as its share says", arguments: [103, 512, 1000, 1024] as [UInt32])
    func draws(share: UInt32) {
        var random = ChoiceRandom(seed: 42)
        let taken = (0..<100_000).count { _ in SlowStart.takesPart(share: share, random: &random) }
        let expected = Double(share) / 1024 * 100_000
        #expect(abs(Double(taken) - expected) < 700)
        if share == 1024 { #expect(taken == 100_000) }
    }
}

@Suite("Failed connects set an endpoint aside")
struct EndpointHealthTests {
    private static let second: Int64 = 1_000_000_000

    /// The value in a variable that expectations may change.
    private final class Subject {
        var value = EndpointHealth()

        func failed(began: Int64, now: Int64, mayBeSetAside: Bool) -> Bool {
            value.failed(began: began, now: now, mayBeSetAside: mayBeSetAside)
        }
        func tried(now: Int64, trialTime: Int64) -> Bool { value.tried(now: now, trialTime: trialTime) }
        func untried(began: Int64) -> Bool { value.untried(began: began) }
        func succeeded() -> Bool { value.succeeded() }
        func putBack() -> Bool { value.putBack() }
        func nextTrial(trialTime: Int64) -> Int64? { value.nextTrial(trialTime: trialTime) }
        var state: EndpointHealth.State { value.state }
        var setAsideSince: Int64? { value.setAsideSince }
    }

    /// Within the units in which instants are kept.
    private func near(_ left: Int64?, _ right: Int64) -> Bool {
        guard let left else { return false }
        return abs(left - right) <= 1024
    }

    @Test("for 1 s, then twice as long each time it fails again, 60 s at most")
    func doubling() {
        let health = Subject()
        var now = 5 * Self.second
        #expect(health.failed(began: now, now: now, mayBeSetAside: true))
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] as [Int64] {
            #expect(health.state == .setAside)
            #expect(near(health.nextTrial(trialTime: 1), now + seconds * Self.second))
            #expect(near(health.setAsideSince, now))
            #expect(!health.tried(now: now + seconds * Self.second - 2048, trialTime: Self.second))
            now += seconds * Self.second
            #expect(health.tried(now: now, trialTime: Self.second))
            #expect(health.failed(began: now, now: now, mayBeSetAside: false))
        }
    }

    @Test("one good connect clears it, and it begins with 1 s again")
    func clears() {
        let health = Subject()
        for _ in 0..<3 {
            #expect(health.failed(began: 0, now: 0, mayBeSetAside: true))
            #expect(health.tried(now: Self.second, trialTime: Self.second))
            #expect(health.failed(began: Self.second, now: Self.second, mayBeSetAside: true))
            #expect(health.succeeded())
            #expect(!health.succeeded())
            #expect(health.value == EndpointHealth())
        }
    }

    @Test("several connects that were under way count once, and those from before its trial do not end the trial")
    func stale() {
        let health = Subject()
        let now = 10 * Self.second
        #expect(health.failed(began: now - 5, now: now, mayBeSetAside: true))
        #expect(!health.failed(began: now - 4, now: now + 1, mayBeSetAside: true))
        #expect(near(health.nextTrial(trialTime: 0), now + Self.second))
        #expect(health.tried(now: now + Self.second, trialTime: Self.second))
        #expect(!health.failed(began: now - 3, now: now + Self.second + 10, mayBeSetAside: true))
        #expect(health.state == .onTrial)
        #expect(health.failed(began: now + Self.second, now: now + 2 * Self.second, mayBeSetAside: true))
        #expect(near(health.nextTrial(trialTime: 0), now + 4 * Self.second))
    }

    @Test("one connection tries it, another one after trialTime if that one has not come back")
    func trial() {
        let health = Subject()
        #expect(!health.tried(now: 0, trialTime: 1))
        #expect(health.failed(began: 0, now: 0, mayBeSetAside: true))
        #expect(health.tried(now: Self.second, trialTime: 3 * Self.second))
        #expect(!health.tried(now: Self.second, trialTime: 3 * Self.second))
        #expect(!health.tried(now: 4 * Self.second - 2048, trialTime: 3 * Self.second))
        #expect(health.tried(now: 4 * Self.second, trialTime: 3 * Self.second))
    }

    @Test("a trial that could not even begin leaves it to the next connection")
    func untried() {
        let health = Subject()
        #expect(!health.untried(began: 0))
        #expect(health.failed(began: 0, now: 0, mayBeSetAside: true))
        #expect(!health.untried(began: 0))
        #expect(health.tried(now: 2 * Self.second, trialTime: 3 * Self.second))
        // Somebody else's trial, begun at another time, goes on.
        #expect(!health.untried(began: Self.second))
        #expect(health.untried(began: 2 * Self.second))
        #expect(health.tried(now: 2 * Self.second, trialTime: 3 * Self.second))
    }

    @Test("it stays in service when too many others are aside already")
    func tooMany() {
        let health = Subject()
        #expect(!health.failed(began: 0, now: 0, mayBeSetAside: false))
        #expect(health.value == EndpointHealth())
        #expect(health.failed(began: 0, now: 0, mayBeSetAside: true))
        #expect(health.putBack())
        #expect(health.state == .inService)
        #expect(!health.putBack())
        // What is held against it stays until it takes a connect.
        #expect(health.failed(began: 0, now: 0, mayBeSetAside: true))
        #expect(near(health.nextTrial(trialTime: 0), 2 * Self.second))
    }

    @Test("one that fails and stays in service says when, until it takes a connect")
    func failsInService() {
        let health = Subject()
        var now = 5 * Self.second
        #expect(health.value.failedLast == nil)
        for _ in 0..<3 {
            now += Self.second
            #expect(!health.failed(began: now - 1, now: now, mayBeSetAside: false))
            #expect(near(health.value.failedLast, now))
            #expect(health.setAsideSince == nil && health.nextTrial(trialTime: 1) == nil)
            #expect(EndpointHealth(bits: health.value.bits) == health.value)
        }
        #expect(health.failed(began: now, now: now, mayBeSetAside: true))
        #expect(health.value.failedLast == nil)
        // Back because others have gone: it fails as before.
        #expect(health.putBack())
        #expect(near(health.value.failedLast, now))
        #expect(EndpointHealth(bits: health.value.bits) == health.value)
        #expect(health.succeeded())
        #expect(health.value.failedLast == nil)
    }

    @Test("it fits in a word")
    func word() {
        #expect(EndpointHealth().bits == 0)
        let health = Subject()
        for step in 0..<20 as Range<Int64> {
            let now = step * 100 * Self.second + 123_456_789
            #expect(EndpointHealth(bits: health.value.bits) == health.value)
            if step % 2 == 0 {
                #expect(health.failed(began: now, now: now, mayBeSetAside: true))
            } else {
                #expect(health.tried(now: now, trialTime: Self.second))
            }
        }
    }
}

@Suite("What outlives tables is forgotten in time")
struct TableCompilerTests {
    @Test("a generation is remembered while a table in force has it or a loop has connections of it")
    func generations() throws {
        var compiler = TableCompiler(loops: 1)
        var missing: [String] = []
        var last: Routing?
        for id in 1...50 as ClosedRange<UInt64> {
            let endpoint = RoutingTable.Endpoint(id: id, instance: "api/1", port: 1, state: .active)
            let table = RoutingTable(revision: id, loops: 1, pools: [Rig.pool([endpoint])])
            last = compiler.compile(table, number: id, listeners: [:], missing: &missing)
            compiler.forget(except: table)
            #expect(compiler.generationCount == 1)
        }
        let share = try #require(last?.pools.first?.endpoints.first?.share)
        let empty = RoutingTable(revision: 99, loops: 1, pools: [Rig.pool([])])
        last = compiler.compile(empty, number: 99, listeners: [:], missing: &missing)
        compiler.forget(except: empty)
        #expect(compiler.generationCount == 1)
        let endpoint = RoutingTable.Endpoint(id: 50, instance: "api/1", port: 1, state: .active)
        let table = RoutingTable(revision: 100, loops: 1, pools: [Rig.pool([endpoint])])
        last = compiler.compile(table, number: 100, listeners: [:], missing: &missing)
        #expect(last?.pools.first?.endpoints.first?.share === share)
    }

    @Test("it is as old as its first table that had it active")
    func activated() throws {
        var compiler = TableCompiler(loops: 1)
        var missing: [String] = []
        for (now, state) in [(5, .parked), (7, .active), (9, .parked), (11, .active)]
            as [(Int64, RoutingTable.Endpoint.State)]
        {
            let endpoint = RoutingTable.Endpoint(id: 1, instance: "api/1", port: 1, state: state)
            let table = RoutingTable(revision: 1, loops: 1, pools: [Rig.pool([endpoint])])
            let routing = compiler.compile(table, number: 1, listeners: [:], missing: &missing, now: now)
            if now > 5 { #expect(routing.pools.first?.endpoints.first?.activated == 7) }
        }
    }

    @Test(
        "loops have their turn",
        arguments: [
            (0, 0b1, 0), (0, 0b10, 1), (1, 0b11, 0), (0, 0b11, 1), (63, 0b101, 0), (5, 1 << 63, 63), (62, 1 << 63, 63),
            (2, 0b10011, 4),
        ] as [(Int, UInt64, Int)])
    func turns(last: Int, loops: UInt64, next: Int) {
        #expect(nextLoop(after: last, of: loops) == next)
        #expect(nextLoop(after: last, of: 0) == nil)
    }
}
