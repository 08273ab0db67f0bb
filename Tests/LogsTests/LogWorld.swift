import FoundationEssentials
import Glibc
import Platform
import TestSupport

@testable import Logs

/// A pipe as a service has it: the test writes, the log writer reads.
final class ServicePipe {
    let reader: Descriptor
    private(set) var writer: Descriptor?
    /// All that was written so far.
    private(set) var sent: [UInt8] = []

    init() throws {
        (reader, writer) = try makePipe()
    }

    /// A pipe with the same bytes waiting.
    init(copying other: ServicePipe, end: Bool) throws {
        (reader, writer) = try makePipe()
        sent = other.sent
        try PipeIO.setCapacity(reader, bytes: try PipeIO.capacity(other.reader))
        let waiting = try PipeIO.bytesAvailable(other.reader)
        if waiting > 0 {
            let copied = try PipeIO.copy(from: other.reader, to: try writerOrThrow(), count: waiting)
            guard copied == waiting else { throw TestFailure("copied \(copied) of \(waiting) bytes") }
        }
        if end { try close() }
    }

    private func writerOrThrow() throws -> Descriptor {
        guard let writer else { throw TestFailure("the pipe is closed") }
        return writer
    }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = try rest.withUnsafeBytes { buffer in
                try systemCall("write") { [raw = try writerOrThrow().raw] in
                    write(raw, buffer.baseAddress, buffer.count)
                }
            }
            rest = rest.dropFirst(count)
        }
        sent += bytes
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Ends what the service writes; returns when the reader's side is told of it.
    func close() throws {
        writer = nil
        try waitForHangUp(reader)
    }
}

/// Notices, collected.
final class Notices: Sendable {
    private let list = Locked<[LogNotice]>([])
    var all: [LogNotice] { list.value }
    func add(_ notice: LogNotice) { list.update { $0.append(notice) } }
}

/// A value behind a lock.
final class Locked<Value: Sendable>: Sendable {
    private let mutex: Lock<Value>
    init(_ value: Value) { mutex = Lock(value) }
    var value: Value { mutex.withLock { $0 } }
    func update(_ body: (inout Value) -> Void) { mutex.withLock { body(&$0) } }
}

/// What is in the files of an instance, oldest first: the lines of the file, without newlines.
func rawLines(_ directory: String, _ instance: String) throws -> [[UInt8]] {
    var all: [UInt8] = []
    let path = try LogPath.current(instance, in: directory) ?? { throw TestFailure("no name: \(instance)") }()
    let rotated = (1...1001).prefix { FileManager.default.fileExists(atPath: "\(path).\($0)") }
    for name in rotated.reversed().map({ "\(path).\($0)" }) + [path] {
        guard let data = FileManager.default.contents(atPath: name) else { continue }
        if let last = data.last, last != 0x0a { throw TestFailure("\(name) ends in a torn line") }
        all += data
    }
    return all.split(separator: 0x0a, omittingEmptySubsequences: false).dropLast().map(Array.init)
}

/// The lines of a stream in the files, pieces joined.
func lines(_ directory: String, _ instance: String, _ stream: LogStream = .stdout) throws -> [[UInt8]] {
    var result: [[UInt8]] = []
    var pending: [UInt8] = []
    for line in try rawLines(directory, instance) {
        guard let parsed = CRIFormat.parse(line[...]) else {
            throw TestFailure("not a line of the format: \(String(decoding: line.prefix(100), as: UTF8.self))")
        }
        guard parsed.stream == stream else { continue }
        pending += parsed.text
        if !parsed.isPartial {
            result.append(pending)
            pending = []
        }
    }
    if !pending.isEmpty { throw TestFailure("a piece of a line without its end") }
    return result
}

/// The lines that a service wrote, the last one perhaps without a newline.
func linesSent(_ bytes: [UInt8]) -> [[UInt8]] {
    var result = bytes.split(separator: 0x0a, omittingEmptySubsequences: false).map(Array.init)
    if result.last?.isEmpty == true { result.removeLast() }
    return result
}

func text(_ lines: [[UInt8]]) -> [String] { lines.map { String(decoding: $0, as: UTF8.self) } }

/// A log writer with a directory and pipes.
final class LogWorld {
    let directory: TemporaryDirectory
    let notices = Notices()
    private(set) var counts: KeptCounts
    private(set) var losses: LogLosses
    private(set) var amounts: LogAmounts
    var writer: LogWriter
    let stdout: ServicePipe
    let stderr: ServicePipe
    static let instance = "api/1"
    var logs: String { directory.file("logs") }
    var file: String { "\(logs)/api/1.log" }

    init(maxSize: UInt64 = 1 << 30, keep: Int = 1000, rate: UInt32 = 0, attached: Bool = true) throws {
        directory = try TemporaryDirectory()
        let notices = notices
        counts = try KeptCounts(keeping: "counts")
        losses = LogLosses(counts)
        amounts = LogAmounts(counts)
        writer = try LogWriter(directory: directory.file("logs"), journal: nil, losses: losses, amounts: amounts) {
            notices.add($0)
        }
        stdout = try ServicePipe()
        stderr = try ServicePipe()
        if attached { attach(maxSize: maxSize, keep: keep, rate: rate) }
    }

    func attach(generation: UInt64 = 1, maxSize: UInt64 = 1 << 30, keep: Int = 1000, rate: UInt32 = 0) {
        writer.attach(
            generation: generation, instance: Self.instance, stdout: stdout.reader, stderr: stderr.reader,
            maxSize: maxSize, keep: keep, rate: rate)
    }

    /// What a killed process leaves is taken up by a new one.
    func crash() throws {
        let notices = notices
        counts = try counts.descriptor.map { try KeptCounts(resuming: $0) } ?? KeptCounts()
        losses = LogLosses(counts)
        amounts = LogAmounts(counts)
        writer = try LogWriter(
            directory: logs, journal: writer.journalDescriptor, losses: losses, amounts: amounts
        ) { notices.add($0) }
    }

    func run() { while writer.takeTurn(budget: 1 << 20) > 0 {} }

    func written(_ stream: LogStream = .stdout) throws -> [String] { text(try lines(logs, Self.instance, stream)) }
}
