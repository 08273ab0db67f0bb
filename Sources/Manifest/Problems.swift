/// One thing wrong with a manifest, or worth a warning.
package struct Diagnostic: Sendable, Hashable, Codable, CustomStringConvertible {
    /// How bad it is.
    package enum Severity: String, Sendable, Hashable, Codable {
        /// The manifest cannot be used.
        case error
        /// It can, but will probably not do what was meant.
        case warning
    }

    /// Error or warning.
    package var severity: Severity
    /// The name of the file as the user gave it.
    package var file: String
    /// The line, from 1.
    package var line: Int
    /// The column, from 1.
    package var column: Int
    /// The path of the value: `services.api.limits.nofile`; empty for the text as a whole.
    package var path: String
    /// What was found and what is expected. Never holds values of `environment`.
    package var message: String

    /// Creates a diagnostic.
    package init(severity: Severity, file: String, line: Int, column: Int, path: String, message: String) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.message = message
    }

    /// `demo.json5:12:7: services.api.limits.nofile: found "many", expected a number …`; a warning says that it is one.
    package var description: String { text(naming: severity == .warning) }

    /// The same without the severity, for a log that says it of every line.
    package var logText: String { text(naming: false) }

    private func text(naming namesSeverity: Bool) -> String {
        let severity = namesSeverity ? "\(severity): " : ""
        return "\(file):\(line):\(column): \(severity)" + (path.isEmpty ? message : "\(path): \(message)")
    }
}

/// The way from the manifest's root to a value.
struct Path: Sendable, Hashable {
    /// One step.
    enum Step: Sendable, Hashable {
        /// Into a map.
        case key(String)
        /// Into a list, from 0.
        case index(Int)
    }

    var steps: [Step] = []

    /// `services.api.listen[1]`; a key that is no plain word is quoted.
    var text: String {
        var text = ""
        for step in steps {
            switch step {
            case .index(let index): text += "[\(index)]"
            case .key(let key) where isPlain(key): text += text.isEmpty ? key : ".\(key)"
            case .key(let key): text += "[\(quoted(key))]"
            }
        }
        return text
    }

    private func isPlain(_ key: String) -> Bool {
        !key.isEmpty && key.utf8.count <= 64
            && key.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }
    }
}

/// Where a value stands, kept for checks that come after reading.
struct Location: Sendable, Hashable {
    var offset: Int
    var path: String
}

/// A value and where it stands.
struct Located<Value: Sendable>: Sendable {
    var value: Value
    var location: Location
}

/// A diagnostic before its line and column are known.
struct Problem: Sendable {
    /// Another place that the message refers to: "the first is on" line 3.
    struct Reference: Sendable {
        var label: String
        var offset: Int
    }

    var location: Location
    var message: String
    var reference: Reference?
}

/// The errors or warnings of one reading. What is kept is bounded, what is counted is not.
struct ProblemLog: Sendable {
    /// How many are kept: more than are shown, because they are sorted by position only at the end.
    static let maximumKept = 1000
    /// How many are shown.
    static let maximumShown = 50

    private(set) var kept: [Problem] = []
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Whether further problems are only counted; a caller may then spare the text.
    var isFull: Bool { kept.count >= Self.maximumKept }

    /// Adds a problem, perhaps one that refers to another place.
    mutating func add(_ location: Location, _ message: String, reference: Problem.Reference? = nil) {
        count += 1
        if !isFull { kept.append(Problem(location: location, message: message, reference: reference)) }
    }

    /// Counts a problem that is not kept.
    mutating func addUnseen() { count += 1 }

    /// The first ones by position, as people read them.
    func diagnostics(_ severity: Diagnostic.Severity, file: String, text: [UInt8]) -> [Diagnostic] {
        // Stable: several at one place stay in the order in which they were found.
        let sorted = kept.enumerated()
            .sorted { ($0.element.location.offset, $0.offset) < ($1.element.location.offset, $1.offset) }
            .prefix(Self.maximumShown).map(\.element)
        let offsets = sorted.map(\.location.offset) + sorted.compactMap(\.reference?.offset)
        let positions = SourcePositions.resolve(offsets, in: text)
        return sorted.map { problem in
            let position = positions[problem.location.offset] ?? SourcePosition(line: 1, column: 1)
            var message = problem.message
            if let reference = problem.reference, let other = positions[reference.offset] {
                message += " (\(reference.label) line \(other.line))"
            }
            return Diagnostic(
                severity: severity, file: file, line: position.line, column: position.column,
                path: problem.location.path, message: message)
        }
    }
}
