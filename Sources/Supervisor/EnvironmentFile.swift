import Platform

/// A file of `environmentFiles`: a `NAME=value` a line, blank lines and `#` or `;` comments between. A value may stand in
/// single quotes (taken as it is) or in double quotes (`\"`, `\\`, `\$` and `` \` `` mean the second character);
/// an unquoted one ends with its line, less blanks around it. There are no variables in it.
enum EnvironmentFile {
    /// The largest file taken, in bytes.
    static let sizeLimit = 1 << 20

    /// Why a file is of no use: complete texts, which never show a value, since it may be a secret.
    struct Problem: Error {
        var text: String
    }

    /// Reads a file by its path.
    static func read(_ path: String) throws(Problem) -> [(name: String, value: String)] {
        let bytes: [UInt8]
        do {
            bytes = try Files.read(path, limit: sizeLimit)
        } catch {
            let reason =
                switch error.code {
                case ErrorCode.fileTooLarge: "it is larger than 1 MiB"
                case ErrorCode.invalid: "it is not a regular file"
                default: error.reason
                }
            throw Problem(text: "cannot read the environment file \(path): \(reason)")
        }
        return try parse(bytes, path: path)
    }

    /// Reads a file's text.
    static func parse(_ bytes: [UInt8], path: String) throws(Problem) -> [(name: String, value: String)] {
        var variables: [(name: String, value: String)] = []
        for (index, line) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            func problem(_ text: String) -> Problem { Problem(text: "environment file \(path):\(index + 1): \(text)") }
            let entry = trimmed(line)
            guard let first = entry.first, first != UInt8(ascii: "#"), first != UInt8(ascii: ";") else { continue }
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else {
                throw problem("there is no '='; expected NAME=value")
            }
            guard let name = name(trimmed(entry[..<equals])) else {
                throw problem("a name may hold only letters, digits and '_', and no digit first; expected NAME=value")
            }
            guard let bytes = unquoted(trimmed(entry[(equals + 1)...])) else {
                throw problem("the quote around the value of \(name) is not closed, or text follows it")
            }
            guard !bytes.contains(0), let value = String(validating: bytes, as: UTF8.self) else {
                throw problem("the value of \(name) is not UTF-8 text without NUL characters")
            }
            variables.append((name, value))
        }
        return variables
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }
        var text = text
        while let first = text.first, isBlank(first) { text.removeFirst() }
        while let last = text.last, isBlank(last) { text.removeLast() }
        return text
    }

    private static func name(_ text: ArraySlice<UInt8>) -> String? {
        guard let first = text.first, !(0x30...0x39).contains(first) else { return nil }
        let isName = text.allSatisfy { byte in
            byte == 0x5f || (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        }
        return isName ? String(decoding: text, as: UTF8.self) : nil
    }

    /// The value without its quotes; nil if they do not match.
    private static func unquoted(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let double = UInt8(ascii: "\"")
        guard let quote = text.first, quote == double || quote == UInt8(ascii: "'") else { return Array(text) }
        var value: [UInt8] = []
        var rest = text.dropFirst()
        while let byte = rest.popFirst() {
            if byte == quote { return rest.isEmpty ? value : nil }
            if quote == double, byte == UInt8(ascii: "\\"), let next = rest.first, "\"\\$`".utf8.contains(next) {
                value.append(next)
                rest.removeFirst()
            } else {
                value.append(byte)
            }
        }
        return nil
    }
}
