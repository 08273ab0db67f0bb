import ControlAPI
import Platform
import Synchronization
import Testing

@testable import supctl

@Suite("The tables of the balancer")
struct BalancerTablesTests {
    static func counters(_ change: (inout SessionCounters) -> Void = { _ in }) -> SessionCounters {
        var counters = SessionCounters()
        counters.connections = 12
        counters.connectionsMax = 40
        counters.connectionsTotal = 3456
        counters.rate = 7
        counters.rateMax = 99
        counters.bytesIn = 1 << 20
        counters.bytesOut = 5_000_000
        counters.connectErrors = 3
        counters.retries = 2
        counters.redispatches = 1
        change(&counters)
        return counters
    }

    static var report: BalancerReport {
        let front = counters {
            $0.queued = 5
            $0.queuedMax = 6
            $0.turnedAway = 9
            $0.denied = 4
            $0.limited = 3
            $0.ends = ["CD": 20, "--": 3000, "SC": 20, "DD": 0]
        }
        let instance = counters {
            $0.setAside = 2
            $0.connects = 10
            $0.connectSecondsAverage = 0.000_085
            $0.connectSecondsMax = 0.0125
        }
        return BalancerReport(
            services: [
                BalancedService(
                    name: "api", algorithm: "roundrobin",
                    fronts: [BalancedFront(address: "127.0.0.1:8080", counters: front)],
                    instances: [
                        BalancedInstance(
                            id: "api/1", state: "running", drained: false, setAsideSeconds: nil, counters: instance),
                        BalancedInstance(
                            id: "api/2", state: "running", drained: true, setAsideSeconds: 3.25,
                            counters: SessionCounters()),
                    ])
            ], acceptPauses: 0)
    }

