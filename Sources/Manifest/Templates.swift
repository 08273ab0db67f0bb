// Texts with variables: `${PORT}`, `${env:NAME}`, `$$`.

/// What a kernel takes as one argument or variable: MAX_ARG_STRLEN of execve(2).
let maximumTextLength = 128 << 10

/// The variables as a message lists them.
private let knownVariables =
    Template.Variable.allCases.map { "${\($0.rawValue)}" }.joined(separator: ", ")
    + ", ${env:NAME}, and $$ for a dollar"

/// Text with variables that are only known per instance. `${env:NAME}` and `$$` are resolved when the manifest is read.
package struct Template: Sendable, Hashable, Codable {
    /// A piece of a template.
    package enum Part: Sendable, Hashable, Codable {
        /// Text as it is.
        case literal(String)
        /// A value of the instance.
        case variable(Variable)
    }

    /// What a template may name.
    package enum Variable: String, Sendable, Hashable, Codable, CaseIterable {
        /// The instance's own port.
        case port = "PORT"
        /// The address it should listen on, 127.0.0.1.
        case host = "HOST"
        /// Its number, from 1.
        case instance = "INSTANCE"
        /// The service's name.
        case service = "SERVICE"
    }

    /// The pieces in order.
    package var parts: [Part]
    /// Whether a piece came from `${env:NAME}`: it may be a secret, and is shown to nobody.
    package var holdsEnvironment: Bool

    /// Creates a template from its pieces.
    package init(parts: [Part], holdsEnvironment: Bool = false) {
        self.parts = parts
        self.holdsEnvironment = holdsEnvironment
    }

    /// Creates a template without variables.
    package init(literal: String) { self.init(parts: [.literal(literal)]) }

    /// The text with its variables by their names: `port ${PORT}`.
    package var source: String {
        parts.map { part in
            switch part {
            case .literal(let text): text
            case .variable(let variable): "${\(variable.rawValue)}"
            }
        }.joined()
    }

    /// The text for one instance.
    package func expanded(_ value: (Variable) -> String) -> String {
        parts.map { part in
            switch part {
            case .literal(let text): text
            case .variable(let variable): value(variable)
            }
        }.joined()
    }
}

extension Template {
    /// The bytes of the texts in it; a variable counts as what it may at most stand for.
    var size: Int {
        parts.reduce(0) { sum, part in
            switch part {
            case .literal(let text): sum + text.utf8.count
            case .variable(.service): sum + 63
            case .variable: sum + 10
            }
        }
    }

    /// As the manifest has it, but for what came from the environment, of which nobody is told.
    package var written: String {
        holdsEnvironment ? "(not shown)" : source
    }

    /// The text if there are no variables in it.
    package var literal: String? {
        if parts.isEmpty { return "" }
        guard parts.count == 1, case .literal(let text)? = parts.first else { return nil }
        return text
    }
}

extension FieldReader {
    /// Resolves `$$` and `${env:NAME}` in a text, and finds the variables of the instance. Reports what is wrong and
    /// returns nil then.
    mutating func template(_ text: String, at value: JSON5Value) -> Template? {
        guard checkText(text, value, maximum: maximumTextLength, &self) else { return nil }
        var template = TemplateBuilder()
        var rest = Substring(text)
        while let dollar = rest.utf8.firstIndex(of: UInt8(ascii: "$")) {
            template.append(rest[..<dollar])
            rest = rest[rest.utf8.index(after: dollar)...]
            switch rest.utf8.first {
            case UInt8(ascii: "$"):
                template.append("$")
                rest = Substring(rest.utf8.dropFirst())
            case UInt8(ascii: "{"):
                guard let end = rest.utf8.firstIndex(of: UInt8(ascii: "}")) else {
                    report(value.offset, "found \"${\" without \"}\", expected \(knownVariables)")
                    return nil
                }
                let name = String(Substring(rest.utf8[..<end].dropFirst()))
                rest = rest[rest.utf8.index(after: end)...]
                guard append(variable: name, to: &template, at: value) else { return nil }
            default:
                report(value.offset, "found a lone \"$\", expected \(knownVariables)")
                return nil
            }
            guard template.size <= maximumTextLength else {
                report(value.offset, "found a text of more than \(maximumTextLength) bytes, expected at most that")
                return nil
            }
        }
        template.append(rest)
        return template.finished
    }

