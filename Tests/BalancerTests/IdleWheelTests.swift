import TestSupport
import Testing

@testable import Balancer

@Suite("The wheel of silent connections")
struct IdleWheelTests {
    /// A wheel with connections that have only a number and a stamp.
    private struct World: ~Copyable {
        var slab: Slab
        var wheel = IdleWheel()
        var lanes: [UInt32: UInt8] = [:]
        let counters = CounterSet(loops: 1, label: "x")

        init(timeout: Int64) throws {
            let fresh = Slab(
                slotSize: ConnectionReference.slotSize, capacity: 4096, slotsPerChunk: 256, spareChunks: 1)
            guard let fresh else { throw TestFailure("no memory") }
            slab = fresh
            wheel.set(timeout: timeout)
        }

        deinit { slab.destroy() }

        func reference(_ index: UInt32) -> ConnectionReference {
            ConnectionReference(index: index, memory: slab.address(index))
        }

        mutating func open(at now: Int64) throws -> UInt32 {
            guard let index = slab.allocate() else { throw TestFailure("the slab is full") }
            reference(index).initialize(ConnectionHead(front: counters.block(loop: 0)))
            insert(index, since: now, now: now)
            return index
        }

        mutating func insert(_ index: UInt32, since: Int64, now: Int64) {
            reference(index).head.pointee.since = since
            lanes[index] = wheel.insert(reference(index), since: since, now: now, in: slab).lane
        }

        mutating func remove(_ index: UInt32) {
            guard let lane = lanes.removeValue(forKey: index) else { return }
            wheel.remove(reference(index), lane: lane, in: slab)
        }

        /// Those that have been silent for long enough; the others are put back.
        mutating func expire(at now: Int64) -> [UInt32] {
            var expired: [UInt32] = []
            while let index = wheel.next(at: now, in: slab) {
                lanes[index] = nil
                let since = reference(index).head.pointee.since
                if since + wheel.timeout <= now { expired.append(index) } else { insert(index, since: since, now: now) }
            }
            return expired
        }
    }

    @Test(
        "a silent connection expires in one look, never early and at most an eighth late",
        arguments: [1_000_000, 200_000_000, 30_000_000_000, 86_400_000_000_000] as [Int64])
    func once(timeout: Int64) throws {
        for start in [0, 5, 123_456_789_012, 98_765_432_109_876] as [Int64] {
            var world = try World(timeout: timeout)
            let index = try world.open(at: start)
            let due = world.wheel.nextDue
            #expect(due > start + timeout && due <= start + timeout + timeout / 8 + 1)
            #expect(world.expire(at: due - 1) == [])
            #expect(world.wheel.nextDue == due)
            #expect(world.expire(at: due) == [index])
            #expect(world.wheel.count == 0)
            #expect(world.wheel.nextDue == .max)
        }
    }

    @Test("one that moves bytes is looked at once in a timeout, and expires when it stops")
    func active() throws {
        var world = try World(timeout: 1000)
        let index = try world.open(at: 0)
        var looks = 0
        for now in stride(from: Int64(0), to: 10_000, by: 50) {
            world.reference(index).head.pointee.since = now
            if world.wheel.nextDue <= now { looks += 1 }
            #expect(world.expire(at: now) == [])
        }
        #expect((9...11).contains(looks))
        #expect(world.expire(at: 10_949) == [])
        #expect(world.expire(at: 11_100) == [index])
    }

    @Test("however late the wheel is turned, everyone is looked at", arguments: [UInt64](1...8))
    func late(seed: UInt64) throws {
        var random = seed
        func next(_ limit: Int64) -> Int64 {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int64(random >> 33) % limit
        }
        let timeout: Int64 = 1000
        var world = try World(timeout: timeout)
        var open: Set<UInt32> = []
        var now: Int64 = 1_000_000
        for _ in 0..<3000 {
            now += [1, 10, 100, 900, 5000, 100_000][Int(next(6))] * (next(3) / 2)
            switch next(4) {
            case 0, 1: open.insert(try world.open(at: now))
            case 2:
                if let index = open.min(by: { $0 &* 2_654_435_761 < $1 &* 2_654_435_761 }) {
                    world.reference(index).head.pointee.since = now
                }
            default:
                if let index = open.min(by: { $0 &* 2_654_435_761 < $1 &* 2_654_435_761 }) {
                    world.remove(index)
                    world.slab.free(index)
                    open.remove(index)
                }
            }
            let due = world.wheel.nextDue
            for index in world.expire(at: now) {
                #expect(world.reference(index).head.pointee.since + timeout <= now)
                #expect(due <= now)
                #expect(open.remove(index) != nil)
                world.slab.free(index)
            }
            #expect(world.wheel.count == open.count)
            for index in open { #expect(world.reference(index).head.pointee.since + timeout + timeout / 8 > now) }
        }
    }
}
