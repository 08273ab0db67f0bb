import Foundation
import Metrics
import Testing

@Suite("Configs/grafana-dashboard.json")
struct DashboardTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Every query in it: of panels and of variables.
    private static func queries() throws -> [String] {
        let data = try Data(contentsOf: root.appending(path: "Configs/grafana-dashboard.json"))
        var found: [String] = []
        func look(at value: Any) {
            if let list = value as? [Any] { list.forEach(look) }
            guard let object = value as? [String: Any] else { return }
            for (key, value) in object {
                if ["expr", "query", "definition"].contains(key), let text = value as? String { found.append(text) }
                look(at: value)
            }
        }
        look(at: try JSONSerialization.jsonObject(with: data))
        return found
    }

    /// The names of metrics in a query.
    private static func names(in query: String) -> [String] { query.matches(of: #/supd_[a-z_]+/#).map { String($0.0) } }

    private static let families = Dictionary(
        MetricFamily.all.flatMap { family in family.sampleNames.map { ($0, family) } },
        uniquingKeysWith: { first, _ in first })

    @Test("every metric in it is in the table, and every panel asks for one")
    func metrics() throws {
        let queries = try Self.queries().filter { $0 != "prometheus" }
        #expect(queries.count > 30)
        for query in queries {
            let names = Self.names(in: query)
            #expect(!names.isEmpty, "\(query)")
            for name in names { #expect(Self.families[name] != nil, "there is no \(name): \(query)") }
        }
    }

    @Test("every label that it selects by, or shows, is one of that metric's")
    func labels() throws {
        var seen = 0
        for query in try Self.queries() {
            for match in query.matches(of: #/(supd_[a-z_]+)\{([^}]*)\}/#) {
                let family = try #require(Self.families[String(match.1)])
                for label in match.2.matches(of: #/([a-z]+)(=~|!=|!~|=)"/#) where label.1 != "job" {
                    #expect(family.labels.contains(String(label.1)), "\(query)")
                    seen += 1
                }
            }
            let labels = Self.names(in: query).compactMap { Self.families[$0] }.flatMap(\.labels)
            for group in query.matches(of: #/by \(([a-z, ]+)\)/#) {
                for label in group.1.split(separator: ",").map({ $0.trimmingCharacters(in: .whitespaces) }) {
                    #expect(labels.contains(label), "\(query)")
                }
            }
        }
        #expect(seen > 30)
    }

    @Test("each main thing of the table is shown")
    func coverage() throws {
        let shown = Set(try Self.queries().flatMap(Self.names))
        for prefix in [
            "supd_service_", "supd_instance_", "supd_probes_", "supd_log_", "supd_front_", "supd_endpoint_",
            "supd_role_",
        ] {
            #expect(shown.contains { $0.hasPrefix(prefix) }, "nothing of \(prefix)")
        }
    }

    /// What Grafana 9 and later expects of a panel, as far as it can be told without one.
    private struct Board: Decodable {
        struct Source: Decodable, Equatable { var type: String, uid: String }
        struct Place: Decodable { var x: Int, y: Int, w: Int, h: Int }
        struct Target: Decodable { var refId: String, expr: String, datasource: Source? }
        struct Panel: Decodable {
            var id: Int, type: String, title: String, gridPos: Place, datasource: Source?, targets: [Target]?
        }
        struct Variable: Decodable { var name: String, type: String }
        struct Variables: Decodable { var list: [Variable] }
        var title: String, uid: String?, schemaVersion: Int, panels: [Panel], templating: Variables
    }

    @Test("it has the form that Grafana reads: panels of known kinds, in a grid without overlaps, that ask one source")
    func form() throws {
        let data = try Data(contentsOf: Self.root.appending(path: "Configs/grafana-dashboard.json"))
        let board = try JSONDecoder().decode(Board.self, from: data)
        #expect(!board.title.isEmpty && board.schemaVersion >= 36)
        #expect(Set(board.panels.map(\.id)).count == board.panels.count)
        let variables = Set(board.templating.list.map(\.name))
        let source = try #require(board.templating.list.first { $0.type == "datasource" })
        // The kinds that come with Grafana.
        let kinds: Set = [
            "row", "stat", "timeseries", "table", "gauge", "bargauge", "state-timeline", "text", "barchart", "piechart",
        ]
        var taken: Set<[Int]> = []
        for panel in board.panels {
            #expect(kinds.contains(panel.type), "\(panel.type) of \(panel.title)")
            let place = panel.gridPos
            #expect(
                place.x >= 0 && place.y >= 0 && place.w > 0 && place.h > 0 && place.x + place.w <= 24, "\(panel.title)")
            for x in place.x..<(place.x + max(0, place.w)) {
                for y in place.y..<(place.y + max(0, place.h)) {
                    #expect(taken.insert([x, y]).inserted, "\(panel.title) is over another panel")
                }
            }
            guard panel.type != "row", panel.type != "text" else { continue }
            let targets = try #require(panel.targets, "\(panel.title)")
            #expect(!targets.isEmpty && Set(targets.map(\.refId)).count == targets.count, "\(panel.title)")
            for target in targets {
                let asked = try #require(target.datasource ?? panel.datasource, "\(panel.title)")
                #expect(asked.type == "prometheus" && ["$\(source.name)", "${\(source.name)}"].contains(asked.uid))
                for name in target.expr.matches(of: #/\$\{?([a-z_]+)/#).map({ String($0.1) }) {
                    #expect(variables.contains(name) || name.hasPrefix("__"), "$\(name) in \(target.expr)")
                }
            }
        }
    }
}
