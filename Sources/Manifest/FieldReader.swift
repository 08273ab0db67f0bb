/// What reading a value needs to know, and where its errors go.
struct FieldReader: Sendable {
    /// The errors so far.
    var problems: ProblemLog
    /// The warnings so far.
    var warnings = ProblemLog()
    /// The way to the value that is being read.
    var path = Path()
    /// supd's own environment, for `${env:NAME}`.
    let environment: [String: String]
    /// The manifest's directory, absolute.
    let directory: String
    /// Whether the value may be a secret and must not be shown.
    var isSecret = false
    /// What else the value may be than what its format says: `, or false`.
    var alternative = ""
    /// Looking for similar words costs time: an absurd manifest gets errors, but not all of them a suggestion.
    private var suggestionsLeft = 200

    init(problems: ProblemLog, environment: [String: String], directory: String) {
        self.problems = problems
        self.environment = environment
        self.directory = directory
    }

    /// Where the value at an offset stands.
    func location(_ offset: Int) -> Location { Location(offset: offset, path: path.text) }

    /// Reports a value that is not what it should be. `suggestion`: `; did you mean "x"?`.
    mutating func report(_ value: JSON5Value, expected: String, suggestion: String = "") {
        let found = problems.isFull ? "" : described(value)
        let hint = value.content == .null ? "; leave the key out for its default" : ""
        let wanted = expected + alternative + suggestion + hint
        report(value.offset, "found \(found), expected \(wanted)")
    }

    /// Reports an error at a place.
    mutating func report(_ offset: Int, _ message: @autoclosure () -> String) {
        if problems.isFull { return problems.addUnseen() }
        let (location, message) = (location(offset), message())
        problems.add(location, message)
    }

    /// A value in a message: its text if it is short and no secret, else its type.
    func described(_ value: JSON5Value) -> String {
        switch value.content {
        case .null: "null"
        case .array: "a list"
        case .object: "a map"
        case .bool where isSecret: "true or false"
        case .number where isSecret: "a number"
        case .string where isSecret: "a string"
        case .bool(let value): "\(value)"
        case .number(let number): number.text.utf8.count <= 40 ? number.text : "a long number"
        case .string(let text): quoted(text)
        }
    }

    /// `; did you mean "x"?`, or nothing.
    mutating func suggestion(for word: String, among candidates: some Sequence<String>) -> String {
        guard suggestionsLeft > 0, !isSecret else { return "" }
        suggestionsLeft -= 1
        return nearest(to: word, among: candidates).map { "; did you mean \(quoted($0))?" } ?? ""
    }

    /// Reads something one step further down.
    mutating func within<Result>(_ step: Path.Step, _ body: (inout FieldReader) -> Result) -> Result {
        path.steps.append(step)
        defer { path.steps.removeLast() }
        return body(&self)
    }
}

/// What a value may be: how to read it, how to say it in a message, and its JSON Schema. One definition drives all
/// three.
struct Format<Value: Sendable>: Sendable {
    /// What is expected, in words: `a duration like "10s"`.
    let expected: String
    /// The JSON Schema of the value.
    let schema: JSONText
    /// Whether texts in it may hold `${…}`.
    var allowsVariables = false
    /// Reads the value; nil after an error was reported.
    let read: @Sendable (JSON5Value, inout FieldReader) -> Value?

    /// The same format with its result changed; the change may report an error and return nil.
    func map<Other>(_ change: @escaping @Sendable (Value, JSON5Value, inout FieldReader) -> Other?) -> Format<Other> {
        Format<Other>(expected: expected, schema: schema, allowsVariables: allowsVariables) { [read] value, reader in
            guard let result = read(value, &reader) else { return nil }
            return change(result, value, &reader)
        }
    }

    /// The value together with its place.
    var located: Format<Located<Value>> {
        map { result, value, reader in Located(value: result, location: reader.location(value.offset)) }
    }
}

