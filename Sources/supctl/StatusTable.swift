import ControlAPI
import Why

/// The table of `supctl status`: a line a service; replicas and fronts are listed below theirs.
enum StatusTable {
    static func text(_ report: StatusReport, width: Int?, allowsColour: Bool) -> String {
        guard !report.services.isEmpty else { return "no services\n" }
        return TextTable(columns: columns, rows: report.services.flatMap(rows))
            .rendered(width: width, allowsColour: allowsColour)
    }

    private static let columns = [
        TextTable.Column(title: "NAME", shortest: 8),
        TextTable.Column(title: "STATE"),
        TextTable.Column(title: "READY", importance: 8),
        TextTable.Column(title: "PID", alignsRight: true, importance: 2),
        TextTable.Column(title: "PORT", alignsRight: true, importance: 1),
        TextTable.Column(title: "UPTIME", alignsRight: true, importance: 6),
        TextTable.Column(title: "RESTARTS", alignsRight: true, importance: 5),
        TextTable.Column(title: "CPU", alignsRight: true, importance: 3),
        TextTable.Column(title: "MEM", alignsRight: true, importance: 4),
        TextTable.Column(title: "DETAIL", importance: 7, shortest: 16),
    ]

    private static func rows(_ service: ServiceStatus) -> [TextTable.Row] {
        let scaled = scaledLine(service).map { [TextTable.Row.line("  scaled " + $0)] } ?? []
        let fronts = scaled + frontLines(service).map { TextTable.Row.line("  " + $0) }
        let beside = service.readyBeside
        let ready = "\(service.ready)/\(service.replicas)" + (beside > 0 ? " +\(beside)" : "")
        if service.replicas == 1, let instance = service.instances.first, service.instances.count == 1 {
            return [.cells(cells(instance, name: service.name, state: service.state, ready: ready))] + fronts
        }
        let cpu = service.instances.compactMap(\.cpuPercent)
        let memory = service.instances.compactMap(\.memoryBytes)
        let summary = [
            TextTable.Cell(service.name),
            state(service.state),
            TextTable.Cell(ready),
            TextTable.Cell(""),
            TextTable.Cell(""),
            TextTable.Cell(""),
            TextTable.Cell(String(sum(service.instances.map { UInt64(clamping: $0.restarts) }))),
            TextTable.Cell(cpu.isEmpty ? "" : HumanText.percent(cpu.reduce(0, +))),
            TextTable.Cell(memory.isEmpty ? "" : HumanText.bytes(sum(memory))),
        ]
        let instances = service.instances.map { instance in
            TextTable.Row.cells(
                cells(instance, name: "  " + instance.id, state: instance.state, ready: instance.ready ? "yes" : "no"))
        }
        return [.cells(summary)] + instances + fronts
    }

    private static func cells(
        _ instance: InstanceStatus, name: String, state word: String, ready: String
    ) -> [TextTable.Cell] {
        [
            TextTable.Cell(name),
            marked(instance, word),
            TextTable.Cell(ready),
            TextTable.Cell(instance.pid.map(String.init) ?? ""),
            TextTable.Cell(instance.port.map(String.init) ?? ""),
            TextTable.Cell(instance.uptimeSeconds.map(HumanText.uptime) ?? ""),
            TextTable.Cell(String(instance.restarts)),
            TextTable.Cell(instance.cpuPercent.map(HumanText.percent) ?? ""),
            TextTable.Cell(instance.memoryBytes.map(HumanText.bytes) ?? ""),
            TextTable.Cell(detail(instance)),
        ]
    }

    /// The state, and what a running instance is besides.
    private static func marked(_ instance: InstanceStatus, _ word: String) -> TextTable.Cell {
        let marks = [
            instance.drained == true ? "drained" : nil, instance.health?.isUnhealthy == true ? "unhealthy" : nil,
        ].compactMap { $0 }
        return marks.isEmpty ? state(word) : TextTable.Cell(([word] + marks).joined(separator: ", "), .yellow)
    }

    private static func state(_ word: String) -> TextTable.Cell { TextTable.Cell(word, Colour.of(state: word)) }

    /// What it waits for, or why it is not up; failing that, how it ended last.
    static func detail(_ instance: InstanceStatus) -> String {
        if let detail = instance.detail {
            guard instance.state == "backoff", let reason = instance.lastExit?.reason, !detail.contains(reason) else {
                return detail
            }
            return "\(detail): \(reason)"
        }
        if instance.drained == true, let open = instance.flow?.connections, open > 0 {
            return "\(counted(open, "connection", "connections")) still open"
        }
        if instance.ready || instance.state == "completed" { return "" }
        return instance.lastExit?.reason ?? ""
    }

    /// The sum, or the largest number there is.
    private static func sum(_ numbers: [UInt64]) -> UInt64 {
        numbers.reduce(0) { total, number in
            let (sum, overflow) = total.addingReportingOverflow(number)
            return overflow ? .max : sum
        }
    }

    /// What a user has scaled it to, or how it scales itself; nil: it is as the manifest says.
    static func scaledLine(_ service: ServiceStatus) -> String? {
        if let rule = service.scaling {
            let hindrance = service.scalingHindrance.map { "; its load asks for more than it can have: \($0)" } ?? ""
            return "by itself: \(rule)\(hindrance)"
        }
        return service.scaledFrom.map { "to \(service.replicas), the manifest says \($0)" }
    }

    /// A line for each front.
    static func frontLines(_ service: ServiceStatus) -> [String] {
        let passed = (service.passed ?? []).map { "\($0): its instances accept by themselves" }
        guard let fronts = service.fronts else {
            let balanced = service.listen.filter { !(service.passed ?? []).contains($0) }
            return balanced.map { "\($0): no figures, since the balancer did not answer" } + passed
        }
        return fronts.map { "\($0.address ?? "?"): \(flowText($0))" } + passed
    }

    /// The counters in words; what is nought and of no interest then is left out.
    static func flowText(_ flow: FlowStatus) -> String {
        var parts = [
            "\(HumanText.count(flow.connections)) open", "\(HumanText.count(flow.connectionsTotal)) in all",
            "\(HumanText.bytes(flow.bytesIn)) in", "\(HumanText.bytes(flow.bytesOut)) out",
        ]
        if let queued = flow.queued, queued > 0 { parts.append("\(HumanText.count(queued)) waiting") }
        if flow.connectErrors > 0 { parts.append(counted(flow.connectErrors, "connect error", "connect errors")) }
        if flow.retries > 0 { parts.append(counted(flow.retries, "retry", "retries")) }
        if let turnedAway = flow.turnedAway, turnedAway > 0 {
            parts.append("\(HumanText.count(turnedAway)) turned away")
        }
        return parts.joined(separator: ", ")
    }

    private static func counted(_ count: UInt64, _ one: String, _ many: String) -> String {
        "\(HumanText.count(count)) \(count == 1 ? one : many)"
    }
}
