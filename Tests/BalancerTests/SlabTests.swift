import Foundation
import Testing

@testable import Balancer

@Suite("Slabs")
struct SlabTests {
    @Test("a slab hands out every slot once, to its capacity and no further")
    func capacity() throws {
        var slab = try #require(Slab(slotSize: 128, capacity: 1000, slotsPerChunk: 32, spareChunks: 1))
        defer { slab.destroy() }
        var indices: Set<UInt32> = []
        for _ in 0..<1000 { indices.insert(slab.allocate() ?? .max) }
        #expect(indices == Set(0..<1000))
        #expect(slab.allocate() == nil)
        slab.free(500)
        #expect(slab.allocate() == 500)
    }

    @Test("what is only reserved is charged to nobody: a machine that never overcommits serves too")
    func charge() throws {
        // VmData: private memory that can be written, touched or not; what vm.overcommit_memory=2 counts.
        func charged() throws -> Int {
            let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmData:") })
            return try #require(Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]))
        }
        let before = try charged()
        var slab = try #require(Slab(slotSize: 32 << 10, capacity: 1 << 20, slotsPerChunk: 1, spareChunks: 1))
        defer { slab.destroy() }
        let first = slab.allocate()
        slab.address(try #require(first)).storeBytes(of: 1, as: UInt64.self)
        // 32 GiB are reserved; other tests may come and go meanwhile.
        #expect(try charged() - before < 4 << 20)
    }

    @Test("slots in use keep their bytes while others come and go", arguments: [UInt64](1...5))
    func churn(seed: UInt64) throws {
        var random = seed
        func next(_ limit: Int) -> Int {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(random >> 33) % limit
        }
        var slab = try #require(Slab(slotSize: 64, capacity: 4096, slotsPerChunk: 64, spareChunks: 2))
        defer { slab.destroy() }
        var used: [(index: UInt32, mark: UInt64)] = []
        for step in 0..<20_000 {
            // Phases of growing and of shrinking, so that chunks are given back.
            let grows = (step / 3000) % 2 == 0
            if used.isEmpty || next(10) < (grows ? 7 : 3), let index = slab.allocate() {
                slab.address(index).storeBytes(of: random, as: UInt64.self)
                used.append((index, random))
            } else if !used.isEmpty {
                let (index, mark) = used.remove(at: next(used.count))
                #expect(slab.address(index).load(as: UInt64.self) == mark)
                slab.free(index)
            }
            #expect(slab.count == used.count)
        }
        #expect(Set(used.map(\.index)).count == used.count)
        for (index, mark) in used { #expect(slab.address(index).load(as: UInt64.self) == mark) }
    }

    @Test("an idle connection takes well under 600 bytes")
    func connectionSize() {
        #expect(ConnectionReference.slotSize <= 192)
        #expect(LoopLimits.bufferSize <= Int(UInt16.max))
    }
}
