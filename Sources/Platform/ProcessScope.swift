/// What marks every process that one keeper started: `<runtime directory>#<nonce of the keeper>`. It lets a later keeper
/// of the same runtime directory find what a killed one left behind.
package struct ProcessScope: Sendable, Hashable, CustomStringConvertible {
    /// The environment variable that carries a process's mark.
    package static let variable = "SUPD_SCOPE"

    /// The absolute path of the runtime directory.
    package var runtimeDirectory: String
    /// A text that no other keeper of the machine has, without `#`.
    package var nonce: String

    /// Creates a scope.
    package init(runtimeDirectory: String, nonce: String) {
        self.runtimeDirectory = runtimeDirectory
        self.nonce = nonce
    }

    /// Reads a scope back from its text; nil if it is none.
    package init?(_ text: some StringProtocol) {
        let fields = text.split(separator: "#", omittingEmptySubsequences: false)
        guard fields.count == 2, let directory = unescaped(fields[0]), !directory.isEmpty, !fields[1].isEmpty else {
            return nil
        }
        self.init(runtimeDirectory: directory, nonce: String(fields[1]))
    }

    /// The text; `#` and `%` of the directory are percent-escaped.
    package var description: String { "\(escaped(runtimeDirectory))#\(nonce)" }
}

/// What one process of an instance carries as SUPD_SCOPE: `<scope>#<instance>#<generation>`. Its descendants inherit it.
package struct ProcessMark: Sendable, Hashable, CustomStringConvertible {
    /// The keeper that started it.
    package var scope: ProcessScope
    /// The instance, `api/2`.
    package var instance: String
    /// The number of its start.
    package var generation: UInt64

    /// Creates a mark.
    package init(scope: ProcessScope, instance: String, generation: UInt64) {
        self.scope = scope
        self.instance = instance
        self.generation = generation
    }

    /// Reads a mark back from the variable's value; nil if it is none.
    package init?(_ text: some StringProtocol) {
        let fields = text.split(separator: "#", omittingEmptySubsequences: false)
        guard fields.count == 4, let scope = ProcessScope("\(fields[0])#\(fields[1])"), !fields[2].isEmpty,
            let generation = UInt64(fields[3])
        else { return nil }
        self.init(scope: scope, instance: String(fields[2]), generation: generation)
    }

    /// The variable's value.
    package var description: String { "\(scope)#\(instance)#\(generation)" }
}

private func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
        switch character {
        case "#": result += "%23"
        case "%": result += "%25"
        default: result.append(character)
        }
    }
    return result
}

private func unescaped(_ text: some StringProtocol) -> String? {
    let pieces = text.split(separator: "%", omittingEmptySubsequences: false)
    guard let first = pieces.first else { return nil }
    var result = String(first)
    for piece in pieces.dropFirst() {
        if piece.hasPrefix("23") {
            result += "#"
        } else if piece.hasPrefix("25") {
            result += "%"
        } else {
            return nil
        }
        result += piece.dropFirst(2)
    }
    return result
}
