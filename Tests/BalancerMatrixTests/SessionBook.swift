import Glibc
import Platform
import TestSupport

/// The session log of a randomised run, held against what its connections have done: for each of them one line, with true
/// byte counts and a true end state, and no line of nobody. What belongs together is forgotten at once, so that it holds
/// no more than what is open.
final class SessionBook: @unchecked Sendable {
    /// What the line of a client's connection must say.
    struct Expectation: CustomStringConvertible {
        /// The client's address and port as the line is to have them; `unix`.
        var client: String
        /// The front's address.
        var front: String
        /// nil: whichever.
        var instance: String?
        var bytesIn: ClosedRange<Int>
        var bytesOut: ClosedRange<Int>
        var ends: Set<String>
        var takesHeader = false
        /// What has happened to it, for the report of a failure.
        var story = ""

        var description: String {
            "client=\(client) front=\(front) instance=\(instance ?? "any") header=\(takesHeader) in=\(bytesIn) "
                + "out=\(bytesOut) end=\(ends.sorted())"
        }
    }

    /// Lines that nobody has asked for yet, and those who have not found theirs.
    private struct Page {
        var lines: [String] = []
        var expected: [Expectation] = []
    }

    private struct Contents {
        var pages: [String: Page] = [:]
        var failure: TestFailure?
        var isOver = false
        var lines = 0
    }

    /// No more clients are without their line, or lines without their client, while all goes well.
    private static let limit = 50_000

    private let contents = Lock(Contents())
    private let pipe: Descriptor
    private let tally: Tally
    private var reader: Worker?

    /// Takes the reading end of the services' pipe.
    init(_ pipe: Descriptor, _ tally: Tally) throws {
        self.pipe = pipe
        self.tally = tally
        reader = try Worker { [unowned self] in self.readLines() }
    }

    /// Lines so far.
    var lineCount: Int { contents.withLock { $0.lines } }

    /// A connection is over, and its line is to say so.
    func expect(_ expectation: Expectation) {
        contents.withLock { contents in
            contents.pages[expectation.client, default: Page()].expected.append(expectation)
            Self.settle(expectation.client, &contents)
        }
    }

    /// Waits until all who are called so have had their lines: those without an address of their own must come one by one.
    func settle(_ client: String) throws {
        do {
            try eventually("\(client) has its line") { () -> Bool? in
                try check()
                return contents.withLock { $0.pages[client] == nil ? true : nil }
            }
        } catch {
            let page = contents.withLock { $0.pages[client] } ?? Page()
            throw Session.Failure(
                what: "\(error): lines \(page.lines) for \(page.expected)",
                steps: page.expected.map(\.story).joined(separator: "; "))
        }
    }

    /// Throws if a line was wrong as it is.
    func check() throws { if let failure = contents.withLock({ $0.failure }) { throw failure } }

    /// Waits until every connection has had its line, and no line is left; or only looks whether a line was wrong as it
    /// is. Ends the reading.
    func finish(waits: Bool) throws {
        defer {
            contents.withLock { $0.isOver = true }
            try? reader?.join()
            reader = nil
        }
        guard waits else { return try check() }
        do {
            try eventually("all sessions have their lines") { () -> Bool? in
                try check()
                return contents.withLock { $0.pages.isEmpty } ? true : nil
            }
        } catch {
            try check()
            let pages = contents.withLock { $0.pages }
            let left = pages.values.prefix(2).map { "lines \($0.lines) for \($0.expected)" }
            throw Session.Failure(
                what: "\(error): of \(pages.count) clients: \(left)",
                steps: pages.values.flatMap(\.expected).prefix(5).map(\.story).joined(separator: "; "))
        }
    }

    // MARK: Reading

    private func readLines() {
        var pending: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !contents.withLock({ $0.isOver }) {
            guard isReady(pipe.raw, Int16(POLLIN), 50) else { continue }
            let count = read(pipe.raw, &buffer, buffer.count)
            guard count > 0 else { continue }
            pending += buffer.prefix(count)
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                take(String(decoding: pending[..<end], as: UTF8.self))
                pending.removeSubrange(...end)
            }
        }
    }

    private func take(_ text: String) {
        guard let fields = Self.fields(text), let client = fields["client"], let end = fields["end"] else {
            return contents.withLock { $0.failure = $0.failure ?? TestFailure("no line of a session: \(text)") }
        }
        tally.note(end: end)
        contents.withLock { contents in
            contents.lines += 1
            contents.pages[client, default: Page()].lines.append(text)
            Self.settle(client, &contents)
        }
    }

    /// The fields of a line, if it has all of them in their order, and times that make a whole.
    private static func fields(_ text: String) -> [String: String]? {
        let names = [
            "client", "front", "instance", "header", "queue", "connect", "total", "in", "out", "retries", "end",
        ]
        let parts = text.split(separator: " ").map { $0.split(separator: "=", maxSplits: 1) }
        guard parts.map({ $0.first.map { String($0) } ?? "" }) == names, parts.allSatisfy({ $0.count == 2 }) else {
            return nil
        }
        let fields = Dictionary(parts.map { (String($0[0]), String($0[1])) }, uniquingKeysWith: { first, _ in first })
        let times = ["header", "queue", "connect"].map { name in
            fields[name] == "-" ? 0 : fields[name].flatMap { Double($0) } ?? -1
        }
        guard let total = fields["total"].flatMap({ Double($0) }), times.allSatisfy({ $0 >= 0 }),
            times.reduce(0, +) <= total + 0.003, fields["retries"].flatMap({ Int($0) }) ?? -1 >= 0
        else { return nil }
        return fields
    }

    // MARK: Comparing

    private static func settle(_ client: String, _ contents: inout Contents) {
        guard var page = contents.pages[client] else { return }
        // More than one of each only where a port was given again so soon.
        search: for (number, line) in page.lines.enumerated() {
            guard let match = page.expected.firstIndex(where: { fits(line, $0) }) else { continue }
            page.lines.remove(at: number)
            page.expected.remove(at: match)
            break search
        }
        contents.pages[client] = page.lines.isEmpty && page.expected.isEmpty ? nil : page
        if contents.pages.count > limit, contents.failure == nil {
            contents.failure = TestFailure("\(limit) sessions and lines do not find each other")
        }
    }

    private static func fits(_ line: String, _ expected: Expectation) -> Bool {
        guard let fields = fields(line) else { return false }
        func holds(_ name: String, _ range: ClosedRange<Int>) -> Bool {
            fields[name].flatMap { Int($0) }.map { range.contains($0) } ?? false
        }
        return fields["front"] == expected.front && holds("in", expected.bytesIn)
            && holds("out", expected.bytesOut) && expected.ends.contains(fields["end"] ?? "")
            && (expected.instance == nil || fields["instance"] == expected.instance)
            && (fields["header"] != "-") == expected.takesHeader
    }
}
