import ControlAPI
import Testing

@testable import supctl

@Suite("The keys of top")
struct TopKeyTests {
    @Test(
        "What terminals send",
        arguments: [
            ("q", [.character("q")]), ("\r", [.enter]), ("\n", [.enter]), ("\u{7f}", [.backspace]),
            ("\u{3}", [.interrupt]), ("\u{1c}", [.interrupt]),
            ("\u{1a}", [.suspend]), ("\u{c}", [.redraw]), ("\u{1b}", [.escape]), ("\u{1b}[A", [.up]),
            ("\u{1b}OB", [.down]),
            ("\u{1b}[5~", [.pageUp]), ("\u{1b}[6~", [.pageDown]), ("\u{1b}[H", [.home]), ("\u{1b}[4~", [.end]),
            ("\u{1b}[1;5A", [.up]), ("\u{1b}[A\u{1b}[Bx", [.up, .down, .character("x")]),
            ("\u{1b}[200~a", [.character("a")]),
            ("é€😀", [.character("é"), .character("€"), .character("😀")]), ("\u{1}a", [.character("a")]),
            ("\u{1b}q", [.escape, .character("q")]),
        ] as [(String, [TopKey])])
    func keys(text: String, expected: [TopKey]) {
        var reader = TopKeyReader()
        #expect(reader.read(Array(text.utf8)) == expected)
    }

    @Test("Keys may come in pieces")
    func pieces() {
        var reader = TopKeyReader()
        #expect(reader.read([0x1b, 0x5b]) == [])
        #expect(reader.read([0x41]) == [.up])
        #expect(reader.read([0xe2, 0x82]) == [])
        #expect(reader.read([0xac, 0x71]) == [.character("€"), .character("q")])
    }

    @Test("Whatever comes, nothing gathers, and keys after it are read")
    func anything() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var reader = TopKeyReader()
            for _ in 0..<20 { _ = reader.read((0..<50).map { _ in UInt8.random(in: 0...255, using: &random) }) }
            // What may still be open is ended by these.
            _ = reader.read(Array("~~~~~~~~~~~~~~~~~".utf8))
            #expect(reader.read([0x71]).last == .character("q"))
        }
    }
}

@Suite("What top shows")
struct TopModelTests {
    private static func report(_ names: [String] = ["api", "web"], cpu: [Double] = [], uptime: Double = 100)
        -> StatusReport
    {
        var report = Example.report(names.map { Example.service($0, replicas: 2) })
        for service in report.services.indices {
            for instance in report.services[service].instances.indices {
                report.services[service].instances[instance].uptimeSeconds = uptime
                let index = service * 2 + instance
                if index < cpu.count { report.services[service].instances[instance].cpuPercent = cpu[index] }
            }
        }
        return report
    }

    private static func model(_ report: StatusReport = report()) -> TopModel {
        var model = TopModel()
        model.update(report)
        return model
    }

    private static func press(_ text: String, _ model: inout TopModel) -> TopModel.Effect? {
        var reader = TopKeyReader()
        var last: TopModel.Effect?
        for key in reader.read(Array(text.utf8)) { last = model.press(key, height: 3) }
        return last
    }

    @Test("CPU is that between two samples, of one process")
    func cpu() {
        // In 100 seconds 10 % is 10 s; in 110 seconds 20 % is 22 s: 12 s in 10.
        var model = Self.model(Self.report(cpu: [10], uptime: 100))
        #expect(model.rows.first?.cpu == 10)
        model.update(Self.report(cpu: [20], uptime: 110))
        #expect(model.rows.first.flatMap(\.cpu).map { ($0 * 1000).rounded() } == 120_000)
        #expect(model.rows.first?.history.count == 2)
        var other = Self.report(cpu: [50], uptime: 2)
        other.services[0].instances[0].pid = 1
        model.update(other)
        #expect(model.rows.first?.cpu == 50)
        for second in 3..<100 { model.update(Self.report(uptime: Double(second))) }
        #expect(model.rows.first?.history.count == TopSamples.length)
    }

