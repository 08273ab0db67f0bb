import Dispatch
import Platform
import Supervision

/// The pipes by which services say that they are ready, by a newline, as s6 has it. Lives on one serial queue.
///
/// The newline is looked at and never taken: a supervisor that is lost before it has had the keeper remember it leaves it
/// to the next one, which has the same pipe from the keeper.
final class ReadyPipes {
    private final class Entry {
        let pipe: Descriptor
        var source: (any DispatchSourceRead)?

        init(_ pipe: Descriptor) { self.pipe = pipe }
    }

    /// So many times 4096 bytes, which is more than a pipe of its usual size holds.
    private static let looksAtATime = 256

    private let queue: DispatchQueue
    private let peekPipe: PeekPipe
    private let report: (Generation, _ passed: Bool, _ detail: String) -> Void
    private var entries: [Generation: Entry] = [:]

    /// Creates an empty set; `report` gets the newline, or the reason why it cannot come any more.
    init(
        queue: DispatchQueue, report: @escaping (Generation, _ passed: Bool, _ detail: String) -> Void
    ) throws(SystemError) {
        self.queue = queue
        self.report = report
        peekPipe = try PeekPipe()
    }

    deinit { for entry in entries.values { entry.source?.cancel() } }

    /// The name under which the keeper holds the end that is read.
    static func readingName(_ generation: Generation) -> String { "ready \(generation)" }

    /// The name under which it holds the other end, from before the process is asked for until it is started.
    static func writingName(_ generation: Generation) -> String { "ready \(generation) writing" }

    /// The generation of a held name; nil if it is the name of something else.
    static func generation(ofHeld name: String) -> Generation? {
        let words = name.split(separator: " ", omittingEmptySubsequences: false)
        guard words.first == "ready", words.count == 2 || (words.count == 3 && words[2] == "writing") else {
            return nil
        }
        return UInt64(words[1]).map(Generation.init)
    }

    /// Takes the reading end of a generation's pipe, which is not read yet.
    func add(_ generation: Generation, _ pipe: Descriptor) { entries[generation] = Entry(pipe) }

    /// Waits for the newline.
    func begin(_ generation: Generation, number: Int) {
        guard let entry = entries[generation], entry.source == nil else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: entry.pipe.raw, queue: queue)
        source.setEventHandler { [weak self] in self?.look(generation, number: number) }
        source.setCancelHandler { [pipe = entry.pipe] in withExtendedLifetime(pipe) {} }
        entry.source = source
        source.activate()
    }

    /// Nobody waits any more.
    func end(_ generation: Generation) {
        entries[generation]?.source?.cancel()
        entries[generation]?.source = nil
    }

    /// Lets go of it. Returns whether there was one.
    func close(_ generation: Generation) -> Bool {
        end(generation)
        return entries.removeValue(forKey: generation) != nil
    }

    private func look(_ generation: Generation, number: Int) {
        guard let entry = entries[generation], entry.source != nil else { return }
        do throws(SystemError) {
            // Dispatch calls once and never again where the end of a pipe comes with its last bytes: all that is there is
            // looked at, which a pipe bounds. Who fills it faster than it is emptied is called for again.
            for _ in 0..<Self.looksAtATime {
                let bytes = try peekPipe.peek(entry.pipe, count: 4096)
                if bytes.contains(UInt8(ascii: "\n")) {
                    end(generation)
                    return report(generation, true, "a newline came by descriptor \(number)")
                }
                if bytes.isEmpty {
                    end(generation)
                    return report(generation, false, "descriptor \(number) was closed without a newline")
                }
                // What comes before the newline says nothing.
                _ = PipeIO.readAvailable(entry.pipe, limit: bytes.count)
            }
        } catch {
            if error.meansNothingThere { return }
            end(generation)
            report(generation, false, "descriptor \(number) cannot be read: \(error.reason)")
        }
    }
}