    @Test("With all the room there is, all is shown")
    func wide() {
        #expect(
            BalancerTables.text(Self.report, width: nil, allowsColour: false) == """
                FRONT               CUR  MAX  TOTAL  RATE  RMAX  QUEUE  QMAX    IN   OUT  AWAY  DENIED  LIMITED  ERRORS  RETRIES  REDISP
                api 127.0.0.1:8080   12   40   3.4k     7    99      5     6  1.0M  4.7M     9       4        3       3        2       1
                  ends: -- 3.0k, CD 20, SC 20

                INSTANCE  STATE                CUR  MAX  TOTAL  RATE  RMAX    IN   OUT  ERRORS  RETRIES  REDISP  ASIDE  CONNECT  SLOWEST
                api/1     running               12   40   3.4k     7    99  1.0M  4.7M       3        2       1      2     85µs     13ms
                api/2     aside 3.3s, drained    0    0      0     0     0     0     0       0        0       0      0

                """)
    }

    @Test("An instance whose time aside is over waits for a connection that tries it")
    func toBeTried() {
        var report = Self.report
        report.services[0].instances[1].setAsideSeconds = 0
        let text = BalancerTables.text(report, width: nil, allowsColour: false)
        #expect(text.contains("api/2     aside, to be tried, drained "), "\(text)")
    }

    @Test("Of one whose connects fail although it gets them, it stands how long ago the last one did")
    func connectFailed() {
        var report = Self.report
        for (ago, words) in [(3.25, "3.3s"), (3600, "1h00m")] {
            report.services[0].instances[0].failedSecondsAgo = ago
            let text = BalancerTables.text(report, width: nil, allowsColour: false)
            #expect(text.contains("api/1     connect failed \(words) ago "), "\(text)")
        }
    }

    @Test("What does not fit is left out, and no line is longer than the terminal", arguments: [24, 40, 80, 100, 120])
    func narrow(width: Int) {
        let text = BalancerTables.text(Self.report, width: width, allowsColour: false)
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= width })
        // What matters most stays.
        #expect(text.contains("CUR"))
        if width >= 80 {
            for title in ["TOTAL", "RATE", "QUEUE", "STATE", "ERRORS"] { #expect(text.contains(title), "\(title)") }
        }
    }

    @Test("Rates are worked out from what has changed, unless the counters have begun anew")
    func rates() {
        var later = Self.report
        later.services[0].fronts[0].counters.connectionsTotal += 250
        later.services[0].fronts[0].counters.bytesIn += 4096
        // A balancer that has begun anew: less than before.
        later.services[0].instances[0].counters.connectionsTotal = 5
        let earlier = BalancerTables.Earlier(report: Self.report, seconds: 2)
        let lines = BalancerTables.text(later, since: earlier, width: nil, allowsColour: false).split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }
        func cell(_ row: Int, _ title: String, _ header: Int, _ skipped: Int) -> String? {
            lines[header].firstIndex(of: title).map { lines[row][$0 + skipped] }
        }
        // The name of the front is two words.
        #expect(cell(1, "RATE", 0, 1) == "125")
        #expect(cell(1, "IN/S", 0, 1) == "2.0K")
        #expect(cell(1, "OUT/S", 0, 1) == "0")
        #expect(cell(4, "RATE", 3, 0) == "7")
    }

    @Test("Nothing to show, and a want of descriptors, are said")
    func words() {
        #expect(
            BalancerTables.text(
                BalancerReport(services: [], acceptPauses: 0), width: nil, allowsColour: false) == "no fronts\n")
        var report = Self.report
        report.acceptPauses = 2
        #expect(
            BalancerTables.text(report, width: nil, allowsColour: false).hasSuffix(
                "\naccepting paused 2 times for want of descriptors; raise the limit of open files of supd\n"))
    }

    @Test("The help explains every column and every letter of an end state")
    func help() throws {
        let text = HelpText.text(for: balancerVerb, among: allVerbs)
        let table = BalancerTables.text(
            Self.report, since: .init(report: Self.report, seconds: 1), width: nil, allowsColour: false)
        for line in table.split(separator: "\n") where line.contains("TOTAL") {
            for title in line.split(separator: " ") where !["FRONT", "INSTANCE"].contains(title) {
                #expect(text.contains(title), "\(title)")
            }
        }
        for letter in ["-", "C", "S", "c", "s", "P", "R", "D"] { #expect(text.contains("\n  \(letter)  ")) }
        for letter in ["-", "G", "Q", "C", "D", "L"] { #expect(text.contains("  \(letter)  ")) }
        let lines: [Substring] = text.split(separator: "\n")
        #expect(lines.dropFirst().allSatisfy { $0.count <= 120 })
    }
}

@Suite("Watching")
struct WatchTests {
    /// What was written, call by call.
    private final class Screen: Sendable {
        let writes = Mutex<[String]>([])
        var console: Console {
            Console(
                output: Terminal(isTerminal: true, width: 80, height: 3, allowsColour: false),
                look: { Terminal(isTerminal: true, width: 80, height: 3, allowsColour: false) },
                writeOutput: { bytes throws(SystemError) in
                    self.writes.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
                })
        }
    }

    private func watching(
        _ frames: [Result<String, VerbFailure>], inPlace: Bool, news: [WatchNews] = [], background: Int = 0
    ) -> (outcome: Result<ExitCode, VerbFailure>, writes: [String]) {
        let screen = Screen()
        var rest = frames[...]
        var news = news
        var background = background
        let outcome = Result { () throws(VerbFailure) in
            try watch(
                screen.console, inPlace: inPlace, hint: "q quits",
                frame: { _ throws(VerbFailure) in try (rest.popFirst() ?? .success("")).get() },
                resume: {
                    screen.writes.withLock { $0.append("resume") }
                    background -= 1
                    return background < 0
                },
                suspend: { screen.writes.withLock { $0.append("suspend") } },
                pause: { news.isEmpty ? (rest.isEmpty ? .end : .due) : news.removeFirst() })
        }
        return (outcome, screen.writes.withLock { $0 })
    }

    private static let begin = "\u{1b}[?1049h\u{1b}[?25l"
    private static let end = "\u{1b}[?25h\u{1b}[?1049l"
    private static func drawn(_ lines: String...) -> String {
        "\u{1b}[H" + lines.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n") + "\u{1b}[J"
    }

    @Test("When it is stopped, the terminal is given back before, and taken again after, whoever had it meanwhile")
    func stopped() throws {
        let (outcome, writes) = watching(
            [.success("a\n"), .success("b\n"), .success("c\n")], inPlace: true,
            news: [.due, .stop, .due, .resumed, .due, .end])
        #expect(try outcome.get() == .done)
        #expect(
            writes == [
                "resume", Self.begin, Self.drawn("a"), Self.end, "suspend", "resume", Self.begin, Self.drawn("a"),
                Self.drawn("b"), "resume", Self.begin, Self.drawn("b"), Self.drawn("c"), Self.end,
            ])
    }

    @Test("In the background nothing is drawn until the terminal is back")
    func background() throws {
        let (outcome, writes) = watching(
            [.success("a\n"), .success("b\n")], inPlace: true, news: [.due, .due, .resumed, .end], background: 1)
        #expect(try outcome.get() == .done)
        #expect(writes == ["resume", "resume", Self.begin, Self.drawn("b"), Self.end])
    }

    @Test("What ends or stops it before anything has come leaves the terminal alone")
    func early() throws {
        let (outcome, writes) = watching([], inPlace: true, news: [.stop, .resumed, .end])
        #expect(try outcome.get() == .done)
        #expect(writes == ["suspend"])
    }

    @Test("A key that does nothing is answered with what does, in the last line, and asks supd for nothing")
    func keys() throws {
        let (outcome, writes) = watching(
            [.success("a\n"), .success("1\n2\n3\n4\n")], inPlace: true, news: [.due, .unknownKey, .due, .end])
        #expect(try outcome.get() == .done)
        #expect(
            writes == [
                "resume", Self.begin, Self.drawn("a"), Self.drawn("a", "q quits"), Self.drawn("1", "2", "q quits"),
                Self.end,
            ])
    }

    @Test("In place, each frame is drawn over the one before, on a screen of its own that is left again")
    func inPlace() throws {
        let (outcome, writes) = watching([.success("a\nb\n"), .success("c\n")], inPlace: true)
        #expect(try outcome.get() == .done)
        #expect(
            writes == ["resume", Self.begin, Self.drawn("a", "b"), Self.drawn("c"), Self.end])
    }

    @Test("A frame that is higher than the terminal is cut, and says so")
    func height() {
        let (_, writes) = watching([.success("1\n2\n3\n4\n5\n")], inPlace: true)
        #expect(
            writes.dropFirst(2).first
                == "\u{1b}[H1\u{1b}[K\r\n2\u{1b}[K\r\n… 3 lines more; name services, or make room\u{1b}[K\u{1b}[J")
    }

    @Test("A later failure is shown and tried again; the first one ends it before the screen is touched")
    func failures() throws {
        let gone = VerbFailure(.failed, "supd is away")
        let (outcome, writes) = watching([.success("a\n"), .failure(gone), .success("b\n")], inPlace: true)
        #expect(try outcome.get() == .done)
        #expect(writes[3] == Self.drawn("supctl: supd is away; trying again"))
        #expect(writes.last == Self.end)
        let first = watching([.failure(gone)], inPlace: true)
        #expect(throws: VerbFailure.self) { try first.outcome.get() }
        #expect(first.writes.isEmpty)
    }

    @Test("Where there is no terminal, frames follow each other as they are, and a failure ends it")
    func plain() throws {
        let (outcome, writes) = watching(
            [.success("a\n"), .success("b\n"), .failure(VerbFailure(.failed, "x")), .success("c\n")], inPlace: false)
        #expect(throws: VerbFailure.self) { try outcome.get() }
        #expect(writes == ["resume", "a\n", "b\n"])
    }
}