/// One key of a section of the manifest.
struct Field<Target>: Sendable {
    /// The key.
    let name: String
    /// One sentence for people.
    let summary: String
    /// What is expected, in words.
    let expected: String
    /// The value that leaving it out stands for; nil: none, or one that depends on other fields.
    let standard: JSONText?
    /// Whether it must be there.
    let required: Bool
    /// Whether its texts may hold `${…}`.
    let allowsVariables: Bool
    /// Whether `defaults` may hold it.
    let inDefaults: Bool
    /// Its JSON Schema, without summary and default.
    let schema: JSONText
    /// The fields below it.
    let children: [FieldDescription]
    /// Reads the value into the target.
    let apply: @Sendable (JSON5Value, inout Target, inout FieldReader) -> Void

    /// A field with a format of its own.
    init<Value>(
        _ name: String, _ format: Format<Value>, default standard: JSONText? = nil, required: Bool = false,
        inDefaults: Bool = true, children: [FieldDescription] = [], _ summary: String,
        store: @escaping @Sendable (Value, inout Target) -> Void
    ) {
        self.name = name
        self.summary = summary
        self.expected = format.expected
        self.standard = standard
        self.required = required
        self.allowsVariables = format.allowsVariables
        self.inDefaults = inDefaults
        self.schema = format.schema
        self.children = children
        self.apply = { value, target, reader in
            if let result = format.read(value, &reader) { store(result, &target) }
        }
    }

    /// A field that is a section of further fields, which may also be written as one word; `found` is told where it stands.
    init(
        _ name: String, section: Section<Target>, word: Format<@Sendable (inout Target) -> Void>? = nil,
        inDefaults: Bool = true, _ summary: String, found: (@Sendable (Location, inout Target) -> Void)? = nil
    ) {
        self.name = name
        self.summary = summary
        self.expected = word.map { "\($0.expected), or a map" } ?? "a map"
        self.standard = nil
        self.required = false
        self.allowsVariables = false
        self.inDefaults = inDefaults
        self.schema = word.map { .members(["anyOf": .array([$0.schema, section.schema])]) } ?? section.schema
        self.children = section.descriptions
        let expected = self.expected
        self.apply = { value, target, reader in
            found?(reader.location(value.offset), &target)
            if case .object = value.content {
                section.read(value, into: &target, &reader)
            } else if let word, case .string = value.content {
                word.read(value, &reader)?(&target)
            } else {
                reader.report(value, expected: expected)
            }
        }
    }

    /// The schema with what people want to read in an editor.
    var documentedSchema: JSONText {
        .members(["description": .string(summary), "default": standard]).merging(schema)
    }

    /// What documentation needs to know.
    var descriptions: [FieldDescription] {
        let own = FieldDescription(
            path: [name], summary: summary, expected: expected, standard: standard, required: required,
            allowsVariables: allowsVariables, inDefaults: inDefaults)
        return [own]
            + children.map { child in
                var child = child
                child.path.insert(name, at: 0)
                return child
            }
    }
}

/// A field as documentation and tests see it.
package struct FieldDescription: Sendable {
    /// The keys from the root; `*` stands for the name of a service.
    package var path: [String]
    /// One sentence.
    package let summary: String
    /// What is expected, in words.
    package let expected: String
    /// The default, where it depends on nothing else.
    package let standard: JSONText?
    /// Whether it must be there.
    package let required: Bool
    /// Whether its texts may hold `${…}`.
    package let allowsVariables: Bool
    /// Whether `defaults` may hold it.
    package let inDefaults: Bool
}

/// A map with known keys.
struct Section<Target>: Sendable {
    /// The fields, in the order of the documentation.
    let fields: [Field<Target>]
    /// Keys that exist, but not here, and why.
    var misplaced: [String: String] = [:]
    /// Sets of keys of which only one may be there.
    var exclusive: [String] = []
    /// Is told of each known key that is there, and where; or that its value is wrong (nil).
    var noting: (@Sendable (String, Location?, inout Target) -> Void)?

    private let byName: [String: Field<Target>]

    init(
        _ fields: [Field<Target>], misplaced: [String: String] = [:], exclusive: [String] = [],
        noting: (@Sendable (String, Location?, inout Target) -> Void)? = nil
    ) {
        self.fields = fields
        self.misplaced = misplaced
        self.exclusive = exclusive
        self.noting = noting
        self.byName = Dictionary(fields.map { ($0.name, $0) }) { first, _ in first }
    }

