import ControlAPI
import Why

/// The tables of `supctl balancer`: one of fronts, one of instances.
enum BalancerTables {
    /// What rates are worked out from.
    struct Earlier {
        var report: BalancerReport
        /// How long ago.
        var seconds: Double
    }

    static func text(
        _ report: BalancerReport, since earlier: Earlier? = nil, width: Int?, allowsColour: Bool
    ) -> String {
        guard !report.services.isEmpty else { return "no fronts\n" }
        let fronts = report.services.flatMap { service in
            service.fronts.map {
                (["\(service.name) \($0.address)"], $0.counters, earlier?.front(service.name, $0.address))
            }
        }
        let instances = report.services.flatMap { service in
            service.instances.map { ([$0.id, state($0)], $0.counters, earlier?.instance($0.id)) }
        }
        var text = table(
            [TextTable.Column(title: "FRONT", shortest: 16)], frontColumns, fronts, earlier?.seconds, width,
            allowsColour)
        text += "\n"
        text += table(
            [
                TextTable.Column(title: "INSTANCE", shortest: 8),
                TextTable.Column(title: "STATE", importance: 95, shortest: 10),
            ],
            instanceColumns, instances, earlier?.seconds, width, allowsColour)
        if report.acceptPauses > 0 {
            let times = report.acceptPauses == 1 ? "once" : "\(HumanText.count(report.acceptPauses)) times"
            text += "\naccepting paused \(times) for want of descriptors; raise the limit of open files of supd\n"
        }
        return text
    }

    private static func state(_ instance: BalancedInstance) -> String {
        // What is out of the ordinary first: the end may be cut.
        var words: [String] = []
        if let left = instance.setAsideSeconds {
            words.append(left > 0 ? "aside \(HumanText.seconds(left))" : "aside, to be tried")
        }
        if let ago = instance.failedSecondsAgo {
            words.append("connect failed \(ago < 60 ? HumanText.seconds(ago) : HumanText.uptime(ago)) ago")
        }
        if instance.drained { words.append("drained") }
        if words.isEmpty || instance.state != "running" { words.append(instance.state) }
        return words.joined(separator: ", ")
    }

    // MARK: Columns

    /// A column of counters: its title, what it is worth, and its text; nil: there is nothing to say.
    private struct Counter {
        var title: String
        var importance: Int?
        var text: (SessionCounters, Change?) -> String?

        init(_ title: String, _ importance: Int?, _ text: @escaping (SessionCounters, Change?) -> String?) {
            self.title = title
            self.importance = importance
            self.text = text
        }

        static func count(_ title: String, _ importance: Int, _ key: KeyPath<SessionCounters, UInt64>) -> Counter {
            Counter(title, importance) { counters, _ in HumanText.count(counters[keyPath: key]) }
        }
    }

    /// What has changed, and in how long a time.
    private struct Change {
        var from: SessionCounters
        var seconds: Double

        /// How much more a second; nil where the counters have begun anew.
        func rate(_ now: UInt64, _ key: KeyPath<SessionCounters, UInt64>) -> UInt64? {
            let before = from[keyPath: key]
            guard now >= before, seconds > 0 else { return nil }
            let rate = (Double(now - before) / seconds).rounded()
            return rate < 1e18 ? UInt64(rate) : nil
        }
    }

    private static var common: [Counter] {
        [
            Counter("CUR", nil) { counters, _ in HumanText.count(counters.connections) },
            .count("MAX", 70, \.connectionsMax),
            .count("TOTAL", 90, \.connectionsTotal),
            Counter("RATE", 92) { counters, change in
                HumanText.count(change?.rate(counters.connectionsTotal, \.connectionsTotal) ?? counters.rate)
            },
            .count("RMAX", 40, \.rateMax),
        ]
    }

    private static var bytes: [Counter] {
        [
            Counter("IN", 75) { counters, _ in HumanText.bytes(counters.bytesIn) },
            Counter("OUT", 74) { counters, _ in HumanText.bytes(counters.bytesOut) },
            Counter("IN/S", 78) { counters, change in
                change?.rate(counters.bytesIn, \.bytesIn).map(HumanText.bytes)
            },
            Counter("OUT/S", 77) { counters, change in
                change?.rate(counters.bytesOut, \.bytesOut).map(HumanText.bytes)
            },
        ]
    }

    private static var failures: [Counter] {
        [
            .count("ERRORS", 80, \.connectErrors),
            .count("RETRIES", 45, \.retries),
            .count("REDISP", 30, \.redispatches),
        ]
    }

    private static var frontColumns: [Counter] {
        common + [.count("QUEUE", 91, \.queued), .count("QMAX", 50, \.queuedMax)] + bytes + [
            .count("AWAY", 85, \.turnedAway),
            .count("DENIED", 60, \.denied),
            .count("LIMITED", 55, \.limited),
        ] + failures
    }

    private static var instanceColumns: [Counter] {
        common + bytes + failures + [
            .count("ASIDE", 65, \.setAside),
            Counter("CONNECT", 82) { counters, _ in counters.connectSecondsAverage.map(HumanText.seconds) },
            Counter("SLOWEST", 62) { counters, _ in counters.connectSecondsMax.map(HumanText.seconds) },
        ]
    }

    private static func table(
        _ names: [TextTable.Column], _ counters: [Counter],
        _ entries: [(names: [String], counters: SessionCounters, earlier: SessionCounters?)], _ seconds: Double?,
        _ width: Int?, _ allowsColour: Bool
    ) -> String {
        let columns = counters.map { TextTable.Column(title: $0.title, alignsRight: true, importance: $0.importance) }
        let rows = entries.flatMap { entry -> [TextTable.Row] in
            let change = entry.earlier.flatMap { from in seconds.map { Change(from: from, seconds: $0) } }
            let cells =
                entry.names.map { TextTable.Cell($0) }
                + counters.map { TextTable.Cell($0.text(entry.counters, change) ?? "") }
            return [.cells(cells)] + (ends(entry.counters).map { [.line("  ends: \($0)")] } ?? [])
        }
        return TextTable(columns: names + columns, rows: rows).rendered(width: width, allowsColour: allowsColour)
    }

    /// `-- 1.2k, CD 5`: the most frequent first; nil without any.
    private static func ends(_ counters: SessionCounters) -> String? {
        let ends = counters.ends.filter { $0.value > 0 }
            .sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.key) \(HumanText.count($0.value))" }
        return ends.isEmpty ? nil : ends.joined(separator: ", ")
    }
}

extension BalancerTables.Earlier {
    fileprivate func front(_ service: String, _ address: String) -> SessionCounters? {
        report.services.first { $0.name == service }?.fronts.first { $0.address == address }?.counters
    }

    fileprivate func instance(_ id: String) -> SessionCounters? {
        report.services.lazy.flatMap(\.instances).first { $0.id == id }?.counters
    }
}
