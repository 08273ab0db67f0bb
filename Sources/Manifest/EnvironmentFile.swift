/// Why an environment file cannot be used. Never holds a value of it.
package struct EnvironmentFileError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The line, from 1.
    package var line: Int
    /// What was found and what is expected.
    package var message: String

    /// `line 3: found …`
    package var description: String { "line \(line): \(message)" }
}

/// The largest environment file that is read, in bytes; a caller need read no more than one byte beyond it.
package let maximumEnvironmentFileSize = 1 << 20

/// Reads an environment file: a `NAME=value` a line. Blank lines and lines that begin with `#` are skipped, `export `
/// before a name too. A value in single quotes is taken as it is; in double quotes `\"`, `\\`, `\$`, `\n` and `\t` are
/// escapes; without quotes it ends with its line, white space around it is dropped, and `#` is an ordinary character.
/// No variables are replaced. A name that comes again takes the later value.
package func parseEnvironmentFile(_ text: [UInt8]) throws(EnvironmentFileError) -> [(name: String, value: String)] {
    guard text.count <= maximumEnvironmentFileSize else {
        throw EnvironmentFileError(
            line: 1, message: "found a file of more than \(sizeText(UInt64(maximumEnvironmentFileSize))), expected less"
        )
    }
    var result: [(name: String, value: String)] = []
    let start = text.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    var number = 0
    for bytes in text[start...].split(separator: 0x0A, omittingEmptySubsequences: false) {
        number += 1
        var reader = EnvironmentLine(rest: bytes[...], number: number)
        if let variable = try reader.read() { result.append(variable) }
        guard result.count <= 1024 else {
            throw EnvironmentFileError(line: number, message: "found more than 1024 variables, expected fewer")
        }
    }
    return result
}

/// One line while it is read.
private struct EnvironmentLine {
    var rest: ArraySlice<UInt8>
    let number: Int

    func failure(_ message: String) -> EnvironmentFileError { EnvironmentFileError(line: number, message: message) }

    mutating func read() throws(EnvironmentFileError) -> (name: String, value: String)? {
        if rest.last == 0x0D { rest.removeLast() }
        dropSpace()
        guard let first = rest.first, first != UInt8(ascii: "#") else { return nil }
        guard !rest.contains(0) else { throw failure("found a NUL character, expected NAME=value") }
        let export = Array("export".utf8)
        if rest.starts(with: export), let next = rest.dropFirst(export.count).first, isSpace(next) {
            rest = rest.dropFirst(export.count)
            dropSpace()
        }
        guard let equals = rest.firstIndex(of: UInt8(ascii: "=")) else {
            throw failure("found no \"=\", expected NAME=value (or # before a comment)")
        }
        guard let name = String(validating: rest[..<equals], as: UTF8.self), isEnvironmentName(name) else {
            throw failure("found no usable name before \"=\", expected NAME=value without white space in the name")
        }
        rest = rest[(equals + 1)...]
        dropSpace()
        let bytes =
            switch rest.first {
            case UInt8(ascii: "'"), UInt8(ascii: "\""): try quotedValue()
            default: plainValue()
            }
        guard let value = String(validating: bytes, as: UTF8.self) else {
            throw failure("found bytes that are not UTF-8, expected text in UTF-8")
        }
        guard name.utf8.count + value.utf8.count + 2 <= maximumTextLength else {
            throw failure(
                "found a value of \(value.utf8.count) bytes, expected at most \(maximumTextLength) with its name")
        }
        return (name, value)
    }

    private mutating func plainValue() -> [UInt8] {
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return Array(rest)
    }

    private mutating func quotedValue() throws(EnvironmentFileError) -> [UInt8] {
        let quote = rest.popFirst()
        var value: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == quote {
                dropSpace()
                guard rest.isEmpty else {
                    throw failure("found more after the closing quote, expected the end of the line")
                }
                return value
            }
            guard byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") else {
                value.append(byte)
                continue
            }
            switch rest.popFirst() {
            case UInt8(ascii: "n"): value.append(0x0A)
            case UInt8(ascii: "t"): value.append(0x09)
            case .some(let next)
            where [UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "$"), UInt8(ascii: "`")].contains(next):
                value.append(next)
            case .some(let next): value += [byte, next]
            case .none: break
            }
        }
        throw failure("found a quote without an end, expected the same quote at the end of the line")
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    private mutating func dropSpace() { rest = rest.drop(while: isSpace) }
}
