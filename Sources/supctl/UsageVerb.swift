import ControlAPI
import Platform
import Why

let usageVerb = Verb(
    name: "usage", synopsis: "[NAME…]", summary: "show what instances have used of late",
    details: """
        Of each instance: CPU in percent of one core, resident memory, connections of the
        balancer, threads and open descriptors: now, on average (AVG) and at most (MAX) in
        the last hour, and the course of CPU and memory in thirty parts of it, of each the
        highest. Threads and descriptors are shown as now and at most.

        supd looks every ten seconds, for a day after somebody has asked; where services
        have a limit of as, data or nofile, at these always; otherwise never. It keeps the
        last hour in steps of ten seconds and the last day in steps of five minutes (the
        average of CPU, the highest of all else), 10,368 bytes an instance, in memory: it
        outlives a crash of the supervisor and an upgrade of supd, and begins anew with a
        restart of supd. The last line says since when there is something.
        """,
    options: [
        Verb.Option("--day", "the last day in place of the last hour"),
        Verb.Option("--json", "as JSON, with all steps of the span; what is not known is null"),
    ], operands: .names
) { invocation throws(VerbFailure) in
    let names = try invocation.checked(invocation.operands)
    let client = try invocation.client()
    let isDay = invocation.has("--day")
    let series: UsageSeriesName? = invocation.has("--json") ? (isDay ? .day : .hour) : nil
    let text = try asking { () throws(ControlClientError) in
        try client.ask(.usage(names: names, series: series), timeout: .seconds(20))
    }
    if invocation.has("--json") {
        // As it came: a newer daemon may say more than this program knows.
        try invocation.console.write(text + [UInt8(ascii: "\n")])
        return .done
    }
    guard let report = ControlJSON.decode(UsageReport.self, from: text) else {
        throw VerbFailure(
            .failed, "cannot understand the answer of supd at \(client.socketPath): is it another version?")
    }
    let terminal = invocation.console.output
    let shown = UsageTable(isDay: isDay, sparkline: Sparkline(isUnicode: Sparkline.terminalIsUnicode))
    try invocation.console.print(
        String(
            shown.text(
                report, now: wallClockNanoseconds(), width: terminal.width, allowsColour: terminal.allowsColour
            ).dropLast()))
    return .done
}

/// What `supctl usage` prints.
struct UsageTable {
    /// Whether the last day is shown, or the last hour.
    var isDay: Bool
    var sparkline: Sparkline

    /// The table, and since when there is something to show.
    func text(_ report: UsageReport, now: Int64, width: Int?, allowsColour: Bool) -> String {
        let table = TextTable(columns: columns, rows: report.instances.map { .cells(cells($0)) })
        return table.rendered(width: width, allowsColour: allowsColour)
            + shortened(since(report, now), to: width) + "\n"
    }

    private var columns: [TextTable.Column] {
        let span = isDay ? "24H" : "1H"
        func column(_ title: String, _ importance: Int) -> TextTable.Column {
            .init(title: title, alignsRight: true, importance: importance)
        }
        return [
            .init(title: "INSTANCE", shortest: 8), column("CPU", 12), column("AVG", 9), column("MAX", 10),
            .init(title: "CPU \(span)", importance: 4), column("MEM", 13), column("AVG", 7), column("MAX", 11),
            .init(title: "MEM \(span)", importance: 5), column("CONN", 8), column("MAX", 3), column("THR", 6),
            column("MAX", 1), column("FDS", 6), column("MAX", 2),
        ]
    }

    private func cells(_ instance: InstanceUsage) -> [TextTable.Cell] {
        let span = isDay ? instance.day : instance.hour
        func percent(_ value: Double?) -> TextTable.Cell { .init(value.map(HumanText.percent) ?? "") }
        func bytes(_ value: UInt64?) -> TextTable.Cell { .init(value.map(HumanText.bytes) ?? "") }
        func count(_ value: UInt64?) -> TextTable.Cell { .init(value.map(HumanText.count) ?? "") }
        let (now, highest) = (instance.now, span.highest)
        return [
            .init(instance.id), percent(now.cpuPercent), percent(span.average.cpuPercent), percent(highest.cpuPercent),
            .init(sparkline.text(span.cpuPercent, least: 1)), bytes(now.memoryBytes), bytes(span.average.memoryBytes),
            bytes(highest.memoryBytes), .init(sparkline.text(span.memoryBytes.map { $0.map { Double($0) } }, least: 1)),
            count(now.connections), count(highest.connections), count(now.threads), count(highest.threads),
            count(now.descriptors), count(highest.descriptors),
        ]
    }

    private func since(_ report: UsageReport, _ now: Int64) -> String {
        let goesOn = "it goes on for \(HumanText.uptime(Double(max(0, report.endsAfterSeconds)))) after this"
        guard let since = report.since, let began = TimeArgument.read(since, now: now) else {
            return "nothing is known yet; from now on it is looked every \(report.everySeconds) s"
        }
        let ago = Double(max(0, now - began)) / 1e9
        let when = ago < 1 ? "now" : "\(printable(since)) (\(HumanText.uptime(ago)) ago)"
        return "looked at every \(report.everySeconds) s since \(when); \(goesOn)"
    }
}
