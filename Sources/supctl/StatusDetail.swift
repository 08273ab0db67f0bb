import ControlAPI
import Why

/// The view of one service in `supctl status NAME`: all that is known, limits in force included.
enum StatusDetail {
    static func text(_ service: ServiceStatus, width: Int?, allowsColour: Bool) -> String {
        var page = Page(width: width)
        let word = printable(service.state)
        let state = allowsColour ? Colour.of(state: service.state)?.wrap(word) ?? word : word
        let ready = service.kind == "task" ? "completed" : "ready"
        page.lines.append(
            "\(printable(service.name)) (\(printable(service.kind))): \(state), \(service.ready) of \(service.replicas) "
                + "\(ready)\(service.readyBeside > 0 ? " and \(service.readyBeside) beside them" : ""), to be \(printable(service.goal))"
        )
        if let line = StatusTable.scaledLine(service) { page.add("scaled", line) }
        for line in StatusTable.frontLines(service) { page.add("front", line) }
        for instance in service.instances { add(instance, to: &page) }
        return page.lines.map { $0 + "\n" }.joined()
    }

    private static func add(_ instance: InstanceStatus, to page: inout Page) {
        page.lines.append("")
        let isReady = instance.ready && instance.state != "completed" ? ", ready" : ""
        let isDrained = instance.drained == true ? ", drained" : ""
        let isUnhealthy = instance.health?.isUnhealthy == true ? ", unhealthy" : ""
        page.lines.append(
            shortened(
                printable("\(instance.id): \(instance.state)\(isReady)\(isDrained)\(isUnhealthy)"), to: page.width))
        if let detail = instance.detail { page.add("detail", detail) }
        if let text = instance.statusText { page.add("says", text) }
        var process: [String] = []
        if let pid = instance.pid { process.append("pid \(pid)") }
        if let uptime = instance.uptimeSeconds { process.append("up \(HumanText.uptime(uptime))") }
        process.append(instance.restarts == 1 ? "1 restart" : "\(instance.restarts) restarts")
        if let port = instance.port { process.append("port \(port)") }
        page.add("process", process.joined(separator: ", "))
        var use: [String] = []
        if let cpu = instance.cpuPercent { use.append("\(HumanText.percent(cpu)) CPU") }
        if let memory = instance.memoryBytes { use.append("\(HumanText.bytes(memory)) memory") }
        if !use.isEmpty { page.add("use", use.joined(separator: ", ")) }
        if let flow = instance.flow { page.add("clients", StatusTable.flowText(flow)) }
        if let exit = instance.lastExit { page.add("last exit", "\(exit.reason), at \(exit.at)") }
        if let health = instance.health { add(health, to: &page) }
        if let dropped = instance.droppedOutput {
            let lines = dropped.lines == 1 ? "1 line" : "\(dropped.lines) lines"
            page.add("log", "\(lines) (\(dropped.bytes) bytes) dropped: \(dropped.reason)")
        }
        if let missing = instance.notInJournal {
            let lines = missing.lines == 1 ? "1 line" : "\(missing.lines) lines"
            page.add("journal", "\(lines) not sent to it, in the files only: \(missing.reason)")
        }
        if let limits = instance.limits {
            let words = limits.sorted { $0.key < $1.key }.map { "\($0.key) \(text($0.value, of: $0.key))" }
            page.addWrapped("limits", words)
        }
    }

    private static func add(_ health: HealthStatus, to page: inout Page) {
        let count = health.failures > 0 ? ", \(health.failures) failed in a row" : ""
        page.add("health", "\(health.state)\(count)")
        guard let failure = health.lastFailure else { return }
        page.add("", "last failure \(failure.at): \(failure.reason)")
        guard let output = failure.output else { return }
        for line in output.split(whereSeparator: \.isNewline).suffix(10) { page.add("", "| \(line)") }
    }

    /// `4096`, or `1024:4096` where soft and hard differ; sizes in their unit where it is exact.
    private static func text(_ limit: LimitStatus, of name: String) -> String {
        let isSize = ["as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"].contains(name)
        func text(_ value: UInt64?) -> String {
            guard let value else { return "unlimited" }
            guard isSize else { return String(value) }
            for (unit, size) in [("G", UInt64(1) << 30), ("M", 1 << 20), ("K", 1 << 10)]
            where value > 0 && value.isMultiple(of: size) {
                return "\(value / size)\(unit)"
            }
            return String(value)
        }
        return limit.soft == limit.hard ? text(limit.soft) : "\(text(limit.soft)):\(text(limit.hard))"
    }

    /// Lines with a heading at their left.
    private struct Page {
        let width: Int?
        var lines: [String] = []

        init(width: Int?) { self.width = width }

        mutating func add(_ heading: String, _ text: String) {
            lines.append(shortened(indented(heading) + printable(text), to: width))
        }

        /// Puts as many words on a line as there is room for, with commas between them.
        mutating func addWrapped(_ heading: String, _ words: [String]) {
            var line = indented(heading)
            var isEmpty = true
            for (index, word) in words.enumerated() {
                let piece = printable(word) + (index < words.count - 1 ? "," : "")
                if !isEmpty, line.count + 1 + piece.count > width ?? 100 {
                    lines.append(shortened(line, to: width))
                    line = indented("")
                    isEmpty = true
                }
                line += isEmpty ? piece : " " + piece
                isEmpty = false
            }
            lines.append(shortened(line, to: width))
        }

        private func indented(_ heading: String) -> String {
            "  " + heading + String(repeating: " ", count: max(1, 11 - heading.count))
        }
    }
}
