import Platform
import TestSupport
import Testing

@testable import Logs

/// Lines that somebody waits for.
@Suite struct AwaitedLineTests {
    private let directory = try? TemporaryDirectory()
    private let seen = Locked<[UInt64]>([])

    private func writer(
        _ journal: Descriptor? = nil, awaiting: [UInt64: LinePattern] = [:]
    ) throws -> LogWriter {
        try LogWriter(
            directory: try #require(directory).path, journal: journal, awaiting: awaiting,
            seen: { [seen] generation in seen.update { $0.append(generation) } }, report: { _ in })
    }

    @Test func `the first line that contains the pattern is told of once, whole or in batches, of either stream`()
        throws
    {
        let writer = try writer()
        let (stdout, stderr) = (try ServicePipe(), try ServicePipe())
        writer.awaitLine(LinePattern("up on * 80"), of: 7)
        writer.attach(
            generation: 7, instance: "api/1", stdout: stdout.reader, stderr: stderr.reader, maxSize: 1 << 20, keep: 1)
        try stdout.send("starting\nup on\n80\nup on port")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [])
        try stderr.send(" 80\n")
        writer.takeTurn(budget: 1 << 20)
        // That is another stream's line.
        #expect(seen.value == [])
        try stdout.send(" 80")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [])
        try stdout.send(", at last\n")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [7])
        try stderr.send("up on port 80\n")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [7])
    }

    @Test func `nothing is told of other generations, nor when nobody waits any more`() throws {
        let writer = try writer()
        let (stdout, other) = (try ServicePipe(), try ServicePipe())
        writer.awaitLine(LinePattern("up"), of: 7)
        writer.attach(generation: 7, instance: "api/1", stdout: stdout.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        writer.attach(generation: 8, instance: "api/2", stdout: other.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        try other.send("up\n")
        writer.takeTurn(budget: 1 << 20)
        writer.forgetLine(of: 7)
        try stdout.send("up\n")
        writer.takeTurn(budget: 1 << 20)
        #expect(seen.value == [])
    }

    @Test func `the end of a process without a newline is a line, too`() throws {
        let writer = try writer()
        let stdout = try ServicePipe()
        writer.awaitLine(LinePattern("up"), of: 7)
        writer.attach(generation: 7, instance: "api/1", stdout: stdout.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        try stdout.send("up")
        writer.takeTurn(budget: 1 << 20)
        writer.finish(generation: 7)
        #expect(seen.value == [7])
    }

    @Test(arguments: LogStep.allCases)
    func `whenever the process is killed, the next one tells of the line`(step: LogStep) throws {
        struct Killed: Error {}
        let (stdout, later) = (try ServicePipe(), try ServicePipe())
        let pattern = LinePattern("up")
        var journal: Descriptor?
        // A copy of the memory is what a process leaves that is killed at this step.
        do {
            let writer = try writer()
            writer.awaitLine(pattern, of: 7)
            writer.attach(
                generation: 7, instance: "api/1", stdout: stdout.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
            try stdout.send("begun\nup\nmore\n")
            writer.atStep = { now in
                guard now == step, journal == nil else { return }
                journal = try? copy(writer.journalDescriptor)
            }
            // What is still in the pipe at that moment.
            if step == .announced { try later.send("begun\nup\nmore\n") }
            writer.takeTurn(budget: 1 << 20)
        }
        guard step != .rotated else { return }
        let left = try #require(journal)
        seen.update { $0 = [] }
        let next = try writer(left, awaiting: [7: pattern])
        next.attach(generation: 7, instance: "api/1", stdout: later.reader, stderr: nil, maxSize: 1 << 20, keep: 1)
        next.takeTurn(budget: 1 << 20)
        #expect(seen.value.first == 7 && seen.value.count <= 2, "\(step)")
    }

    /// A copy of the journal's memory.
    private func copy(_ original: Descriptor) throws -> Descriptor {
        let size = try FileIO.status(original).size
        let copy = try SharedMemory(creating: "copy", count: size)
        let source = try SharedMemory(mapping: original, count: size)
        for offset in stride(from: 0, to: 1 << 22, by: 8) where offset + 8 <= size {
            let word = source.load(at: offset)
            if word != 0 { copy.store(word, at: offset) }
        }
        return copy.descriptor
    }
}
