import Platform

/// Lines of services that somebody waits for: of each generation the first one that contains its pattern.
///
/// A line is looked at when it is formatted, before its transaction is settled, and that it was seen is noted in the
/// stream's slot of the journal: a process that is killed at any point leaves it to the next one to see the line again, or
/// to read the note. So a line may be told of twice, and is never missed.
final class AwaitedLines {
    private var patterns: [UInt64: LinePattern]
    private let seen: @Sendable (_ generation: UInt64) -> Void

    /// `patterns`: what is awaited from the beginning, of generations whose output a process before was reading.
    init(_ patterns: [UInt64: LinePattern], seen: @escaping @Sendable (_ generation: UInt64) -> Void) {
        self.patterns = patterns
        self.seen = seen
    }

    /// Waits for a line of a generation.
    func insert(_ pattern: LinePattern, _ generation: UInt64) { patterns[generation] = pattern }

    /// Nobody waits any more.
    func remove(_ generation: UInt64) { patterns[generation] = nil }

    /// A slot was taken over from a process before, which may have seen the line.
    func tookOver(_ slot: Int, _ journal: LogJournal) {
        let generation = journal.generation(slot)
        if journal.sawAwaitedLine(slot), patterns.removeValue(forKey: generation) != nil { seen(generation) }
    }

    /// Looks at lines that are dropped, which are in the journal's memory only.
    func look(at parts: [BatchFormatter.DroppedPart], of slot: Int, _ journal: LogJournal) {
        guard !parts.isEmpty, !patterns.isEmpty else { return }
        let generation = journal.generation(slot)
        guard let pattern = patterns[generation] else { return }
        let memory = journal.memory
        for part in parts {
            var carry = part.carry
            var position = part.bytes.lowerBound
            while true {
                let rest = position..<max(position, part.bytes.upperBound)
                let end = memory.firstIndex(of: CRIFormat.newline, in: rest) ?? rest.upperBound
                let text = { [carry, position] (offset: Int) in
                    memory[offset < carry.count ? carry.lowerBound + offset : position + offset - carry.count]
                }
                if pattern.isContained(inLineOf: carry.count + (end - position), byte: text) {
                    patterns[generation] = nil
                    journal.noteAwaitedLine(slot)
                    return seen(generation)
                }
                guard end < rest.upperBound else { break }
                carry = carry.lowerBound..<carry.lowerBound
                position = end + 1
            }
        }
    }

    /// Looks at the lines of a batch, which begin at `start` of the output.
    func look(at output: ByteBuffer, from start: Int, of slot: Int, _ journal: LogJournal) {
        guard !patterns.isEmpty else { return }
        let generation = journal.generation(slot)
        guard let pattern = patterns[generation] else { return }
        var position = start
        while let newline = output.firstIndex(of: CRIFormat.newline, in: position..<max(position, output.count)) {
            let text = position + CRIFormat.prefixLength
            if pattern.isContained(inLineOf: newline - text, byte: { output[text + $0] }) {
                patterns[generation] = nil
                journal.noteAwaitedLine(slot)
                return seen(generation)
            }
            position = newline + 1
        }
    }
}
