// Texts with rules of their own, and what is wrong with a text before any rule.

extension Format where Value == String {
    /// A text with rules of its own and no variables.
    static func text(
        _ expected: String, pattern: JSONText? = nil, minimum: Int = 1, maximum: Int,
        where isRight: @escaping @Sendable (String) -> Bool = { _ in true }
    ) -> Format {
        let length = pattern == nil ? JSONText.integer(minimum) : nil
        return Format(
            expected: expected, schema: .members(["type": "string", "minLength": length, "pattern": pattern])
        ) { value, reader in
            guard case .string(let text) = value.content, checkText(text, value, maximum: maximum, &reader) else {
                if case .string = value.content { return nil }
                reader.report(value, expected: expected)
                return nil
            }
            guard text.utf8.count >= minimum, isRight(text) else {
                reader.report(value, expected: expected)
                return nil
            }
            if text.contains("${") {
                reader.report(value, expected: "\(expected); variables have no meaning here")
                return nil
            }
            return text
        }
    }

    /// A path, made absolute against the manifest's directory.
    static func path(_ what: String) -> Format {
        Format.text(what, maximum: 4095).map { path, value, reader in
            guard checkTilde(path, value, &reader) else { return nil }
            return absolutePath(path, in: reader.directory)
        }
    }

    /// The name of a user or group, or its number.
    static func account(_ what: String) -> Format {
        let expected = "the name of a \(what), or its number"
        let name = Format.text(expected, pattern: "^[^\\s:/$]+$", maximum: 256) { text in
            text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && ![0x24, 0x2F, 0x3A].contains($0) }
        }
        let schema = JSONText.members([
            "anyOf": [name.schema, .members(["type": "integer", "minimum": 0, "maximum": 4_294_967_294])]
        ])
        return Format(expected: expected, schema: schema) { value, reader in
            if case .number(let number) = value.content {
                // The highest number means "no change" to setuid(2).
                guard let id = number.unsignedInteger, id < 4_294_967_295 else {
                    reader.report(value, expected: "a number from 0 to 4294967294")
                    return nil
                }
                return String(id)
            }
            return name.read(value, &reader)
        }
    }

    /// The name of a signal that may end a process.
    static var signal: Format {
        let plain = [
            "TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2", "ABRT", "ALRM", "PIPE", "WINCH", "PWR", "IO", "URG",
            "PROF",
            "VTALRM", "XCPU", "XFSZ", "ILL", "TRAP", "BUS", "FPE", "SEGV", "STKFLT", "SYS",
        ]
        let realTime =
            ["RTMIN", "RTMAX"] + (1...30).map { "RTMIN+\($0)" } + (1...30).map { "RTMAX-\($0)" }
        let names = Set(plain + realTime)
        let expected = "the name of a signal that can end a process, like \"TERM\", \"INT\" or \"RTMIN+3\""
        let pattern =
            "^(\(plain.joined(separator: "|"))|RTMIN(\\+([1-9]|[12][0-9]|30))?|RTMAX(-([1-9]|[12][0-9]|30))?)$"
        return Format(
            expected: expected, schema: .members(["type": "string", "pattern": .string(pattern)])
        ) { value, reader in
            guard case .string(let text) = value.content, names.contains(text) else {
                var hint = ""
                if case .string(let text) = value.content {
                    let short = text.uppercased().hasPrefix("SIG") ? String(text.dropFirst(3)) : text
                    hint = reader.suggestion(for: short, among: plain)
                }
                reader.report(value, expected: expected + hint)
                return nil
            }
            return text
        }
    }
}

/// Whether text can be handed to the kernel: no NUL, not too long. Reports what is wrong.
func checkText(_ text: String, _ value: JSON5Value, maximum: Int, _ reader: inout FieldReader) -> Bool {
    if text.utf8.contains(0) {
        reader.report(value.offset, "found a text with a NUL character, expected none: no program could be given it")
        return false
    }
    if text.utf8.count > maximum {
        reader.report(value.offset, "found a text of \(text.utf8.count) bytes, expected at most \(maximum)")
        return false
    }
    return true
}

/// Whether a path does not count on a shell to replace `~`. Reports it if so.
func checkTilde(_ path: String, _ value: JSON5Value, _ reader: inout FieldReader) -> Bool {
    guard path.utf8.first == UInt8(ascii: "~") else { return true }
    reader.report(value, expected: "a full path: ~ is not replaced by a home directory (./~ means a file of that name)")
    return false
}

/// A path made absolute; `.` and leading `./` are dropped, `..` stays as it is because links may be on the way.
func absolutePath(_ path: String, in directory: String) -> String {
    if path.utf8.first == UInt8(ascii: "/") { return path }
    var rest = Substring(path)
    while rest.hasPrefix("./") { rest = rest.dropFirst(2).drop { $0 == "/" } }
    if rest.isEmpty || rest == "." { return directory }
    return directory.hasSuffix("/") ? directory + rest : "\(directory)/\(rest)"
}
