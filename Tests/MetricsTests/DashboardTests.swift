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
}