    /// Reads a map; every error is reported, and all that is right is stored.
    func read(_ value: JSON5Value, into target: inout Target, _ reader: inout FieldReader) {
        guard case .object(let members) = value.content else { return reader.report(value, expected: "a map") }
        var chosen: String?
        for member in members {
            reader.within(.key(member.key)) { reader in
                guard let field = byName[member.key] else { return reportUnknown(member, &reader) }
                if exclusive.contains(field.name) {
                    if let chosen {
                        return reader.report(
                            member.keyOffset,
                            "found \(quoted(field.name)) beside \(quoted(chosen)), expected only one of them")
                    }
                    chosen = field.name
                }
                let before = reader.problems.count
                field.apply(member.value, &target, &reader)
                let isRight = reader.problems.count == before
                noting?(field.name, isRight ? reader.location(member.value.offset) : nil, &target)
            }
        }
        for field in fields where field.required && !members.contains(where: { $0.key == field.name }) {
            reader.report(value.offset, "found no \(quoted(field.name)), expected it: \(field.expected)")
        }
    }

    private func reportUnknown(_ member: JSON5Member, _ reader: inout FieldReader) {
        if reader.problems.isFull { return reader.problems.addUnseen() }
        if let reason = misplaced[member.key] {
            return reader.report(member.keyOffset, "found \(quoted(member.key)), expected it elsewhere: \(reason)")
        }
        let names = fields.map(\.name)
        let longer = Self.longer(names, than: member.key)
        if !longer.isEmpty {
            let meant = alternatives(longer.map(quoted))
            let place = KeyPlaces.all.besides(reader.path).map { " One of this very name belongs \($0)." } ?? ""
            return reader.report(
                member.keyOffset,
                "found the unknown key \(quoted(member.key)), expected a known one; did you mean \(meant)?\(place)")
        }
        let suggestion = reader.suggestion(for: member.key, among: names)
        // What is right in another section is no spelling mistake, unless it is right on the other side of the manifest only.
        if let place = KeyPlaces.all.besides(reader.path)
            ?? (suggestion.isEmpty ? KeyPlaces.all.beyond(reader.path) : nil)
        {
            let isNear = !suggestion.isEmpty && nearest(to: member.key, among: names, atMost: 1) != nil
            return reader.report(
                member.keyOffset,
                "found \(quoted(member.key)), expected it elsewhere: it belongs \(place)\(isNear ? suggestion : "")")
        }
        // One that was begun at the top of the manifest is shown the way.
        if suggestion.isEmpty, reader.path.steps.count == 1, case .object(let fields) = member.value.content,
            fields.contains(where: { $0.key == "command" })
        {
            return reader.report(
                member.keyOffset,
                "found \(quoted(member.key)), expected it elsewhere: a service belongs in \"services\"")
        }
        let expected = suggestion.isEmpty ? "one of \(names.joined(separator: ", "))" : "a known one"
        reader.report(
            member.keyOffset, "found the unknown key \(quoted(member.key)), expected \(expected)\(suggestion)")
    }

    /// The names of which a key is the end or the beginning: connectTimeout and idleTimeout of `timeout`, maxConnections of
    /// `maxconn`.
    private static func longer(_ names: [String], than key: String) -> [String] {
        let ending = key.prefix(1).uppercased() + key.dropFirst()
        let beginning = key.lowercased()
        return names.filter { name in
            if !ending.isEmpty, name.hasSuffix(ending) { return true }
            return beginning.count >= 5 && name.lowercased().hasPrefix(beginning)
        }
    }

    /// The section as JSON Schema.
    var schema: JSONText {
        let required = fields.filter(\.required).map { JSONText.string($0.name) }
        let pairs = exclusive.indices.flatMap { first in
            exclusive[(first + 1)...].map { second in
                JSONText.members(["not": .members(["required": [.string(exclusive[first]), .string(second)]])])
            }
        }
        return .members([
            "type": "object",
            "properties": .object(fields.map { JSONText.Member(key: $0.name, value: $0.documentedSchema) }),
            "required": required.isEmpty ? nil : .array(required),
            "additionalProperties": false,
            "allOf": pairs.isEmpty ? nil : .array(pairs),
        ])
    }

    /// All fields, those below them too.
    var descriptions: [FieldDescription] { fields.flatMap(\.descriptions) }
}