    @Test("Rows are sorted and filtered, and the selected instance stays so wherever it goes")
    func order() {
        var model = Self.model(Self.report(cpu: [1, 3, 2, 4]))
        #expect(model.rows.map(\.id) == ["api/1", "api/2", "web/1", "web/2"])
        #expect(Self.press("j", &model) == nil)
        #expect(model.selected == "api/2")
        #expect(Self.press("ss", &model) == nil)
        #expect(model.order == .cpu && model.rows.map(\.id) == ["web/2", "api/2", "web/1", "api/1"])
        #expect(model.selected == "api/2" && model.selectedRow == 1)
        #expect(Self.press("/we", &model) == nil)
        #expect(model.rows.map(\.id) == ["web/2", "web/1"])
        #expect(Self.press("\r", &model) == nil)
        #expect(model.prompt == .none && model.filter == "we")
        #expect(Self.press("\u{1b}", &model) == nil)
        #expect(model.rows.count == 4)
        #expect(Self.press("/x\u{7f}\u{7f}web\u{1b}", &model) == nil)
        #expect(model.filter.isEmpty && model.rows.count == 4)
    }

    @Test("The selection stays among the rows")
    func selection() {
        var model = Self.model()
        for key in ["\u{1b}[A", "k", "\u{1b}[5~", "g"] {
            #expect(Self.press(key, &model) == nil)
            #expect(model.selected == "api/1")
        }
        for key in ["\u{1b}[6~\u{1b}[6~", "j", "G"] {
            #expect(Self.press(key, &model) == nil)
            #expect(model.selected == "web/2")
        }
        model.update(Self.report(["api"]))
        #expect(model.selected == "api/2")
        model.update(Example.report([]))
        #expect(model.selected == nil)
        #expect(Self.press("jlr\r", &model) == nil)
        #expect(model.view == .table)
    }

    @Test("A restart is asked about")
    func restart() {
        var model = Self.model()
        #expect(Self.press("r", &model) == nil)
        #expect(model.prompt == .restart("api/1"))
        #expect(Self.press("n", &model) == nil)
        #expect(model.prompt == .none)
        #expect(Self.press("rq", &model) == nil)
        #expect(Self.press("jry", &model) == .restart("api/2"))
        #expect(Self.press("q", &model) == .quit)
    }

    @Test("A log is read from its end")
    func log() {
        var model = Self.model()
        #expect(Self.press("l", &model) == .load)
        model.showLog(of: "web/1", ["other"])
        #expect(model.page.isEmpty)
        model.showLog(of: "api/1", (1...10).map { "line \($0)" })
        let screen = TopScreen(width: 40, height: 6, allowsColour: false, isUnicode: true)
        #expect(screen.lines(model)[1...4] == ["log of api/1", "line 8", "line 9", "line 10"])
        #expect(Self.press("k", &model) == nil)
        #expect(screen.lines(model)[2...4] == ["line 7", "line 8", "line 9"])
        #expect(Self.press("g", &model) == nil)
        #expect(screen.lines(model)[2...4] == ["line 1", "line 2", "line 3"])
        #expect(Self.press("jjjjjjjjjjjj", &model) == nil)
        #expect(screen.lines(model)[2...4] == ["line 8", "line 9", "line 10"])
        #expect(Self.press("q", &model) == nil)
        #expect(model.view == .table)
    }

    @Test("All of a service, and the help, are read from their beginnings")
    func pages() {
        var model = Self.model()
        let screen = TopScreen(width: 60, height: 8, allowsColour: false, isUnicode: true)
        #expect(Self.press("\r", &model) == nil)
        #expect(screen.lines(model)[2].hasPrefix("api (service): running"))
        #expect(Self.press("\u{1b}?", &model) == nil)
        #expect(screen.lines(model)[1] == "help")
        #expect(Self.press("G", &model) == nil)
        #expect(screen.lines(model)[6].hasPrefix("CONN is what"))
    }

    @Test("w shows why, once it is known; what supd has looked at is in the table")
    func whyAndUsage() {
        var model = Self.model()
        #expect(Self.press("w", &model) == .load)
        #expect(model.view == .why("api/1"))
        model.showWhy("api/2", ["of another one"])
        #expect(model.page == ["…"])
        model.showWhy("api/1", ["api/1: running since …; nothing is wrong with it"])
        let screen = TopScreen(width: 160, height: 8, allowsColour: false, isUnicode: true)
        #expect(screen.lines(model)[1] == "why api/1")
        #expect(screen.lines(model)[2].contains("nothing is wrong with it"))
        #expect(Self.press("q", &model) == nil)

        #expect(!screen.lines(model)[1].contains("THR"))
        model.update(
            UsageReport(
                everySeconds: 10, since: "2026-01-31T10:20:30Z", endsAfterSeconds: 60,
                instances: [Example.usage("api/2", memory: [nil, 10 << 20, 20 << 20])]))
        model.update(Self.report())
        let lines = screen.lines(model)
        #expect(lines[1].contains("THR") && lines[1].contains("FDS") && lines[1].contains("MEM 1H"), "\(lines[1])")
        #expect(lines[3].contains("api/2") && lines[3].contains("▅█") && lines[3].contains(" 17 "), "\(lines[3])")
        #expect(!lines[2].contains("█"), "\(lines[2])")
    }

