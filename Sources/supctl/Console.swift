import Platform

/// Where supctl writes: results to standard output, all else to standard error.
struct Console: Sendable {
    var output = Terminal(.output)
    var error = Terminal(.error)
    /// What standard output is now: a terminal may have another size than at first.
    var look: @Sendable () -> Terminal = { Terminal(.output) }
    var writeOutput: @Sendable ([UInt8]) throws(SystemError) -> Void = { bytes throws(SystemError) in
        try StandardStream.output.write(bytes)
    }
    /// If even this fails, nobody is left to be told.
    var note: @Sendable (String) -> Void = { text in try? StandardStream.error.write(text) }

    /// Writes a result, and a line end if it has none.
    func print(_ text: String) throws(VerbFailure) {
        try write(Array((text.hasSuffix("\n") ? text : text + "\n").utf8))
    }

    /// Writes bytes as they are.
    func write(_ bytes: [UInt8]) throws(VerbFailure) {
        do throws(SystemError) {
            try writeOutput(bytes)
        } catch {
            throw VerbFailure(.failed, "cannot write to standard output: \(error.reason)")
        }
    }

    /// Tells what went wrong, each line with the program's name.
    func complain(_ message: String) {
        for line in message.split(separator: "\n", omittingEmptySubsequences: false) {
            note("supctl: \(printable(String(line)))\n")
        }
    }
}

/// Text from elsewhere with nothing in it that a terminal would obey.
func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var result = ""
    for scalar in text.unicodeScalars { result.unicodeScalars.append(isControl(scalar) ? "?" : scalar) }
    return result
}

func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
}
