import ControlAPI
import Why

/// Draws the full-screen view: exactly as many lines as the screen has, none longer than it is wide.
struct TopScreen {
    var width: Int
    var height: Int
    var allowsColour: Bool
    /// Whether the terminal shows more than ASCII.
    var isUnicode: Bool

    /// Lines above and below the page: summary, title of the columns, the last line.
    static let frame = 3

    /// How many rows or lines of a page there is room for.
    var room: Int { max(1, height - Self.frame) }

    /// The screen.
    func lines(_ model: TopModel) -> [String] {
        var lines = [bold(fitted(summary(model)))]
        switch model.view {
        case .table: lines += table(model)
        case .help: lines += page(model, title: "help")
        case .detail(let service): lines += page(model, title: service)
        case .logs(let instance): lines += page(model, title: "log of \(instance)")
        case .why(let instance): lines += page(model, title: "why \(instance)")
        }
        lines = Array(lines.prefix(max(0, height - 1)))
        lines += Array(repeating: "", count: max(0, height - 1 - lines.count))
        return Array((lines + [reversed(footer(model))]).suffix(max(0, height)))
    }

    // MARK: First and last line

    private func summary(_ model: TopModel) -> String {
        guard let report = model.report else { return "supd: no answer yet" }
        let instances = report.services.flatMap(\.instances)
        let ready = instances.count(where: \.ready)
        let memory = instances.compactMap(\.memoryBytes).reduce(UInt64(0)) { $0 &+ $1 }
        let connections = instances.compactMap { $0.flow?.connections }.reduce(UInt64(0)) { $0 &+ $1 }
        return "supd \(report.daemon.version), up \(HumanText.uptime(report.daemon.uptimeSeconds)): "
            + "\(report.services.count) services, \(ready) of \(instances.count) instances ready, "
            + "\(HumanText.count(connections)) connections, \(HumanText.bytes(memory)) memory"
    }

    private func footer(_ model: TopModel) -> String {
        switch model.prompt {
        case .filter(let text): return "show only: \(text)_   (Enter keeps it, Esc shows all)"
        case .restart(let instance): return "restart \(instance)? y/n"
        case .none: break
        }
        if let message = model.message { return message }
        let keys = "? help  s sort  / filter  Enter detail  l log  w why  r restart  q quit"
        if model.view != .table { return "Esc back  ↑↓ PgUp PgDn scroll" }
        return model.filter.isEmpty ? keys : "only \"\(model.filter)\" (Esc shows all)  " + keys
    }

    // MARK: The table

    private static let columns = [
        TextTable.Column(title: "INSTANCE", shortest: 8),
        TextTable.Column(title: "STATE"),
        TextTable.Column(title: "CPU", alignsRight: true, importance: 9),
        TextTable.Column(title: "", importance: 4),
        TextTable.Column(title: "MEM", alignsRight: true, importance: 8),
        TextTable.Column(title: "MEM 1H", importance: 1),
        TextTable.Column(title: "CONN", alignsRight: true, importance: 7),
        TextTable.Column(title: "THR", alignsRight: true, importance: 2),
        TextTable.Column(title: "FDS", alignsRight: true, importance: 2),
        TextTable.Column(title: "WAIT", alignsRight: true, importance: 2),
        TextTable.Column(title: "RESTARTS", alignsRight: true, importance: 5),
        TextTable.Column(title: "UPTIME", alignsRight: true, importance: 3),
        TextTable.Column(title: "DETAIL", importance: 6, shortest: 12),
    ]

    private func table(_ model: TopModel) -> [String] {
        let first = firstRow(model)
        let shown = model.rows.dropFirst(first).prefix(room)
        let table = TextTable(columns: Self.columns, rows: shown.map { .cells(cells($0)) })
        func drawn(_ allowsColour: Bool) -> [String] {
            table.rendered(width: width, allowsColour: allowsColour).split(
                separator: "\n", omittingEmptySubsequences: false
            ).map(String.init).dropLast()
        }
        var lines = drawn(allowsColour)
        let selected = model.selectedRow - first + 1
        if lines.indices.contains(selected), !model.rows.isEmpty { lines[selected] = reversed(drawn(false)[selected]) }
        if model.rows.isEmpty { lines.append(model.filter.isEmpty ? "no instances" : "none contains \(model.filter)") }
        return lines
    }

    /// The row at the top: so that the selected one is on the screen, in the middle of it where there are more.
    private func firstRow(_ model: TopModel) -> Int {
        max(0, min(model.selectedRow - room / 2, model.rows.count - room))
    }

    private func cells(_ row: TopRow) -> [TextTable.Cell] {
        [
            .init(row.id), .init(row.state, Colour.of(state: row.state)),
            .init(row.cpu.map(HumanText.percent) ?? ""), .init(history(row.history)),
            .init(row.memory.map(HumanText.bytes) ?? ""), .init(course(row.memoryHistory)),
            .init(row.connections.map(HumanText.count) ?? ""), .init(row.threads.map(HumanText.count) ?? ""),
            .init(row.descriptors.map(HumanText.count) ?? ""),
            .init(row.waiting.map { $0 > 0 ? HumanText.count($0) : "" } ?? ""), .init(String(row.restarts)),
            .init(row.uptime.map(HumanText.uptime) ?? ""), .init(row.detail),
        ]
    }

    /// The last ten values as bars, the largest of them, but at least 10 %, to the top.
    private func history(_ values: [Double]) -> String {
        Sparkline(isUnicode: isUnicode).text(values.suffix(10).map { $0 }, least: 10)
    }

    /// Nothing for what is not known at all.
    private func course(_ values: [Double?]) -> String {
        values.allSatisfy { $0 == nil } ? "" : Sparkline(isUnicode: isUnicode).text(values, least: 1)
    }

    // MARK: Pages

    private func page(_ model: TopModel, title: String) -> [String] {
        let isLog = if case .logs = model.view { true } else { false }
        let most = max(0, model.page.count - room)
        let first = isLog ? most - min(model.scroll, most) : min(model.scroll, most)
        let shown = model.page.dropFirst(first).prefix(room)
        return [fitted(title)] + shown.map { fitted(printable($0)) }
    }

    // MARK: Text

    private func fitted(_ text: String) -> String { shortened(text, to: width) }

    private func bold(_ text: String) -> String { allowsColour ? "\u{1b}[1m\(text)\u{1b}[0m" : text }

    /// In reverse video, which every terminal knows; over the whole width.
    private func reversed(_ text: String) -> String {
        let shown = fitted(printable(isUnicode ? text : ascii(text)))
        return "\u{1b}[7m\(shown)\(String(repeating: " ", count: max(0, width - shown.count)))\u{1b}[0m"
    }

    private func ascii(_ text: String) -> String { text.replacing("↑↓", with: "Up Down") }
}
