import FoundationEssentials
import Manifest
import Testing

/// The line that says how to write the schema anew: `SUPD_REGENERATE=1 swift test --filter ManifestTests`.
private let regenerates = ProcessInfo.processInfo.environment["SUPD_REGENERATE"] == "1"

@Suite struct ReferenceTests {
    @Test func schemaInConfigsIsTheGeneratedOne() throws {
        let path = repository.appending(path: "Configs/manifest.schema.json")
        if regenerates { try Data(ManifestSchema.text.utf8).write(to: path) }
        let stored = String(decoding: try Data(contentsOf: path), as: UTF8.self)
        #expect(stored == ManifestSchema.text, "run: SUPD_REGENERATE=1 swift test --filter ManifestTests")
    }

    @Test func referenceLoadsWithoutErrorOrWarning() throws {
        let result = ManifestLoader.load(
            text: try config("reference.json5"), file: "reference.json5", directory: "/etc/supd", environment: [:],
            facts: testFacts)
        #expect(checkReport(result) == "reference.json5: 3 services, 5 instances: OK\n")
    }

    @Test func homeServerLoadsWithoutErrorOrWarning() throws {
        let result = ManifestLoader.load(
            text: try config("home-server.json5"), file: "home-server.json5", directory: "/etc/supd",
            environment: ["HOME_SERVER_DATA": "/srv/home-server", "POSTGRES_BIN": "/usr/lib/postgresql/15/bin"],
            facts: testFacts)
        #expect(checkReport(result) == "home-server.json5: 7 services, 9 instances: OK\n")
        #expect(result.manifest?.hooks?.map(\.occasions.count) == [3])
    }

    @Test func referenceMentionsEveryField() throws {
        let text = try config("reference.json5")
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        var active: Set<String> = []
        if let value = JSON5Reader.read(text).value { collectPaths(of: value, [], into: &active) }
        for field in FieldTable.descriptions {
            let path = field.path.joined(separator: ".")
            let name = field.path.last ?? ""
            let commented = lines.contains { $0.drop { $0 == " " }.hasPrefix("// \(name): ") }
            #expect(active.contains(path) || commented, "\(path) is missing")
        }
    }

    @Test func everyKeyOfTheReferenceHasACommentWhereItComesFirst() throws {
        let text = try config("reference.json5")
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.drop { $0 == " " } }
        for name in Set(FieldTable.descriptions.compactMap(\.path.last)) where name != "*" {
            // The first line on which the key is set, outside the example of `defaults`, or is commented out.
            let first = lines.indices.first { lines[$0].hasPrefix("\(name): ") || lines[$0].hasPrefix("// \(name): ") }
            let line = try #require(first, "\(name) is missing")
            let before = lines[max(0, line - 1)]
            #expect(
                lines[line].contains("//") || before.hasPrefix("//") || before.contains("{ //") || name == "stop"
                    || name == "environment",
                "\(name) has no comment")
        }
    }

    @Test func referenceStatesTheDefaultsEachAtItsKey() throws {
        let comments = comments(in: String(decoding: try config("reference.json5"), as: UTF8.self))
        var count = 0
        for field in FieldTable.descriptions {
            guard let standard = field.standard, let name = field.path.last, standard != .array([]) else { continue }
            if case .array = standard, name == "inheritEnvironment" { continue }
            let path = field.path.joined(separator: ".")
            let found = comments[path] ?? []
            #expect(
                found.contains { $0.contains("Default: \(standard.text())") },
                "no comment at \(path) has its default, \(standard.text()): \(found)")
            count += 1
        }
        #expect(count > 20)
    }

    /// The comments at each key, by its path with `*` for the name of a service: the lines of comment right before it,
    /// as one text, and the one behind it. Keys that are commented out are keys. The nesting is that of the indentation.
    private func comments(in text: String) -> [String: [String]] {
        var found: [String: [String]] = [:]
        var open: [(indent: Int, key: String)] = []
        var before: [Substring] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let indent = line.prefix { $0 == " " }.count
            let content = line.dropFirst(indent)
            guard let key = content.prefixMatch(of: #/(?:// )?([a-z][A-Za-z]*): /#)?.1 else {
                if content.hasPrefix("// ") { before.append(content.dropFirst(3)) } else { before = [] }
                continue
            }
            open.removeAll { $0.indent >= indent }
            open.append((indent, String(key)))
            var path = open.map(\.key)
            if path.count > 1, path[0] == "services" { path[1] = "*" }
            let behind = content.firstRange(of: "  // ").map { [content[$0.upperBound...]] } ?? []
            found[path.joined(separator: "."), default: []].append((before + behind).joined(separator: " "))
            before = []
        }
        return found
    }

    @Test func writingOutEveryDefaultChangesNothing() throws {
        var services: [String] = []
        var supd: [String] = []
        for field in FieldTable.descriptions {
            guard let standard = field.standard?.text() else { continue }
            let keys = field.path.first == "services" ? field.path.dropFirst(2) : field.path.dropFirst(1)
            let text =
                keys.dropLast().map { "\($0): { " }.joined() + "\(keys.last ?? ""): \(standard)"
                + String(repeating: " }", count: keys.count - 1)
            if field.path == ["services", "*", "listen", field.path.last ?? ""] {
                // A map of `listen` needs an address beside the field.
                #expect(
                    try service("listen: { address: 8080, \(field.path.last ?? ""): \(standard) }")
                        == service("listen: 8080"))
                continue
            }
            if keys.first == "balance" {
                // Needs a front.
                #expect(try service("listen: 8080, \(text)") == service("listen: 8080"))
                continue
            }
            if field.path.first == "services" { services.append(text) } else { supd.append(text) }
        }
        #expect(services.count > 20)
        for text in services { #expect(try service(text) == service(""), "\(text)") }
        for text in supd {
            #expect(
                try manifest("{ supd: { \(text) }, services: { a: { command: ['a'] } } }")
                    == manifest("{ services: { a: { command: ['a'] } } }"))
        }
    }

    private func collectPaths(of value: JSON5Value, _ path: [String], into paths: inout Set<String>) {
        if case .array(let elements) = value.content {
            for element in elements { collectPaths(of: element, path, into: &paths) }
        }
        guard case .object(let members) = value.content else { return }
        for member in members {
            let own = path + [path == ["services"] ? "*" : member.key]
            paths.insert(own.joined(separator: "."))
            collectPaths(of: member.value, own, into: &paths)
        }
    }
}