    private mutating func append(variable name: String, to template: inout TemplateBuilder, at value: JSON5Value)
        -> Bool
    {
        if let variable = Template.Variable(rawValue: name) {
            template.append(variable)
            return true
        }
        if name.utf8.starts(with: "env:".utf8) {
            let name = String(Substring(name.utf8.dropFirst(4)))
            guard isEnvironmentName(name) else {
                report(value.offset, "found ${env:…} without a usable name, expected ${env:NAME}")
                return false
            }
            guard let text = environment[name] else {
                report(
                    value.offset,
                    "found ${env:\(name)}, which is not set in supd's own environment, expected a variable that is")
                return false
            }
            template.append(text[...])
            template.holdsEnvironment = true
            return true
        }
        let wasSecret = isSecret
        isSecret = false
        // Only names of our own are shown, so this says nothing of a secret.
        let meant = suggestion(for: name, among: Template.Variable.allCases.map(\.rawValue))
        isSecret = wasSecret
        let found = isSecret ? "an unknown variable" : "the unknown variable \(quoted("${\(name)}"))"
        report(value.offset, "found \(found), expected \(knownVariables)\(meant)")
        return false
    }
}

/// Collects parts, joining texts that follow each other.
private struct TemplateBuilder {
    private var parts: [Template.Part] = []
    private var literal = ""
    private(set) var size = 0
    var holdsEnvironment = false

    mutating func append(_ text: Substring) {
        literal += text
        size += text.utf8.count
    }

    mutating func append(_ variable: Template.Variable) {
        flush()
        parts.append(.variable(variable))
    }

    private mutating func flush() {
        if !literal.isEmpty { parts.append(.literal(literal)) }
        literal = ""
    }

    var finished: Template {
        var copy = self
        copy.flush()
        return Template(parts: copy.parts, holdsEnvironment: holdsEnvironment)
    }
}

/// Whether a name can be set in an environment: not empty, neither `=` nor NUL, no white space.
func isEnvironmentName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 256
        && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "=") }
}

extension Format where Value == Template {
    /// A text that may hold variables.
    static func template(_ expected: String, minimum: Int = 0) -> Format {
        let least = minimum > 0 ? JSONText.integer(minimum) : nil
        return Format(
            expected: expected, schema: .members(["type": "string", "minLength": least]), allowsVariables: true
        ) { value, reader in
            guard case .string(let text) = value.content else {
                reader.report(value, expected: expected)
                return nil
            }
            guard text.utf8.count >= minimum else {
                reader.report(value, expected: "\(expected), not empty")
                return nil
            }
            return reader.template(text, at: value)
        }
    }

    /// A directory, made absolute against the manifest's.
    static var directory: Format {
        Format.template("a directory: an absolute path, or one relative to the manifest's own directory", minimum: 1)
            .map { template, value, reader in
                guard template.size <= 4095 else {
                    reader.report(value.offset, "found a path of \(template.size) bytes, expected at most 4095")
                    return nil
                }
                guard case .literal(let text)? = template.parts.first else {
                    return Template(
                        parts: [.literal(absolutePath("", in: reader.directory) + "/")] + template.parts,
                        holdsEnvironment: template.holdsEnvironment)
                }
                guard checkTilde(text, value, &reader) else { return nil }
                let rest = template.parts.dropFirst()
                var start = absolutePath(text, in: reader.directory)
                // `./${SERVICE}`: what follows is a part of a name in the directory.
                if start == reader.directory, !rest.isEmpty, !start.hasSuffix("/") { start += "/" }
                return Template(parts: [.literal(start)] + rest, holdsEnvironment: template.holdsEnvironment)
            }
    }

