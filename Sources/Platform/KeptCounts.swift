/// Counts by name, in a memfd that another process holds, too: what was counted outlives this process, to the last one.
///
/// For counters that Prometheus reads: one that begins anew at 0 is understood, but one that falls to another value would be taken
/// for a burst of all that it then says. Columns never change their meaning; a table of another layout is not used.
package final class KeptCounts: Sendable {
    /// What is counted; each has an owner, which names it by an extension.
    package struct Column: Sendable, Hashable {
        let index: Int

        /// Creates the column of a number, 0 to 17.
        package init(_ index: Int) { self.index = min(max(index, 0), KeptCounts.columns - 1) }
    }

    /// The counts of one name.
    package struct Row: Sendable, Hashable {
        fileprivate var values = [UInt64](repeating: 0, count: KeptCounts.columns)

        /// One of them.
        package subscript(column: Column) -> UInt64 { values[column.index] }
    }

    /// The most names; of more nothing is counted.
    package static let most = 16_384
    private static let columns = 18
    private static let magic: UInt64 = 0x0001_7374_6e75_6f63  // "counts" and the version of this layout
    private static let rowsOffset = 4096
    // Words of a row: the name's length, 0 where it is free; the name; the counts.
    private static let rowSize = 256
    private static let nameOffset = 8
    private static let longestName = 104
    private static let countsOffset = nameOffset + longestName
    private static let size = rowsOffset + most * rowSize

    private struct State {
        /// nil: this process alone counts.
        var memory: SharedMemory?
        var rows: [String: Row] = [:]
        var places: [String: Int] = [:]
        var free: [Int] = []
        /// All places from here on were never used: even looking at a page makes it take memory.
        var limit = 0
    }

    private let state: Lock<State>
    /// The memfd; nil: none is kept.
    package let descriptor: Descriptor?

    /// Counts that end with this process.
    package init() {
        state = Lock(State())
        descriptor = nil
    }

    /// Counts that begin at 0, in a new memfd.
    package init(keeping name: String) throws(SystemError) {
        let memory = try SharedMemory(creating: name, count: Self.size)
        memory.store(Self.magic, at: 0)
        descriptor = memory.descriptor
        state = Lock(State(memory: memory))
    }

    /// Goes on with what a process before has counted. Throws EINVAL if it is none of this layout.
    package init(resuming held: Descriptor) throws(SystemError) {
        let memory = try SharedMemory(mapping: held, count: Self.size)
        guard memory.load(at: 0) == Self.magic else { throw .unsuitable("mmap", "counts of another version") }
        descriptor = held
        var found = State()
        found.limit = min(Int(clamping: memory.loadPublished(at: 8)), Self.most)
        for place in 0..<found.limit {
            guard let name = Self.name(at: place, memory), found.places[name] == nil else {
                found.free.append(place)
                continue
            }
            var row = Row()
            for column in row.values.indices { row.values[column] = memory.load(at: Self.field(place, column)) }
            found.rows[name] = row
            found.places[name] = place
        }
        found.memory = memory
        state = Lock(found)
    }

    /// What was counted under a name; nil: nothing.
    package subscript(_ name: String) -> Row? { state.withLock { $0.rows[name] } }

    /// All that was counted.
    package var all: [String: Row] { state.withLock { $0.rows } }

    /// Counts.
    package func add(_ amounts: [(column: Column, amount: UInt64)], to name: String) {
        change(name) { row in
            for (column, amount) in amounts { row.values[column.index] &+= amount }
        }
    }

    /// Notes what is no sum.
    package func set(_ values: [(column: Column, value: UInt64)], of name: String) {
        change(name) { row in
            for (column, value) in values { row.values[column.index] = value }
        }
    }

    private func change(_ name: String, _ body: (inout Row) -> Void) {
        guard !name.isEmpty, name.utf8.count <= Self.longestName else { return }
        state.withLock { state in
            guard state.rows.count < Self.most || state.rows[name] != nil else { return }
            let before = state.rows[name]
            var row = before ?? Row()
            body(&row)
            state.rows[name] = row
            guard let memory = state.memory, let place = Self.place(of: name, &state, memory) else { return }
            for column in row.values.indices where row.values[column] != before?.values[column] ?? 0 {
                memory.store(row.values[column], at: Self.field(place, column))
            }
            if before == nil { memory.publish(UInt64(name.utf8.count), at: Self.rowsOffset + place * Self.rowSize) }
        }
    }

    /// Forgets all names but these.
    package func keep(_ isKept: (_ name: String) -> Bool) {
        let known = state.withLock { Array($0.rows.keys) }
        let gone = known.filter { !isKept($0) }
        state.withLock { state in
            for name in gone {
                state.rows[name] = nil
                guard let place = state.places.removeValue(forKey: name) else { continue }
                state.memory?.publish(0, at: Self.rowsOffset + place * Self.rowSize)
                state.free.append(place)
            }
        }
    }

    // MARK: The memory

    private static func field(_ place: Int, _ column: Int) -> Int {
        rowsOffset + place * rowSize + countsOffset + column * 8
    }

    private static func name(at place: Int, _ memory: SharedMemory) -> String? {
        let row = rowsOffset + place * rowSize
        let length = Int(clamping: memory.loadPublished(at: row))
        guard (1...longestName).contains(length) else { return nil }
        return String(validating: memory.bytes(in: row + nameOffset..<row + nameOffset + length), as: UTF8.self)
    }

    /// Where a name's counts are; a new one has zeros, and its name, but is found by the next process only once its length is published.
    private static func place(of name: String, _ state: inout State, _ memory: SharedMemory) -> Int? {
        if let known = state.places[name] { return known }
        guard let place = state.free.popLast() ?? (state.limit < most ? state.limit : nil) else { return nil }
        if place == state.limit {
            state.limit += 1
            memory.publish(UInt64(state.limit), at: 8)
        }
        for column in 0..<columns { memory.store(0, at: field(place, column)) }
        memory.copy(Array(name.utf8), to: rowsOffset + place * rowSize + nameOffset)
        state.places[name] = place
        return place
    }
}
