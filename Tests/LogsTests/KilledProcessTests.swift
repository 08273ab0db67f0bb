import Glibc
import Platform
import TestSupport
import Testing

@testable import Logs

/// Real processes, really killed. The test holds the pipe and the journal, as the keeper does.
@Suite struct KilledProcessTests {
    /// Writes numbered lines of many lengths until told to stop; returns how many.
    private static func write(to pipe: Int32, until stop: Locked<Bool>) -> Int {
        var random = SeededRandom(seed: 7)
        var count = 0
        while !stop.value {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                let length =
                    Int.random(in: 0..<1000, using: &random) == 0 ? 40_000 : Int.random(in: 0...200, using: &random)
                bytes += Array("\(count) ".utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: length) + [0x0a]
                count += 1
            }
            // Cut anywhere, so that lines end in other batches than they begin in.
            var rest = bytes[...]
            while !rest.isEmpty {
                let part = rest.prefix(Int.random(in: 1...3000, using: &random))
                let done = part.withUnsafeBytes { Glibc.write(pipe, $0.baseAddress, $0.count) }
                guard done > 0 else { return count }
                rest = rest.dropFirst(done)
            }
        }
        return count
    }

    @Test(.timeLimit(.minutes(15)))
    func aLogPumpThatIsKilledAgainAndAgainLosesAndDoublesNoLine() async throws {
        let directory = try TemporaryDirectory()
        let logs = directory.file("logs")
        let pipe = try ServicePipe()
        let output = try #require(pipe.writer)
        let journal = try LogWriter(directory: logs, journal: nil) { _ in }.journalDescriptor
        let stop = Locked(false)
        let sent = Locked<Int?>(nil)
        let thread = Thread {
            let count = Self.write(to: output.raw, until: stop)
            sent.update { $0 = count }
        }
        thread.start()

        var random = SystemRandomNumberGenerator()
        for _ in 0..<15 {
            let delay = UInt32.random(in: 0...30_000, using: &random)
            let (parent, held, reader) = (getpid(), journal.raw, pipe.reader.raw)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [
                    logs = logs as String, parent = parent as Int32, held = held as Int32, reader = reader as Int32,
                    delay = delay as UInt32
                ] in
                func inherit(_ number: Int32, _ flags: Int32) throws -> Descriptor {
                    Descriptor(
                        owning: try systemCall("open") { open("/proc/\(parent)/fd/\(number)", flags | O_CLOEXEC) })
                }
                let pump = try LogPump(directory: logs, journal: try inherit(held, O_RDWR)) { print($0) }
                // A journal of its own would mean that it could not use the one it was given.
                guard (try FileIO.status(pump.journal)).inode == (try FileIO.status(inherit(held, O_RDWR))).inode else {
                    return
                }
                pump.attach(
                    generation: 1, instance: "api/1", stdout: try inherit(reader, O_RDONLY), stderr: nil,
                    maxSize: 100_000,
                    keep: 1000)
                usleep(delay)
                kill(getpid(), SIGKILL)
            }
        }
        let notices = Notices()
        let writer = try LogWriter(directory: logs, journal: journal) { notices.add($0) }
        writer.attach(
            generation: 1, instance: "api/1", stdout: pipe.reader, stderr: nil, maxSize: 100_000, keep: 1000)
        stop.update { $0 = true }
        while sent.value == nil { writer.takeTurn(budget: 1 << 20) }
        writer.finish(generation: 1)

        #expect(notices.all.isEmpty)
        let numbers = try lines(logs, "api/1").map { String(decoding: $0.prefix { $0 != 0x20 }, as: UTF8.self) }
        let count = try #require(sent.value)
        #expect(count > 1000)
        #expect(numbers == (0..<count).map(String.init))
    }
}

/// A thread of its own for something that blocks.
private final class Thread: Sendable {
    private let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    func start() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                if let context { Unmanaged<Thread>.fromOpaque(context).takeRetainedValue().body() }
                return nil
            }, context)
        pthread_detach(thread)
    }
}