    /// What a line of a service's output is to contain.
    static var linePattern: Format {
        let expected = "a text that a line of the output contains, like \"listening on * port\", of at most 1024 bytes"
        return Format.template(expected, minimum: 1).map { template, value, reader in
            let literals = template.parts.compactMap { if case .literal(let text) = $0 { text } else { nil } }
            let isUseful = literals.count < template.parts.count || literals.contains { $0.contains { $0 != "*" } }
            guard template.size <= 1024, isUseful,
                !literals.contains(where: { $0.utf8.contains { $0 == 10 || $0 == 0 } })
            else {
                reader.report(value, expected: "\(expected), without a line break, and not of \"*\" alone")
                return nil
            }
            return template
        }
    }

    /// The path of an HTTP request.
    static var requestPath: Format {
        let expected = "a path like \"/healthz\""
        let path = Format.template(expected, minimum: 1).map { template, value, reader -> Template? in
            guard case .literal(let text)? = template.parts.first, text.utf8.first == UInt8(ascii: "/"),
                template.size <= 2048,
                template.parts.allSatisfy({ part in
                    guard case .literal(let text) = part else { return true }
                    return text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
                })
            else {
                reader.report(value, expected: "\(expected), in ASCII without spaces (those are %20)")
                return nil
            }
            return template
        }
        return Format(
            expected: expected, schema: .members(["type": "string", "pattern": "^/[!-\"$-~]*$"]), allowsVariables: true,
            read: path.read)
    }
}

extension Format where Value == [Template] {
    /// An argument vector: a list, or one text that is split like shell words.
    static var command: Format {
        let words = Format.list(
            of: .template("an argument: a text in quotes"), "arguments, the program first", count: 1...4096)
        let expected = "a list of arguments, or one text that is split like shell words"
        let schema = JSONText.members(["anyOf": [words.schema, .members(["type": "string", "minLength": 1])]])
        return Format(expected: expected, schema: schema, allowsVariables: true) { value, reader in
            let command: [Template]?
            switch value.content {
            case .array: command = words.read(value, &reader)
            case .string(let text): command = splitCommand(text, value, &reader)
            default:
                reader.report(value, expected: expected)
                return nil
            }
            guard let command else { return nil }
            guard let program = command.first, program.literal != "" else {
                reader.report(value.offset, "found an empty command, expected a program first")
                return nil
            }
            let size = command.reduce(0) { $0 + $1.size + 1 }
            guard size <= maximumTextLength else {
                reader.report(value.offset, "found arguments of \(size) bytes, expected at most \(maximumTextLength)")
                return nil
            }
            return command
        }
    }
}

/// Splits a command given as one text, and resolves the variables in its words.
private func splitCommand(_ text: String, _ value: JSON5Value, _ reader: inout FieldReader) -> [Template]? {
    guard checkText(text, value, maximum: maximumTextLength, &reader) else { return nil }
    let words: [String]
    do throws(ShellWordsError) {
        words = try shellWords(text)
    } catch {
        let problem =
            switch error {
            case .unfinishedQuote: "a quote without an end, expected the same quote once more"
            case .unfinishedEscape: "a backslash at the end, expected a character after it"
            }
        reader.report(value.offset, "found \(problem)")
        return nil
    }
    guard words.count <= 4096 else {
        reader.report(value.offset, "found \(words.count) arguments, expected at most 4096")
        return nil
    }
    if let sign = words.first(where: { ["|", "||", "&&", "&", ";", "<", ">", ">>", "2>&1", "2>"].contains($0) }) {
        let location = reader.location(value.offset)
        reader.warnings.add(
            location,
            "\(quoted(sign)) is passed to the program as it is: no shell runs; for one write [\"sh\", \"-c\", \"…\"]")
    }
    let templates = words.map { reader.template($0, at: value) }
    let right = templates.compactMap { $0 }
    return right.count == templates.count ? right : nil
}