    @Test("Each figure is in its column, and the history of CPU is drawn")
    func figures() throws {
        var report = Self.report(["api"], cpu: [10, 20], uptime: 100)
        report.services[0].fronts?[0].queued = 7
        for (index, (connections, restarts)) in [(UInt64(31), 5), (46, 0)].enumerated() {
            report.services[0].instances[index].flow?.connections = connections
            report.services[0].instances[index].restarts = restarts
        }
        var model = Self.model(report)
        // api/1: 48 % and then 80 % of the second between.
        for (uptime, cpu) in [(101.0, (10 + 0.48) / 101), (102, (10 + 0.48 + 0.8) / 102)] {
            for index in 0...1 { report.services[0].instances[index].uptimeSeconds = uptime }
            report.services[0].instances[0].cpuPercent = cpu * 100
            model.update(report)
        }
        let screen = TopScreen(width: 160, height: 8, allowsColour: false, isUnicode: true)
        let lines = screen.lines(model)
        #expect(lines[0].contains("2 of 2 instances ready, 77 connections, 24M memory"), "\(lines[0])")
        /// What stands in a column, by where its title ends.
        func value(_ title: String, _ line: String) throws -> String {
            let end = try #require(lines[1].firstRange(of: " " + title)).upperBound
            let column = lines[1].distance(from: lines[1].startIndex, to: end)
            let plain = line.replacing(/\u{1b}\[[0-9;]*m/, with: "")
            return String(plain.prefix(column).split(separator: " ", omittingEmptySubsequences: false).last ?? "")
        }
        for (line, expected) in [
            (lines[2], ["80%", "12M", "31", "7", "5"]), (lines[3], ["20%", "12M", "46", "7", "0"]),
        ] {
            let found = try ["CPU", "MEM", "CONN", "WAIT", "RESTARTS"].map { try value($0, line) }
            #expect(found == expected, "\(line)")
        }
        // 10 % of the first sample, then 48 and 80: the largest to the top.
        #expect(lines[2].contains("▂▅█"), "\(lines[2])")
        report.services[0].fronts?[0].queued = 0
        model.update(report)
        #expect(!screen.lines(model)[1].contains("WAIT"))
    }

    @Test("Keys that end or suspend it do so wherever it is", arguments: ["", "/ab", "r", "l", "w", "?"])
    func ways(before: String) {
        var model = Self.model()
        _ = Self.press(before, &model)
        #expect(Self.press("\u{3}", &model) == .quit)
        #expect(Self.press("\u{1a}", &model) == .suspend)
    }

    @Test("A screen of any size is filled exactly", arguments: [1, 2, 3, 4, 10, 50], [1, 5, 20, 40, 80, 200])
    func sizes(height: Int, width: Int) {
        for keys in ["", "l", "\r", "?", "/web", "r", "G", "w"] {
            for allowsColour in [false, true] {
                var model = Self.model()
                _ = Self.press(keys, &model)
                model.showLog(of: "api/1", (1...100).map { "line \($0) " + String(repeating: "x", count: 300) })
                let screen = TopScreen(width: width, height: height, allowsColour: allowsColour, isUnicode: false)
                let lines = screen.lines(model)
                #expect(lines.count == height)
                for line in lines {
                    let shown = line.replacing(/\u{1b}\[[0-9;]*m/, with: "")
                    // A table's last columns are never left out, however narrow it is.
                    #expect(shown.count <= max(width, 24), "\(shown)")
                    #expect(shown.unicodeScalars.allSatisfy { $0.value >= 0x20 })
                }
            }
        }
    }

    @Test("The selected row is on the screen, in reverse")
    func selectedIsVisible() {
        var model = Self.model(Example.report([Example.service("api", replicas: 50)]))
        let screen = TopScreen(width: 100, height: 10, allowsColour: false, isUnicode: true)
        for _ in 0..<50 {
            let lines = screen.lines(model)
            let marked = lines.dropLast().filter { $0.hasPrefix("\u{1b}[7m") }
            #expect(marked.count == 1 && marked[0].hasPrefix("\u{1b}[7m\(model.selected ?? "") "), "\(lines)")
            #expect(Self.press("j", &model) == nil)
        }
    }
}
